//! What a runtime can do, as its `features` command prints it; runtime-spec, `features.md` and `features-linux.md`.

use std::collections::BTreeMap;

use super::{NamespaceType, SeccompAction, SeccompOperator, object};

object! {
    /// The document.
    #[derive(Default)]
    Features {
        oci_version_min: String,
        oci_version_max: String,
        ;
        hooks: Vec<String>,
        mount_options: Vec<String>,
        annotations: BTreeMap<String, String>,
        potentially_unsafe_config_annotations: Vec<String>,
        linux: Option<LinuxFeatures>,
    }
}

object! {
    /// The Linux part of [`Features`].
    #[derive(Default)]
    LinuxFeatures {
        ;
        namespaces: Vec<NamespaceType>,
        capabilities: Vec<String>,
        cgroup: Option<CgroupFeatures>,
        seccomp: Option<SeccompFeatures>,
        apparmor: Option<Switch>,
        selinux: Option<Switch>,
        intel_rdt: Option<Switch>,
        mount_extensions: Option<MountExtensions>,
        net_devices: Option<Switch>,
    }
}

object! {
    /// Whether something is there at all; what the host has to have for it is another matter.
    #[derive(Copy, Default)]
    Switch {
        enabled: bool,
        ;
    }
}

object! {
    /// Kinds of control groups.
    #[derive(Copy, Default)]
    CgroupFeatures {
        v1: bool,
        v2: bool,
        systemd: bool,
        systemd_user: bool,
        rdma: bool,
        ;
    }
}

object! {
    /// What filters of system calls can say.
    #[derive(Default)]
    SeccompFeatures {
        enabled: bool,
        ;
        actions: Vec<SeccompAction>,
        operators: Vec<SeccompOperator>,
        archs: Vec<String>,
        known_flags: Vec<String>,
        supported_flags: Vec<String>,
    }
}

object! {
    /// What mounts can do beyond their options.
    #[derive(Copy, Default)]
    MountExtensions {
        idmap: Switch,
        ;
    }
}
