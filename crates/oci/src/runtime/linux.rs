//! Namespaces, devices and the other Linux settings of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{IdMapping, LinuxResources, LinuxSeccomp, object};

object! {
    /// The `linux` object of the configuration.
    #[derive(Default)]
    Linux {
        ;
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
        sysctl: BTreeMap<String, String>,
        resources: Option<LinuxResources>,
        cgroups_path: Option<String>,
        namespaces: Vec<LinuxNamespace>,
        devices: Vec<LinuxDevice>,
        net_devices: BTreeMap<String, LinuxNetDevice>,
        seccomp: Option<LinuxSeccomp>,
        rootfs_propagation: Option<String>,
        masked_paths: Vec<PathBuf>,
        readonly_paths: Vec<PathBuf>,
        mount_label: Option<String>,
        intel_rdt: Option<LinuxIntelRdt>,
        memory_policy: Option<LinuxMemoryPolicy>,
        personality: Option<LinuxPersonality>,
        time_offsets: BTreeMap<String, LinuxTimeOffset>,
    }
}

object! {
    /// A namespace to create, or to join when it has a path. A type that is not listed is shared with the caller.
    LinuxNamespace {
        r#type: NamespaceType,
        ;
        path: Option<PathBuf>,
    }
}

impl LinuxNamespace {
    /// A namespace of its own for the container.
    pub const fn new(r#type: NamespaceType) -> Self {
        Self { r#type, path: None }
    }

    /// The namespace `path` names, such as `/proc/1/ns/net`.
    pub fn at(r#type: NamespaceType, path: impl Into<PathBuf>) -> Self {
        Self { r#type, path: Some(path.into()) }
    }
}

/// The kinds of namespaces; see namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum NamespaceType {
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

object! {
    /// A device node beneath the container's root.
    #[derive(Default)]
    LinuxDevice {
        path: PathBuf,
        /// `c`, `b`, `u` (unbuffered character) or `p`.
        r#type: String,
        ;
        major: i64,
        minor: i64,
        file_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    }
}

object! {
    /// A network device to move into the container.
    #[derive(Default)]
    LinuxNetDevice {
        ;
        name: Option<String>,
    }
}

object! {
    /// Intel resource director technology.
    #[derive(Default)]
    LinuxIntelRdt {
        ;
        #[serde(rename = "closID")]
        clos_id: Option<String>,
        schemata: Vec<String>,
        l3_cache_schema: Option<String>,
        mem_bw_schema: Option<String>,
        enable_monitoring: bool,
    }
}

object! {
    /// NUMA memory policy; see set_mempolicy(2).
    #[derive(Default)]
    LinuxMemoryPolicy {
        ;
        mode: Option<String>,
        nodes: Option<String>,
        flags: Vec<String>,
    }
}

object! {
    /// Execution domain; see personality(2).
    #[derive(Default)]
    LinuxPersonality {
        ;
        domain: Option<String>,
        flags: Vec<String>,
    }
}

object! {
    /// Offset of a clock in a time namespace.
    #[derive(Copy, Default)]
    LinuxTimeOffset {
        ;
        secs: i64,
        nanosecs: u32,
    }
}
