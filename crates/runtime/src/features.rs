//! What this runtime can do, in the words of the specification.

use oci::runtime::{
    CgroupFeatures, Features, LinuxFeatures, MountExtensions, NamespaceType, SeccompAction, SeccompFeatures,
    SeccompOperator, Switch, VERSION,
};

use crate::plan;
use crate::seccomp;

/// The oldest version of the specification whose documents are understood.
pub const OLDEST_VERSION: &str = "1.0.0";

/// The points of a container's life that have hooks.
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Describes this runtime on this host's kernel.
pub fn features() -> Features {
    const ON: Option<Switch> = Some(Switch { enabled: true });
    use NamespaceType::*;
    Features {
        oci_version_min: OLDEST_VERSION.to_owned(),
        oci_version_max: VERSION.to_owned(),
        hooks: HOOKS.map(str::to_owned).to_vec(),
        mount_options: plan::MOUNT_OPTIONS.map(str::to_owned).to_vec(),
        linux: Some(LinuxFeatures {
            namespaces: vec![Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts],
            capabilities: sys::capability::supported().iter().map(|one| one.to_string()).collect(),
            cgroup: Some(CgroupFeatures {
                v1: true,
                v2: true,
                systemd: true,
                systemd_user: true,
                rdma: true,
            }),
            seccomp: Some(seccomp_features()),
            apparmor: ON,
            selinux: ON,
            intel_rdt: ON,
            mount_extensions: Some(MountExtensions { idmap: Switch { enabled: true } }),
            net_devices: ON,
        }),
        ..Features::default()
    }
}

fn seccomp_features() -> SeccompFeatures {
    use SeccompAction::*;
    use SeccompOperator::*;
    let flags = || seccomp::FLAGS.iter();
    let supported = flags().filter(|(_, flag)| sys::seccomp::flags_are_supported(*flag));
    SeccompFeatures {
        enabled: true,
        actions: vec![Allow, Errno, Kill, KillProcess, KillThread, Log, Notify, Trace, Trap],
        operators: vec![Equal, GreaterOrEqual, Greater, LessOrEqual, Less, MaskedEqual, NotEqual],
        archs: ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"].map(str::to_owned).to_vec(),
        known_flags: flags().map(|(name, _)| (*name).to_owned()).collect(),
        supported_flags: supported.map(|(name, _)| (*name).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_whole_and_say_it_in_the_specifications_words() {
        let value = serde_json::to_value(features()).expect("JSON");
        let at = |pointer: &str| value.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {value}"));
        assert_eq!(at("/ociVersionMax"), "1.3.0");
        assert_eq!(at("/hooks/1"), "createRuntime");
        for name in ["rro", "tmpcopyup", "ridmap"] {
            assert!(at("/mountOptions").as_array().expect("a list").iter().any(|option| option == name));
        }
        assert_eq!(at("/linux/namespaces/5"), "time");
        assert_eq!(at("/linux/capabilities/0"), "CAP_CHOWN");
        assert_eq!(at("/linux/cgroup/systemdUser"), true);
        assert_eq!(at("/linux/seccomp/actions/6"), "SCMP_ACT_NOTIFY");
        assert_eq!(at("/linux/seccomp/knownFlags/0"), "SECCOMP_FILTER_FLAG_TSYNC");
        for switch in ["apparmor", "selinux", "intelRdt", "netDevices", "mountExtensions/idmap"] {
            assert_eq!(at(&format!("/linux/{switch}/enabled")), true);
        }
    }
}
