//! What protection a container has given up, in sentences for people.
//!
//! One place, so that `inspect` and `info` agree. What every container by default goes without is not listed; what lies in the
//! request's power is, and user ids that the host could not give.

use crate::engine::Engine;
use crate::launch;
use crate::model::{ContainerSpec, IpcMode, NamespaceMode, NetworkMode, SeccompChoice, UserNamespace};
use crate::record::{Container, MountSource, ResolvedMount};
use runtime::DEFAULT_CAPABILITIES;
use runtime::ids::Policy;
use sys::capability::Capability;

impl Engine {
    /// What `container` has given up; `own_users` tells of one that runs whether its user ids are its own.
    pub(crate) fn given_up(&self, container: &Container, own_users: Option<bool>) -> Vec<String> {
        let why = if own_users == Some(true) { None } else { why_hosts_ids(container, own_users.is_some()) };
        let mut found = given_up(&container.doc.spec, &container.doc.mounts, why.as_deref());
        if sys::user::is_in_subordinate_namespace() {
            found.insert(
                0,
                "root in it is the user who runs hull, whose other containers share its user ids".to_owned(),
            );
        }
        found
    }
}

/// Why the container has the host's user ids; `None` when it has, or will have, its own.
fn why_hosts_ids(container: &Container, runs: bool) -> Option<String> {
    if sys::user::is_in_subordinate_namespace() {
        return None;
    }
    if let Some(flag) = launch::reason_for_host(container) {
        return Some(flag.to_owned());
    }
    let by_default = container.doc.spec.isolation.users == UserNamespace::Default;
    if by_default && Policy::from_environment() == Ok(Policy::Host) {
        return Some("HULL_USERNS=host".to_owned());
    }
    runs.then(|| "the system gave it none of its own".to_owned())
}

fn given_up(spec: &ContainerSpec, mounts: &[ResolvedMount], hosts_ids: Option<&str>) -> Vec<String> {
    let isolation = &spec.isolation;
    let mut found = Vec::new();
    let mut say = |sentence: String| found.push(sentence);
    if let Some(why) = hosts_ids {
        say(format!("root in it is root on the host: it runs with the host's user ids ({why})"));
    }
    if isolation.privileged {
        say("it may use every device of the host (--privileged)".into());
        say("nothing in /proc and /sys is masked or read-only (--privileged)".into());
    }
    rights(spec, hosts_ids.is_some(), &mut say);
    match &isolation.seccomp {
        SeccompChoice::Unconfined => say("no system call is filtered (seccomp=unconfined)".into()),
        SeccompChoice::Default if isolation.privileged => {
            say("no system call is filtered (--privileged)".into());
        }
        SeccompChoice::Profile(_) => say("a system call filter of its own replaces the default one".into()),
        SeccompChoice::Default => {}
    }
    let namespaces = [
        (matches!(spec.network.mode, NetworkMode::Host), "network", "--network host"),
        (isolation.pid == NamespaceMode::Host, "pid", "--pid host"),
        (isolation.ipc == IpcMode::Host, "ipc", "--ipc host"),
        (isolation.uts == NamespaceMode::Host, "uts", "--uts host"),
        (isolation.cgroupns == NamespaceMode::Host, "cgroup", "--cgroupns host"),
    ];
    for (_, kind, flag) in namespaces.iter().filter(|(host, ..)| *host) {
        say(format!("it is in the host's {kind} namespace ({flag})"));
    }
    let [masked, readonly] = launch::usual_paths();
    let paths =
        [(&isolation.masked_paths, masked, "masked"), (&isolation.readonly_paths, readonly, "read-only")];
    for (own, usual, what) in paths {
        if own.as_ref().is_some_and(|own| *own != usual) && !isolation.privileged {
            say(format!("a list of its own says what in /proc and /sys is {what}"));
        }
    }
    for device in &isolation.devices {
        let (host, rights) = (device.host.display(), &device.permissions);
        say(format!("the host's device {host} may be used ({rights})"));
    }
    for rule in &isolation.device_rules {
        say(format!("devices may be used by the rule `{rule}`"));
    }
    for mount in mounts {
        if let MountSource::Bind { path, propagation, .. } = &mount.source {
            let (path, target) = (path.display(), &mount.target);
            if !mount.read_only {
                say(format!("the host's {path} can be written to at {target}"));
            } else if path.to_string() == "/" {
                say(format!("all files of the host can be read at {target}"));
            }
            if propagation.is_some_and(|spread| spread.is_shared()) {
                say(format!("what it mounts at {target} appears on the host"));
            }
        }
    }
    if spec.limits.pids.is_some_and(|limit| limit <= 0) {
        say("its processes are not limited in number (--pids-limit)".into());
    }
    if spec.limits.oom_kill_disable {
        say("the kernel may not end it when memory runs out (--oom-kill-disable)".into());
    }
    found
}

/// Capabilities beyond the default ones, and what two of them mean.
fn rights(spec: &ContainerSpec, hosts_ids: bool, say: &mut impl FnMut(String)) {
    if spec.isolation.privileged {
        return say("it has all capabilities (--privileged)".into());
    }
    let set = launch::capabilities(spec);
    let more: Vec<String> =
        set.iter().filter(|cap| !DEFAULT_CAPABILITIES.contains(cap)).map(ToString::to_string).collect();
    if !more.is_empty() {
        say(format!("it has more capabilities than others: {}", more.join(", ")));
    }
    if set.contains(&Capability::NET_ADMIN) && !matches!(spec.network.mode, NetworkMode::Host) {
        say("it may send under addresses that are not its own (CAP_NET_ADMIN)".into());
    }
    if hosts_ids && set.contains(&Capability::SYS_PTRACE) {
        say("it may trace hull's processes that enter it (CAP_SYS_PTRACE with the host's user ids)".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BindPropagation, Device, MountSyntax, Owners};

    fn check(change: impl FnOnce(&mut ContainerSpec), hosts_ids: Option<&str>, expected: &[&str]) {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        assert_eq!(given_up(&spec, &[], hosts_ids), expected);
    }

    #[test]
    fn every_flag_that_opens_something_is_told() {
        check(|_| {}, None, &[]);
        check(|s| s.isolation.cap_drop = vec!["ALL".into()], None, &[]);
        check(|s| s.limits.pids = Some(100), None, &[]);
        check(
            |s| s.isolation.privileged = true,
            Some("--privileged"),
            &[
                "root in it is root on the host: it runs with the host's user ids (--privileged)",
                "it may use every device of the host (--privileged)",
                "nothing in /proc and /sys is masked or read-only (--privileged)",
                "it has all capabilities (--privileged)",
                "no system call is filtered (--privileged)",
            ],
        );
        check(
            |s| {
                s.isolation.cap_add = vec!["NET_ADMIN".into(), "sys_ptrace".into(), "CHOWN".into()];
                s.isolation.seccomp = SeccompChoice::Unconfined;
            },
            Some("--userns=host"),
            &[
                "root in it is root on the host: it runs with the host's user ids (--userns=host)",
                "it has more capabilities than others: CAP_NET_ADMIN, CAP_SYS_PTRACE",
                "it may send under addresses that are not its own (CAP_NET_ADMIN)",
                "it may trace hull's processes that enter it (CAP_SYS_PTRACE with the host's user ids)",
                "no system call is filtered (seccomp=unconfined)",
            ],
        );
        check(
            |s| {
                s.network.mode = NetworkMode::Host;
                s.isolation.pid = NamespaceMode::Host;
                s.isolation.uts = NamespaceMode::Host;
                s.isolation.seccomp = SeccompChoice::Profile("{}".into());
                s.isolation.masked_paths = Some(Vec::new());
                s.isolation.device_rules = vec!["c 10:* rwm".into()];
                s.isolation.devices = vec![Device {
                    host: "/dev/kvm".into(),
                    container: "/dev/kvm".into(),
                    permissions: "rw".into(),
                }];
                s.limits.pids = Some(-1);
                s.limits.oom_kill_disable = true;
            },
            None,
            &[
                "a system call filter of its own replaces the default one",
                "it is in the host's network namespace (--network host)",
                "it is in the host's pid namespace (--pid host)",
                "it is in the host's uts namespace (--uts host)",
                "a list of its own says what in /proc and /sys is masked",
                "the host's device /dev/kvm may be used (rw)",
                "devices may be used by the rule `c 10:* rwm`",
                "its processes are not limited in number (--pids-limit)",
                "the kernel may not end it when memory runs out (--oom-kill-disable)",
            ],
        );
    }

    #[test]
    fn mounts_of_the_host_are_told() {
        let mount = |path: &str, read_only, propagation| ResolvedMount {
            target: "/x".into(),
            source: MountSource::Bind {
                path: path.into(),
                propagation,
                recursive: true,
                owners: Owners::AsTheyAre,
            },
            read_only,
            syntax: MountSyntax::Volume,
            mode: String::new(),
        };
        let mounts = [
            mount("/srv", true, None),
            mount("/srv", false, Some(BindPropagation::RShared)),
            mount("/", true, None),
        ];
        assert_eq!(
            given_up(&ContainerSpec::default(), &mounts, None),
            [
                "the host's /srv can be written to at /x",
                "what it mounts at /x appears on the host",
                "all files of the host can be read at /x",
            ]
        );
    }
}
