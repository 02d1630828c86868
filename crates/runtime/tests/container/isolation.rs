//! Namespaces, names, kernel parameters.

use std::fs;
use std::os::fd::AsFd;

use oci::runtime::{LinuxNamespace, NamespaceType};
use runtime::{Launch, LaunchError, Lifetime, Stdio};
use sys::namespace::Kind;

use crate::sandbox::{Sandbox, pipes};

crate::tests![
    every_namespace_is_its_own,
    namespaces_can_be_the_hosts,
    namespaces_are_joined_by_descriptor_and_path,
    names_are_set,
    sysctls_are_set_where_they_belong,
    what_is_not_supported_is_refused_by_name,
];

const KINDS: [Kind; 6] = [Kind::Pid, Kind::Network, Kind::Mount, Kind::Ipc, Kind::Uts, Kind::Cgroup];

fn links(pid: &str) -> Vec<String> {
    let link = |kind: &Kind| fs::read_link(format!("/proc/{pid}/ns/{}", kind.file())).unwrap();
    KINDS.iter().map(|kind| link(kind).to_str().unwrap().to_owned()).collect()
}

fn every_namespace_is_its_own() {
    let process = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let (own, its) = (links("self"), links(&process.pid().to_string()));
    process.kill(9).unwrap();
    process.wait().unwrap();
    for (own, its) in own.iter().zip(&its) {
        assert_ne!(own, its);
    }
    assert_eq!(Sandbox::shell("echo $$; set -- /proc/[0-9]*; echo $#").text(), "1\n1");
}

fn namespaces_can_be_the_hosts() {
    let mut sandbox = Sandbox::shell("for n in net ipc; do readlink /proc/self/ns/$n; done; test $$ -gt 1");
    use NamespaceType::*;
    sandbox.linux().namespaces = [Mount, Uts].map(LinuxNamespace::new).to_vec();
    let own = links("self");
    assert_eq!(sandbox.text(), format!("{}\n{}", own[1], own[3]));
}

fn namespaces_are_joined_by_descriptor_and_path() {
    let first = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let its = links(&first.pid().to_string());
    let net = sys::namespace::open(first.pid(), Kind::Network).unwrap();
    let pid = sys::namespace::open(first.pid(), Kind::Pid).unwrap();
    let mut sandbox =
        Sandbox::shell("for n in pid net ipc; do readlink /proc/self/ns/$n; done; cat /proc/1/comm");
    let ipc = format!("/proc/{}/ns/ipc", first.pid());
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::Ipc);
    sandbox.linux().namespaces.push(LinuxNamespace::at(NamespaceType::Ipc, ipc));
    let (stdio, pipes) = pipes();
    let process = runtime::create(Launch {
        id: "second",
        spec: &sandbox.spec,
        rootfs: &sandbox.rootfs,
        user: &sandbox.user,
        extra_groups: &[],
        cgroup: None,
        seccomp: &sandbox.seccomp,
        stdio,
        join: &[(NamespaceType::Network, net.as_fd()), (NamespaceType::Pid, pid.as_fd())],
        init: false,
        bundle: &sandbox.directory,
        lifetime: Lifetime::Caller,
        preserve_fds: 0,
        no_pivot: false,
    })
    .unwrap()
    .start()
    .unwrap();
    let output = pipes.finish(process);
    first.kill(9).unwrap();
    first.wait().unwrap();
    assert_eq!(output.out, format!("{}\n{}\n{}\nsleep\n", its[0], its[1], its[3]), "{}", output.err);
}

fn names_are_set() {
    let mut sandbox = Sandbox::shell("hostname; cat /proc/sys/kernel/domainname");
    sandbox.spec.domainname = Some("example".to_owned());
    assert_eq!(sandbox.text(), "box\nexample");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), "box\n");
}

fn sysctls_are_set_where_they_belong() {
    let mut sandbox = Sandbox::shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax");
    let sysctl = &mut sandbox.linux().sysctl;
    sysctl.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    sysctl.insert("kernel/msgmax".to_owned(), "4096".to_owned());
    assert_eq!(sandbox.text(), "1\n4096");
    sandbox.linux().sysctl.insert("kernel.panic".to_owned(), "1".to_owned());
    assert_eq!(
        sandbox.error().to_string(),
        "invalid linux.sysctl kernel.panic: it is not in a separate kernel namespace"
    );
    sandbox.linux().sysctl.remove("kernel.panic");
    for name in ["net/../kernel/panic", "net..core", "net.", "/net/core", "net/./core"] {
        let mut sandbox = Sandbox::new(&["true"]);
        sandbox.linux().sysctl.insert(name.to_owned(), "1".to_owned());
        let expected = format!("invalid linux.sysctl {name}: it is not the name of a kernel parameter");
        assert_eq!(sandbox.error().to_string(), expected);
    }
    let mut other = Sandbox::new(&["true"]);
    other.linux().sysctl.insert("kernel.hostname".to_owned(), "b".to_owned());
    let expected = "invalid linux.sysctl kernel.hostname: the configuration's hostname says it already";
    assert_eq!(other.error().to_string(), expected);
    let mut other = Sandbox::new(&["true"]);
    other.linux().sysctl.insert("user.max_net_namespaces".to_owned(), "7".to_owned());
    assert_eq!(
        other.error().to_string(),
        "invalid linux.sysctl user.max_net_namespaces: it is not allowed in the host's user namespace"
    );
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::Network);
    assert!(matches!(sandbox.error(), LaunchError::Invalid { .. }));
}

fn what_is_not_supported_is_refused_by_name() {
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::Mount);
    assert_eq!(sandbox.error().to_string(), "a container without a mount namespace is not supported");
}
