//! Where a hull keeps its state, and what sets it apart from other hulls on the host.

use std::env;
use std::path::{Path, PathBuf};

use oci::Digest;

/// The data root and the run root of one hull; two different roots never meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Durable; on a local filesystem that overlayfs accepts.
    pub data: PathBuf,
    /// Volatile; on tmpfs, so that a reboot empties it.
    pub run: PathBuf,
}

impl Roots {
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { data: absolute(data.into()), run: absolute(run.into()) }
    }

    /// `HULL_ROOT` and `HULL_RUN_ROOT`, or else the system's places for root and the XDG ones for everybody else.
    pub fn from_env_or_default() -> Self {
        let variable = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let (data, run) = if is_root() {
            (PathBuf::from("/var/lib/hull"), PathBuf::from("/run/hull"))
        } else {
            let home = variable("HOME").unwrap_or_else(|| "/".into());
            let data = variable("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
            (data.join("hull"), user_run_dir().join("hull"))
        };
        match (variable("HULL_ROOT"), variable("HULL_RUN_ROOT")) {
            (Some(data), Some(run)) => Self::new(data, run),
            // A data root of its own must not share volatile state with another one.
            (Some(data), None) => {
                let run = run.with_file_name(format!("hull-{}", instance_of(&absolute(data.clone()))));
                Self::new(data, run)
            }
            (None, run_override) => Self::new(data, run_override.unwrap_or(run)),
        }
    }

    /// Eight hexadecimal characters that set this hull's host-wide names apart: firewall table, cgroups, bridges.
    pub fn instance(&self) -> String {
        instance_of(&self.data)
    }
}

/// Where an ordinary user's volatile files are: `XDG_RUNTIME_DIR`, or what systemd would set it to, or a directory in `/tmp`.
pub fn user_run_dir() -> PathBuf {
    let uid = sys::fs::effective_uid();
    if let Some(given) = env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute()) {
        return given.into();
    }
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    if usual.is_dir() { usual } else { format!("/tmp/hull-{uid}").into() }
}

fn is_root() -> bool {
    sys::fs::effective_uid() == 0
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn instance_of(data: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    // The root may not exist yet; what exists of it decides, so that the name is the same before and after it is made.
    let mut existing = data;
    let mut rest = Vec::new();
    let mut canonical = loop {
        match existing.canonicalize() {
            Ok(path) => break path,
            Err(_) => match (existing.parent(), existing.file_name()) {
                (Some(parent), Some(name)) => {
                    rest.push(name);
                    existing = parent;
                }
                _ => break existing.to_owned(),
            },
        }
    };
    canonical.extend(rest.iter().rev());
    Digest::of(canonical.as_os_str().as_bytes()).hex()[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_is_stable_and_follows_links() {
        let base = env::temp_dir().join(format!("store-roots-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let roots = Roots::new(base.join("a/b"), base.join("run"));
        let before = roots.instance();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", base.join("link")).unwrap();
        assert_eq!(roots.instance(), before);
        assert_eq!(Roots::new(base.join("link/b"), "/x").instance(), before);
        assert_ne!(Roots::new(base.join("c"), "/x").instance(), before);
        assert_eq!(before.len(), 8);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
