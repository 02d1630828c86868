//! The part of the v2 hierarchy that an ordinary user has been given.
//!
//! A process changes its group only if its user may write to the new one and to what is above both. So containers can have
//! groups where hull itself runs in, or can get into, a subtree that belongs to the user:
//!
//! - a scope of the user's own systemd, into which that takes whoever asks, also from a login session;
//! - the topmost group above hull's own that root has handed over, as `chown` or `Delegate=` of a service do.
//!
//! Only groups without processes of their own hand down controllers, so all that was in the subtree's first group is moved to
//! one below it, called [`OTHERS`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use oci::runtime::LinuxResources;

use crate::files::{read, write_plain};
use crate::hierarchy::Memberships;
use crate::systemd::Value;
use crate::{CgroupError, Hierarchy, Scope, Version};

/// The group of every process that is in no container and no monitor.
pub(crate) const OTHERS: &str = "others";

/// How often processes are looked for that were born while their parents were moved.
const LOOKS: usize = 100;
/// How often systemd is asked for a scope whose predecessor is about to end.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

const ESRCH: i32 = 3;

/// A subtree that belongs to this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    root: PathBuf,
}

impl Delegation {
    /// The variable with the subtree's directory, for the processes of an ordinary user.
    pub const VARIABLE: &'static str = "HULL_CGROUP";

    /// The subtree at `root`, whose owner has found it before.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its first directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finds this user's subtree and moves the caller there; `unit` names the scope to ask systemd for.
    ///
    /// `None` where nothing has been given to the user, and on v1, which cannot be given away safely.
    pub fn obtain(unit: &str) -> Option<Self> {
        let Ok(Hierarchy::V2 { point }) = Hierarchy::detect() else { return None };
        let found =
            Self::scope(&point, unit).or_else(|| Self::above(&own_directory(&point).ok()?, &point))?;
        found.enter().ok().map(|()| found)
    }

    /// The topmost group of the user's in the hierarchy at `point` that holds the group `own`.
    pub(crate) fn above(own: &Path, point: &Path) -> Option<Self> {
        let all = own.ancestors().take_while(|group| group.starts_with(point));
        all.filter(|group| is_given(group)).last().map(Self::at)
    }

    /// A scope of the user's systemd: a new one, or that which another process of this home keeps.
    fn scope(point: &Path, unit: &str) -> Option<Self> {
        let scope = Scope { slice: "app.slice".to_owned(), unit: unit.to_owned() };
        let own = std::process::id().cast_signed();
        let inside = |path: PathBuf| Self::at(point.join(path.strip_prefix("/").unwrap_or(&path)));
        let text = |name: &str, value: &str| (name.to_owned(), Value::String(value.to_owned()));
        let extra = [text("Description", "containers of hull"), text("CollectMode", "inactive-or-failed")];
        for _ in 0..TRIES {
            match scope.start(Version::V2, &LinuxResources::default(), &extra, own) {
                Ok(path) => return Some(inside(path)),
                Err(CgroupError::NoSystemd { .. }) => return None,
                // It exists. What is left of one that ends takes nobody in.
                Err(_) => {
                    let existing = scope.path().ok().map(inside);
                    if let Some(found) = existing.filter(|found| found.enter().is_ok()) {
                        return Some(found);
                    }
                }
            }
            thread::sleep(PAUSE);
        }
        None
    }

    /// Moves the caller into the subtree, unless it is there, and what is in its first group out of the way.
    ///
    /// # Errors
    /// [`CgroupError::Join`] for a process outside of it, where no systemd takes it in.
    pub fn enter(&self) -> Result<(), CgroupError> {
        let own = own_directory(&mount_point()?)?;
        if own == self.root {
            return self.clear();
        }
        if own.starts_with(&self.root) {
            return Ok(());
        }
        let pid = std::process::id().cast_signed();
        let others = self.others()?;
        match write_plain(&others.join("cgroup.procs"), "0") {
            Ok(()) => Ok(()),
            Err(source) => match self.unit() {
                Some(scope) => scope.attach(OTHERS, pid),
                None => Err(CgroupError::Join { path: others, pid, source }),
            },
        }
    }

    /// Whether the caller is in it, without which it can neither be moved nor give birth there.
    pub(crate) fn holds_caller(&self) -> Result<bool, CgroupError> {
        Ok(own_directory(&mount_point()?)?.starts_with(&self.root))
    }

    /// The scope it is, if it is one.
    fn unit(&self) -> Option<Scope> {
        let unit = self.root.file_name()?.to_str().filter(|name| name.ends_with(".scope"))?;
        Some(Scope { slice: String::new(), unit: unit.to_owned() })
    }

    /// Moves all processes out of the first group.
    pub(crate) fn clear(&self) -> Result<(), CgroupError> {
        let others = self.others()?;
        for _ in 0..LOOKS {
            let inside = read(&self.root.join("cgroup.procs"))?;
            let mut pids = inside.lines().filter_map(|line| line.parse::<i32>().ok()).peekable();
            if pids.peek().is_none() {
                break;
            }
            for pid in pids {
                match write_plain(&others.join("cgroup.procs"), &pid.to_string()) {
                    Err(error) if error.raw_os_error() == Some(ESRCH) => {}
                    Err(source) => return Err(CgroupError::Join { path: others, pid, source }),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// The group of what is in no container, made when it is missing.
    pub(crate) fn others(&self) -> Result<PathBuf, CgroupError> {
        let path = self.root.join(OTHERS);
        match fs::create_dir(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(CgroupError::Create { path, source })
            }
            _ => Ok(path),
        }
    }
}

/// Whether the user may make groups in `group`, move processes there and hand down controllers; see "Delegation" in the
/// kernel's `cgroup-v2.rst`.
fn is_given(group: &Path) -> bool {
    let files = ["cgroup.procs", "cgroup.subtree_control"].map(|file| group.join(file));
    sys::process::may_write(group) && files.iter().all(|file| sys::process::may_write(file))
}

/// Where v2 is mounted, also on a hybrid host.
fn mount_point() -> Result<PathBuf, CgroupError> {
    match Hierarchy::detect()? {
        Hierarchy::V2 { point } | Hierarchy::V1 { unified: Some(point), .. } => Ok(point),
        _ => Err(CgroupError::NotMounted),
    }
}

/// The caller's group in the v2 hierarchy at `point`.
fn own_directory(point: &Path) -> Result<PathBuf, CgroupError> {
    let own = Memberships::of_caller()?;
    Ok(point.join(own.v2().strip_prefix("/").unwrap_or(own.v2())))
}
