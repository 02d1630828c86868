//! Mounts of the specification: their option words, sorted into what each call takes.

use std::borrow::Cow;
use std::path::{Component, Path};

use oci::runtime::Mount;
use sys::mount::{Attributes, Change, Depth, Propagation};

use super::invalid;
use crate::LaunchError;
use crate::users::IdMaps;

/// One mount, ready to be made.
#[derive(Debug)]
pub struct MountPlan<'a> {
    /// Absolute.
    pub destination: Cow<'a, Path>,
    pub source: Source<'a>,
    /// For the mount itself.
    pub change: Change,
    /// For it and all below it.
    pub recursive: Change,
    pub propagation: Option<(Propagation, Depth)>,
    /// Whether a new tmpfs starts with a copy of what it covers.
    pub copy_up: bool,
    /// Whether and how the owners of its files are shown as others.
    pub id_map: Option<IdMap>,
}

/// An id-mapped mount.
#[derive(Debug)]
pub struct IdMap {
    /// The maps; those of the container when there are none.
    pub maps: Option<IdMaps>,
    pub depth: Depth,
}

/// An option of a file system itself, with or without a value.
pub type Datum<'a> = (&'a str, Option<&'a str>);

/// What is mounted.
#[derive(Debug)]
pub enum Source<'a> {
    /// A file or directory of the host.
    Bind { path: &'a Path, depth: Depth },
    /// A new file system.
    New { kind: &'a str, source: Option<&'a Path>, data: Vec<Datum<'a>> },
    /// Nothing: what is mounted there already is changed.
    Remount { data: Vec<Datum<'a>> },
    /// The container's control groups.
    Cgroup,
}

impl<'a> MountPlan<'a> {
    pub fn new(mount: &'a Mount) -> Result<Self, LaunchError> {
        // Of old, relative ones are meant from the root (config.md, "Mounts").
        let destination = match mount.destination.is_absolute() {
            true => Cow::Borrowed(mount.destination.as_path()),
            false => Cow::Owned(Path::new("/").join(&mount.destination)),
        };
        let refuse = |why: String| invalid(format!("mount at {}", destination.display()), why);
        if !destination.components().any(|component| matches!(component, Component::Normal(_))) {
            return Err(refuse("the destination must not be the root".to_owned()));
        }
        let mut plan = Self {
            destination: destination.clone(),
            source: Source::Cgroup,
            change: Change::default(),
            recursive: Change::default(),
            propagation: None,
            copy_up: false,
            id_map: None,
        };
        let maps = match (&mount.uid_mappings[..], &mount.gid_mappings[..]) {
            ([], []) => None,
            (uids, gids) => Some(IdMaps::new(uids, gids, &format!("mount at {}", destination.display()))?),
        };
        let mut id_depth = maps.is_some().then_some(Depth::One);
        let kind = mount.r#type.as_deref().unwrap_or("bind");
        let mut bind = (kind == "bind").then_some(Depth::One);
        let mut remount = false;
        let mut data = Vec::new();
        for option in &mount.options {
            match Word::parse(option) {
                Word::Nothing => {}
                Word::Change { set, clear, depth } => {
                    let change = if depth == Depth::One { &mut plan.change } else { &mut plan.recursive };
                    change.set = change.set.without(clear).with(set);
                    // A time mode is a field of several bits: setting one clears the field, and the kernel wants that said.
                    change.clear = change.clear.without(set).with(clear);
                }
                Word::Bind(depth) => bind = Some(depth),
                Word::IdMap(depth) => id_depth = Some(depth),
                Word::Propagation(kind, depth) => plan.propagation = Some((kind, depth)),
                Word::Remount => remount = true,
                Word::CopyUp => plan.copy_up = true,
                Word::Users => {
                    return Err(refuse(format!("{option:?} is for mount(8), not for the kernel")));
                }
                Word::Data(key, value) => data.push((key, value)),
            }
        }
        if plan.copy_up && (bind.is_some() || kind != "tmpfs" || remount) {
            return Err(refuse("only a new tmpfs can start with a copy (tmpcopyup)".to_owned()));
        }
        if let (true, Some((key, _))) = (bind.is_some() || kind.starts_with("cgroup"), data.first()) {
            return Err(refuse(format!("a mount of type {kind} has no option {key:?} here")));
        }
        plan.source = match (bind, kind) {
            (_, kind) if remount && id_depth.is_some() => {
                return Err(refuse(format!("a mount of type {kind} that exists cannot be id-mapped")));
            }
            _ if remount => Source::Remount { data },
            (Some(depth), _) => {
                let path = mount
                    .source
                    .as_deref()
                    .ok_or_else(|| refuse("a bind mount needs a source".to_owned()))?;
                Source::Bind { path, depth }
            }
            (None, kind) if id_depth.is_some() => {
                return Err(refuse(format!("only a bind mount can be id-mapped, not one of type {kind}")));
            }
            (None, "none" | "") => return Err(refuse("it has neither a type nor bind".to_owned())),
            (None, "cgroup" | "cgroup2") => Source::Cgroup,
            (None, kind) => Source::New { kind, source: mount.source.as_deref(), data },
        };
        plan.id_map = id_depth.map(|depth| IdMap { maps, depth });
        Ok(plan)
    }

    /// Labels the files of a new file system that has no labels of its own, as `linux.mountLabel` says.
    pub fn set_label(&mut self, label: &'a str) {
        if let Source::New { kind, data, .. } = &mut self.source
            // The kernel labels these itself, and lets nobody else.
            && !matches!(*kind, "proc" | "sysfs" | "mqueue")
            && !data.iter().any(|(key, _)| *key == "context")
        {
            data.push(("context", Some(label)));
        }
    }

    /// Whether this is the directory of the device nodes.
    pub fn is_dev(&self) -> bool {
        self.destination == Path::new("/dev")
    }
}

/// What one option word means.
enum Word<'a> {
    Nothing,
    Change {
        set: Attributes,
        clear: Attributes,
        depth: Depth,
    },
    Bind(Depth),
    IdMap(Depth),
    Propagation(Propagation, Depth),
    Remount,
    CopyUp,
    /// Of those that mount(8) keeps from the kernel.
    Users,
    /// For the file system itself.
    Data(&'a str, Option<&'a str>),
}

impl<'a> Word<'a> {
    fn parse(option: &'a str) -> Self {
        if let Some((set, clear)) = attributes(option) {
            return Self::Change { set, clear, depth: Depth::One };
        }
        if let Some((kind, depth)) = propagation(option) {
            return Self::Propagation(kind, depth);
        }
        if let Some((set, clear)) = option.strip_prefix('r').and_then(attributes) {
            return Self::Change { set, clear, depth: Depth::Recursive };
        }
        match option {
            // What is the case anyway. The kernel's messages go to whoever mounts, not into its log: that is silent.
            "" | "defaults" | "async" | "loud" | "silent" | "nomand" | "nolazytime" | "noiversion" => {
                Self::Nothing
            }
            "bind" => Self::Bind(Depth::One),
            "rbind" => Self::Bind(Depth::Recursive),
            "idmap" => Self::IdMap(Depth::One),
            "ridmap" => Self::IdMap(Depth::Recursive),
            "remount" => Self::Remount,
            "tmpcopyup" => Self::CopyUp,
            "nofail" | "_netdev" | "auto" | "noauto" | "user" | "nouser" | "users" | "owner" | "group" => {
                Self::Users
            }
            _ if option.starts_with("x-") || option.starts_with("X-") => Self::Users,
            _ => match option.split_once('=') {
                Some((key, value)) => Self::Data(key, Some(value)),
                None => Self::Data(option, None),
            },
        }
    }
}

/// How a word says that mounts spread; with an `r` in front it is about all below as well.
pub fn propagation(word: &str) -> Option<(Propagation, Depth)> {
    let kind = |name: &str| match name {
        "private" => Some(Propagation::Private),
        "slave" => Some(Propagation::Slave),
        "shared" => Some(Propagation::Shared),
        "unbindable" => Some(Propagation::Unbindable),
        _ => None,
    };
    let recursive = || kind(word.strip_prefix('r')?).map(|kind| (kind, Depth::Recursive));
    kind(word).map(|kind| (kind, Depth::One)).or_else(recursive)
}

/// The attributes an option sets and clears.
fn attributes(option: &str) -> Option<(Attributes, Attributes)> {
    const NONE: Attributes = Attributes::NONE;
    let times = Attributes::ACCESS_TIME;
    Some(match option {
        "ro" => (Attributes::READ_ONLY, NONE),
        "rw" => (NONE, Attributes::READ_ONLY),
        "nosuid" => (Attributes::NO_SUID, NONE),
        "suid" => (NONE, Attributes::NO_SUID),
        "nodev" => (Attributes::NO_DEV, NONE),
        "dev" => (NONE, Attributes::NO_DEV),
        "noexec" => (Attributes::NO_EXEC, NONE),
        "exec" => (NONE, Attributes::NO_EXEC),
        "nodiratime" => (Attributes::NO_DIRECTORY_ACCESS_TIME, NONE),
        "diratime" => (NONE, Attributes::NO_DIRECTORY_ACCESS_TIME),
        "noatime" => (Attributes::NO_ACCESS_TIME, times),
        "strictatime" => (Attributes::STRICT_ACCESS_TIME, times),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (Attributes::RELATIVE_ACCESS_TIME, times),
        "nosymfollow" => (Attributes::NO_SYMLINK_FOLLOW, NONE),
        "symfollow" => (NONE, Attributes::NO_SYMLINK_FOLLOW),
        _ => return None,
    })
}

/// Every word that is understood here; others are for the file system.
pub const OPTIONS: [&str; 62] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[&str], expected: impl Fn(&MountPlan<'_>) -> bool) {
        let mount = Mount {
            destination: "/d".into(),
            source: Some("/s".into()),
            r#type: Some("tmpfs".into()),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            ..Mount::default()
        };
        let plan = MountPlan::new(&mount).expect("valid options");
        assert!(expected(&plan), "{options:?}: {plan:?}");
    }

    #[test]
    fn words_find_their_call() {
        let ro = Attributes::READ_ONLY;
        check(&["ro"], |p| p.change.set == ro && p.recursive.is_empty());
        check(&["ro", "rw"], |p| p.change.set.is_empty() && p.change.clear == ro);
        check(&["rbind", "rro"], |p| {
            p.recursive.set == ro && matches!(p.source, Source::Bind { depth: Depth::Recursive, .. })
        });
        check(&["noatime"], |p| {
            p.change.clear == Attributes::ACCESS_TIME && p.change.set == Attributes::NO_ACCESS_TIME
        });
        check(&["relatime"], |p| p.change.clear == Attributes::ACCESS_TIME && p.change.set.is_empty());
        check(&["rslave"], |p| p.propagation == Some((Propagation::Slave, Depth::Recursive)));
        check(
            &["size=64k", "noswap"],
            |p| matches!(&p.source, Source::New { data, .. } if data[..] == [("size", Some("64k")), ("noswap", None)]),
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for options in [&["tmpcopyup"][..], &["bind", "size=1"], &["sync"], &["nofail"], &["x-a.b"]] {
            let mount = Mount {
                destination: "/d".into(),
                source: Some("/s".into()),
                options: options.iter().map(|o| (*o).to_owned()).collect(),
                ..Mount::default()
            };
            assert!(MountPlan::new(&mount).is_err(), "{options:?}");
        }
    }
}
