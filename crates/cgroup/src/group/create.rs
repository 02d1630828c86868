//! Making the directories, handing down controllers, writing limits.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci::runtime::{LinuxMemory, LinuxResources};
use sys::bpf::DeviceRule;

use super::{Cgroup, Layout, Origin, V1Directory, collect_pids};
use crate::files::{read, write, write_plain};
use crate::limits::{self, Setting};
use crate::{CgroupError, Version, devices};

/// How often a directory is made again that a command removing its last neighbour took away.
const RACES: usize = 100;

impl Cgroup {
    /// Makes the group and sets its limits; the caller undoes what is left of a failure.
    /// What it has made so far is in `made`, parents first.
    pub(super) fn create_directories(
        &self,
        resources: &LinuxResources,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), CgroupError> {
        let (settings, rules) = self.resolve(resources)?;
        match &self.layout {
            Layout::V1 { directories } => {
                for directory in directories.iter().filter(|directory| directory.keeper.is_none()) {
                    let wanted = settings.iter().any(|s| directory.has(s.controller));
                    // Whoever says where the group is looks for it in every hierarchy.
                    if wanted || directory.is_basic() || self.origin != Origin::Ours {
                        self.make_v1(directory, made)?;
                    }
                }
            }
            Layout::V2 { mount, directory, .. } => {
                if self.origin == Origin::Ours {
                    let parent = directory.parent().unwrap_or(mount);
                    make_v2(parent, directory)?;
                    made.push(directory.clone());
                } else {
                    self.make_below(mount, directory, |_| Ok(()), made)?;
                }
                self.hand_down(mount, directory, &settings)?;
            }
            Layout::Withheld => return refuse(&settings),
        }
        self.apply(&settings, &rules)
    }

    fn make_v1(&self, directory: &V1Directory, made: &mut Vec<PathBuf>) -> Result<(), CgroupError> {
        let fill = |path: &Path| if directory.has("cpuset") { fill_cpuset(directory, path) } else { Ok(()) };
        if self.origin == Origin::Ours {
            make(&directory.path).map_err(|source| cannot_create(&directory.path, source))?;
            made.push(directory.path.clone());
            return fill(&directory.path);
        }
        self.make_below(&directory.mount, &directory.path, fill, made)
    }

    /// Makes `directory` and what is missing above it, each with `fill`.
    fn make_below(
        &self,
        mount: &Path,
        directory: &Path,
        fill: impl Fn(&Path) -> Result<(), CgroupError>,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), CgroupError> {
        let mut all: Vec<&Path> = directory.ancestors().take_while(|path| *path != mount).collect();
        all.reverse();
        for path in all {
            let is_new = path == directory && self.origin != Origin::Adopted;
            match if is_new { make(path) } else { fs::create_dir(path) } {
                Ok(()) => {
                    made.push(path.to_owned());
                    fill(path)?;
                }
                Err(error) if !is_new && error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(cannot_create(path, source)),
            }
        }
        Ok(())
    }

    /// Changes the limits of an existing group; what `resources` does not name stays as it is.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let resources = &self.with_memory_limit(resources)?;
        let (settings, rules) = self.resolve(resources)?;
        match &self.layout {
            Layout::V1 { directories } => {
                let missing = directories
                    .iter()
                    .filter(|d| settings.iter().any(|s| d.has(s.controller)) && !d.path.exists());
                for directory in missing {
                    self.join_late(directory)?;
                }
            }
            Layout::V2 { mount, directory, .. } => self.hand_down(mount, directory, &settings)?,
            Layout::Withheld => return refuse(&settings),
        }
        self.apply(&settings, &rules)
    }

    /// Completes a limit of memory and swap together by the memory limit that the group has: v2 counts swap alone.
    fn with_memory_limit<'r>(
        &self,
        resources: &'r LinuxResources,
    ) -> Result<Cow<'r, LinuxResources>, CgroupError> {
        let Some(memory) = resources.memory else { return Ok(Cow::Borrowed(resources)) };
        let alone = memory.limit.is_none_or(|limit| limit == 0) && memory.swap.is_some_and(|swap| swap > 0);
        if !matches!(self.layout, Layout::V2 { .. }) || !alone {
            return Ok(Cow::Borrowed(resources));
        }
        let limit = self.stats()?.memory.limit.and_then(|limit| i64::try_from(limit).ok());
        let memory = LinuxMemory { limit, ..memory };
        Ok(Cow::Owned(LinuxResources { memory: Some(memory), ..resources.clone() }))
    }

    /// Enables the controllers of `settings` and the basic ones for `directory`.
    fn hand_down(&self, mount: &Path, directory: &Path, settings: &[Setting]) -> Result<(), CgroupError> {
        let Some(Setting { what, controller, .. }) = hand_down(mount, directory, settings)? else {
            return Ok(());
        };
        let what = what.to_string();
        Err(match &self.layout {
            Layout::V2 { delegated: true, .. } => CgroupError::NotDelegated { what, controller },
            _ => CgroupError::MissingController { what, controller },
        })
    }

    fn resolve(&self, resources: &LinuxResources) -> Result<(Vec<Setting>, Vec<DeviceRule>), CgroupError> {
        let version = match self.layout {
            Layout::V1 { .. } => Version::V1,
            Layout::V2 { .. } | Layout::Withheld => Version::V2,
        };
        Ok((limits::settings(version, resources)?, devices::rules(&resources.devices)?))
    }

    fn apply(&self, settings: &[Setting], rules: &[DeviceRule]) -> Result<(), CgroupError> {
        limits::apply(settings, |setting| self.directory_of(setting.controller))?;
        if rules.is_empty() {
            return Ok(());
        }
        match &self.layout {
            Layout::V1 { .. } => match self.directory_of("devices") {
                Some(directory) => devices::apply_v1(directory, rules),
                None if devices::allow_everything(rules) => Ok(()),
                None => Err(CgroupError::MissingController {
                    what: "restricting devices".to_string(),
                    controller: "devices",
                }),
            },
            // An ordinary user may load none, and without it has no more rights on devices than their owners gave.
            Layout::V2 { .. } if sys::user::is_in_subordinate_namespace() => Ok(()),
            Layout::V2 { directory, .. } => {
                // No program means no restriction, and spares a privileged container one; an existing one must go though.
                if devices::allow_everything(rules) && !devices::is_restricted(directory) {
                    return Ok(());
                }
                devices::apply_v2(directory, rules)
            }
            Layout::Withheld => Ok(()),
        }
    }

    /// Makes a v1 directory for a running group and moves its members there.
    ///
    /// A process that forks meanwhile leaves its child in the old place only if it had not moved itself yet, so the second look
    /// finds it; the walk ends when one look finds nobody to move.
    pub(super) fn join_late(&self, directory: &V1Directory) -> Result<(), CgroupError> {
        self.make_v1(directory, &mut Vec::new())?;
        let procs = directory.path.join("cgroup.procs");
        loop {
            let mut inside = Vec::new();
            collect_pids(&directory.path, &mut inside)?;
            let outside: Vec<i32> = self.pids()?.into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                return Ok(());
            }
            for pid in outside {
                match write_plain(&procs, &pid.to_string()) {
                    Err(error) if error.raw_os_error() != Some(ESRCH) => {
                        let path = directory.path.clone();
                        return Err(CgroupError::Join { path, pid, source: error });
                    }
                    _ => {}
                }
            }
        }
    }
}

const ESRCH: i32 = 3;

/// Refuses the first of `settings` that has to hold, where there is no group to set it in.
///
/// Rules for devices need none: without a group of one's own one has no right to make nodes either.
fn refuse(settings: &[Setting]) -> Result<(), CgroupError> {
    match settings.iter().find(|setting| !setting.optional) {
        Some(setting) => Err(CgroupError::Withheld { what: setting.what.to_string() }),
        None => Ok(()),
    }
}

/// Makes a directory; one that is left over and empty is made anew, so that no old limit or count is inherited.
fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // The error of the second mkdir says what is there; that of the rmdir would only say "busy".
            let _ = fs::remove_dir(path);
            fs::create_dir(path)
        }
        result => result,
    }
}

fn cannot_create(path: &Path, source: io::Error) -> CgroupError {
    CgroupError::Create { path: path.to_owned(), source }
}

/// A new v1 cpuset is empty and takes no process; these two are what it inherits with cgroup.clone_children on.
fn fill_cpuset(directory: &V1Directory, path: &Path) -> Result<(), CgroupError> {
    let above = path.parent().unwrap_or(&directory.mount);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        write(&path.join(file), read(&above.join(file))?.trim())?;
    }
    Ok(())
}

/// Makes `directory` and its parent, which another command may remove between the two steps because it was empty.
fn make_v2(parent: &Path, directory: &Path) -> Result<(), CgroupError> {
    let mut result = make(directory);
    for _ in 0..RACES {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::create_dir_all(parent) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(CgroupError::Create { path: parent.to_owned(), source });
                    }
                    _ => {}
                }
                result = make(directory);
            }
            _ => break,
        }
    }
    result.map_err(|source| CgroupError::Create { path: directory.to_owned(), source })
}

/// The v2 controllers every container has where they exist: for its share of the machine and its statistics.
const BASIC: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// Enables the controllers that `directory` needs in each group above it, from the top.
/// Returns a setting whose controller cannot be had.
fn hand_down<'s>(
    mount: &Path,
    directory: &Path,
    settings: &'s [Setting],
) -> Result<Option<&'s Setting>, CgroupError> {
    let required: Vec<&'static str> =
        settings.iter().map(|s| s.controller).filter(|c| !c.is_empty()).collect();
    let file = directory.join("cgroup.controllers");
    let missing = |available: &str| -> Vec<&'static str> {
        let wanted = BASIC.iter().chain(&required).copied();
        let mut missing: Vec<_> = wanted.filter(|c| !available.split_whitespace().any(|a| a == *c)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    };
    let mut wanted = missing(&read(&file)?);
    if !wanted.is_empty() {
        let existing = read(&mount.join("cgroup.controllers"))?;
        wanted.retain(|controller| existing.split_whitespace().any(|c| c == *controller));
    }
    let mut above: Vec<&Path> =
        directory.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(mount)).collect();
    above.reverse();
    for ancestor in above {
        for controller in &wanted {
            // One by one, because the kernel takes all of a line or nothing. Whether it mattered is seen below.
            let _ = write_plain(&ancestor.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
    }
    let left = missing(&read(&file)?);
    Ok(settings.iter().find(|s| left.contains(&s.controller) && !s.optional))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hierarchy;
    use oci::runtime::{LinuxCpu, LinuxPids};

    /// A plain directory in the shape of a mounted v2 hierarchy: what is written where can be read back.
    struct Tree(std::path::PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("hull-cgroup-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("hull-t/c")).expect("the temporary directory is writable");
            let tree = Self(root);
            tree.put("cgroup.controllers", "cpu io memory pids\n");
            for group in ["", "hull-t"] {
                tree.put(&format!("{group}/cgroup.subtree_control"), "");
            }
            tree
        }

        fn put(&self, file: &str, text: &str) {
            fs::write(self.0.join(file.trim_start_matches('/')), text).expect("the tree is writable");
        }

        fn get(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).expect("the file exists")
        }

        fn group(&self) -> Cgroup {
            Cgroup::open(&Hierarchy::V2 { point: self.0.clone() }, "hull-t/c").expect("the name is plain")
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_update_writes_the_files_of_v2() {
        let tree = Tree::new("update");
        tree.put("hull-t/c/cgroup.controllers", "cpu io memory pids\n");
        for file in ["memory.max", "memory.swap.max", "pids.max", "cpu.max"] {
            tree.put(&format!("hull-t/c/{file}"), "");
        }
        let resources = LinuxResources {
            memory: Some(LinuxMemory { limit: Some(4096), swap: Some(8192), ..Default::default() }),
            pids: Some(LinuxPids { limit: 5 }),
            cpu: Some(LinuxCpu { quota: Some(1000), period: Some(2000), ..Default::default() }),
            ..Default::default()
        };
        tree.group().update(&resources).expect("every file is there");
        assert_eq!(tree.get("hull-t/c/memory.max"), "4096");
        assert_eq!(tree.get("hull-t/c/memory.swap.max"), "4096");
        assert_eq!(tree.get("hull-t/c/pids.max"), "5");
        assert_eq!(tree.get("hull-t/c/cpu.max"), "1000 2000");
        assert_eq!(tree.get("hull-t/cgroup.subtree_control"), "", "nothing was missing");
        let swap = LinuxMemory { swap: Some(12_288), ..Default::default() };
        let swap = LinuxResources { memory: Some(swap), ..Default::default() };
        tree.group().update(&swap).expect("it is measured against the limit that is there");
        assert_eq!(tree.get("hull-t/c/memory.swap.max"), "8192");
    }

    #[test]
    fn controllers_are_asked_for_from_the_top_and_missing_ones_named() {
        let tree = Tree::new("missing");
        tree.put("hull-t/c/cgroup.controllers", "io memory pids\n");
        let resources = LinuxResources {
            cpu: Some(LinuxCpu { shares: Some(512), ..Default::default() }),
            ..Default::default()
        };
        let error = tree.group().update(&resources).expect_err("cpu is not there");
        assert_eq!(error.to_string(), "a CPU weight needs the cpu controller, which is not available here");
        assert_eq!(tree.get("cgroup.subtree_control"), "+cpu");
        assert_eq!(tree.get("hull-t/cgroup.subtree_control"), "+cpu");
        tree.group().update(&LinuxResources::default()).expect("nothing needs cpu");
    }
}
