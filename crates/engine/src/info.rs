//! The engine about itself and its host.

use crate::engine::Engine;
use crate::list::ListError;
use crate::lookup::LookupError;
use crate::model::{ContainerSummary, Info, ListOptions, Status, Version};
use crate::stats::host_memory_bytes;
use diag::{Class, Diagnose};
use runtime::ids::{Policy, Pool};
use std::fs;
use std::path::Path;
use store::DatabaseError;
use store::db::images;

/// Why the engine could not tell about itself.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum InfoError {
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for InfoError {
    fn class(&self) -> Class {
        match self {
            Self::List(error) => error.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::List(error) => error.hint(),
            Self::Database(error) => error.hint(),
        }
    }
}

impl Engine {
    /// What is here, and what this host can do.
    ///
    /// # Errors
    /// [`InfoError`].
    pub fn info(&self) -> Result<Info, InfoError> {
        let containers = self.list(&ListOptions { all: true, ..ListOptions::default() })?;
        let count =
            |wanted: &dyn Fn(Status) -> bool| containers.iter().filter(|c| wanted(c.state.status)).count();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let mut warnings = Vec::new();
        let (cgroup_version, cgroup_controllers) = match self.hierarchy() {
            Ok(hierarchy) => {
                let version = match hierarchy.version() {
                    Some(cgroup::Version::V2) => 2,
                    Some(cgroup::Version::V1) => 1,
                    None => {
                        warnings.push(
                            "this user has no control group to delegate: no limits, no pause, no stats"
                                .to_owned(),
                        );
                        0
                    }
                };
                (version, hierarchy.controllers())
            }
            Err(error) => {
                warnings.push(format!("control groups cannot be used: {error}"));
                (0, Vec::new())
            }
        };
        warnings.extend(missing_features());
        let own_users = own_users(&mut warnings);
        Ok(Info {
            instance: self.instance().to_owned(),
            data_root: self.store().data().to_owned(),
            run_root: self.store().run().to_owned(),
            containers: containers.len(),
            running: count(&|status| matches!(status, Status::Running | Status::Restarting)),
            paused: count(&|status| status == Status::Paused),
            stopped: count(&|status| !status.is_running()),
            images: self.store().database().read(images::list)?.len(),
            host_name: word("/proc/sys/kernel/hostname"),
            kernel: word("/proc/sys/kernel/osrelease"),
            operating_system: field(&release, "PRETTY_NAME"),
            os_version: field(&release, "VERSION_ID"),
            architecture: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory_bytes: host_memory_bytes(),
            cgroup_version,
            cgroup_controllers,
            backing_filesystem: filesystem_of(self.store().data()),
            security_options: security_options(own_users),
            unprotected: self.unprotected(&containers)?,
            warnings,
        })
    }

    fn unprotected(&self, containers: &[ContainerSummary]) -> Result<usize, ListError> {
        let mut count = 0;
        for container in containers.iter().filter(|container| container.state.status.is_running()) {
            match self.inspect(container.id.as_str()) {
                Ok(inspect) => count += usize::from(!inspect.given_up.is_empty()),
                // Removed meanwhile.
                Err(LookupError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    /// Versions of the engine and of what it runs on.
    pub fn version() -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: "1.50".into(),
            min_api_version: "1.24".into(),
            os: std::env::consts::OS.to_owned(),
            // Docker's word for it.
            architecture: if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }
                .to_owned(),
            kernel: word("/proc/sys/kernel/osrelease"),
        }
    }
}

/// Whether containers that say nothing get user ids of their own.
fn own_users(warnings: &mut Vec<String>) -> bool {
    if sys::user::is_in_subordinate_namespace() {
        // Root in them is an ordinary user outside, which needs no warning.
        return false;
    }
    let lacking = match Policy::from_environment() {
        Ok(Policy::Host) => "HULL_USERNS=host".to_owned(),
        Ok(_) => match Pool::of_host() {
            Ok(_) => return true,
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    warnings.push(format!(
        "containers have no user ids of their own, root in them is root on the host: {lacking}"
    ));
    false
}

/// Docker's words for them.
fn security_options(own_users: bool) -> Vec<String> {
    let rootless = sys::user::is_in_subordinate_namespace();
    let names = [
        (true, "name=seccomp,profile=builtin"),
        (own_users, "name=userns"),
        (rootless, "name=rootless"),
        (true, "name=cgroupns"),
    ];
    names.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect()
}

/// What containers here must do without.
fn missing_features() -> Vec<String> {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mut missing = Vec::new();
    if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        missing.push("the kernel has no overlayfs: containers cannot be started".to_owned());
    }
    if !Path::new("/proc/sys/net/netfilter").exists() {
        missing
            .push("connection tracking is not loaded: it is needed for NAT and published ports".to_owned());
    }
    if !net::can_guard().unwrap_or(true) {
        missing.push(
            "the kernel cannot filter on bridges (CONFIG_NF_TABLES_BRIDGE): containers can send under each other's addresses"
                .to_owned(),
        );
    }
    missing
}

fn word(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The value of `key` in an os-release file.
fn field(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// The type of the filesystem `path` is on: that of the longest mount point above it.
fn filesystem_of(path: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(4)?.to_owned(), right.split(' ').next()?.to_owned()))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind).unwrap_or_default()
}
