//! Time namespaces, and mount namespaces that exist already.

use std::fs;

use oci::runtime::{LinuxNamespace, LinuxTimeOffset, Mount, NamespaceType};
use runtime::{Process, Stdio, UserSpec};
use sys::mount::{Depth, Propagation};
use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned};

use crate::sandbox::{Output, Sandbox, chain, exec, pipes, until};
use crate::users::with_users;

crate::tests![
    a_time_namespace_is_made,
    clocks_are_set,
    clocks_are_set_in_a_user_namespace,
    a_time_namespace_is_joined,
    bad_clocks_are_refused,
    a_mount_namespace_is_joined,
    the_hosts_mounts_are_not_joined,
    a_namespace_of_another_kind_is_refused,
];

fn with_time(mut sandbox: Sandbox, offsets: &[(&str, i64, u32)]) -> Sandbox {
    let linux = sandbox.linux();
    linux.namespaces.push(LinuxNamespace::new(NamespaceType::Time));
    linux.time_offsets = offsets
        .iter()
        .map(|(clock, secs, nanosecs)| {
            ((*clock).to_owned(), LinuxTimeOffset { secs: *secs, nanosecs: *nanosecs })
        })
        .collect();
    sandbox
}

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

const SHOW: &str = "readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children; \
                    cut -d. -f1 /proc/uptime; tr -s ' ' < /proc/self/timens_offsets";

/// The namespace, whether it is that of children too, days of the boot clock, the offsets.
fn check(Output { out, err, .. }: &Output, offsets: &str) -> String {
    assert_eq!(err, "");
    let lines: Vec<&str> = out.splitn(4, '\n').collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[3], offsets);
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let host: i64 = uptime.split('.').next().unwrap().parse().unwrap();
    let boot: i64 = offsets.lines().find(|line| line.starts_with("boottime")).unwrap()["boottime ".len()..]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let inside: i64 = lines[2].parse().unwrap();
    assert!((host + boot - inside).abs() < 60, "{host} {boot} {inside}");
    lines[0].to_owned()
}

fn a_time_namespace_is_made() {
    let sandbox = with_time(Sandbox::shell(SHOW), &[]);
    let namespace = check(&sandbox.output().unwrap(), "monotonic 0 0\nboottime 0 0\n");
    assert_ne!(namespace, own("time"));
}

fn clocks_are_set() {
    let sandbox =
        with_time(Sandbox::shell(SHOW), &[("monotonic", 86_400, 5), ("boottime", 864_000, 999_999_999)]);
    let expected = "monotonic 86400 5\nboottime 864000 999999999\n";
    assert_ne!(check(&sandbox.output().unwrap(), expected), own("time"));
    // A further process lives by the same clocks.
    let container =
        with_time(Sandbox::new(&["sleep", "100"]), &[("boottime", 864_000, 0)]).start(Stdio::Null).unwrap();
    let (stdio, pipes) = pipes();
    let further = runtime::exec(runtime::Exec {
        id: "test",
        container: container.pidfd(),
        process: sandbox.spec.process.as_ref().unwrap(),
        linux: sandbox.spec.linux.as_ref(),
        user: &UserSpec::Ids,
        extra_groups: &[],
        cgroup: None,
        seccomp: &sandbox.seccomp,
        state: None,
        stdio,
        preserve_fds: 0,
    });
    let namespace = check(&pipes.finish(further.unwrap()), "monotonic 0 0\nboottime 864000 0\n");
    let link = fs::read_link(format!("/proc/{}/ns/time", container.pid())).unwrap();
    assert_eq!(namespace, link.display().to_string());
    end(&container);
}

fn end(container: &Process) {
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn clocks_are_set_in_a_user_namespace() {
    for offsets in [&[("boottime", 864_000, 0)][..], &[]] {
        let sandbox = with_users(with_time(Sandbox::shell(SHOW), offsets));
        let seconds = offsets.first().map_or(0, |(_, seconds, _)| *seconds);
        check(&sandbox.output().unwrap(), &format!("monotonic 0 0\nboottime {seconds} 0\n"));
    }
}

fn a_time_namespace_is_joined() {
    let first =
        with_time(Sandbox::new(&["sleep", "100"]), &[("boottime", 864_000, 0)]).start(Stdio::Null).unwrap();
    let path = format!("/proc/{}/ns/time", first.pid());
    for users in [false, true] {
        let mut sandbox = Sandbox::shell(SHOW);
        sandbox.linux().namespaces.push(LinuxNamespace::at(NamespaceType::Time, &path));
        let sandbox = if users { with_users(sandbox) } else { sandbox };
        let namespace = check(&sandbox.output().unwrap(), "monotonic 0 0\nboottime 864000 0\n");
        assert_eq!(namespace, fs::read_link(&path).unwrap().display().to_string());
    }
    end(&first);
}

fn bad_clocks_are_refused() {
    let check = |offsets: &[(&str, i64, u32)], expected: &str| {
        assert_eq!(chain(&with_time(Sandbox::new(&["true"]), offsets).error()), expected);
    };
    check(&[("realtime", 1, 0)], "invalid linux.timeOffsets: there is no clock called \"realtime\"");
    check(
        &[("monotonic", 1, 1_000_000_000)],
        "invalid linux.timeOffsets.monotonic.nanosecs: 1000000000 ns are more than a second",
    );
    // Before the beginning of time.
    check(
        &[("monotonic", -1_000_000_000, 0)],
        "cannot set linux.timeOffsets: Numerical result out of range (os error 34)",
    );
    let mut sandbox = with_time(Sandbox::new(&["true"]), &[("monotonic", 1, 0)]);
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::Time);
    let error = sandbox.error().to_string();
    assert_eq!(error, "invalid linux.timeOffsets: the container has no time namespace of its own");
}

/// A process in a mount namespace of its own, and nothing else.
fn holder() -> (i32, std::os::fd::OwnedFd) {
    match sys::process::clone(Clone::default()).unwrap() {
        Cloned::Child => {
            sys::namespace::unshare(KindSet::EMPTY.with(Kind::Mount)).unwrap();
            sys::mount::set_propagation("/", Propagation::Private, Depth::Recursive).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(100));
            sys::process::exit(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let link = || fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap().display().to_string();
            until("its namespace", || link() != own("mnt"));
            (pid, pidfd)
        }
    }
}

fn a_mount_namespace_is_joined() {
    let (pid, pidfd) = holder();
    let mut sandbox = Sandbox::shell("readlink /proc/self/ns/mnt; ls /; cat /file/of; touch /srv/written");
    let file = sandbox.directory.join("of");
    fs::write(&file, "the caller's\n").unwrap();
    sandbox.spec.mounts.push(Mount {
        destination: "/file".into(),
        source: Some(sandbox.directory.clone()),
        r#type: Some("bind".to_owned()),
        options: vec!["bind".to_owned()],
        ..Mount::default()
    });
    // Its control groups would be shown through paths of the other namespace.
    sandbox.spec.mounts.retain(|mount| mount.r#type.as_deref() != Some("cgroup"));
    let namespaces = &mut sandbox.linux().namespaces;
    namespaces.retain(|namespace| namespace.r#type != NamespaceType::Mount);
    namespaces.push(LinuxNamespace::at(NamespaceType::Mount, format!("/proc/{pid}/ns/mnt")));
    let namespace = fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    let expected =
        format!("{}\nbin\ndev\netc\nfile\nproc\nroot\nsrv\nsys\ntmp\nthe caller's", namespace.display());
    assert_eq!(sandbox.text(), expected);
    assert!(sandbox.upper().join("srv/written").exists());
    sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), 9).unwrap();
    sys::process::wait(std::os::fd::AsFd::as_fd(&pidfd)).unwrap();
    let gone = sandbox.error().to_string();
    assert!(gone.starts_with(&format!("cannot join the container's mnt namespace /proc/{pid}")), "{gone}");
}

fn the_hosts_mounts_are_not_joined() {
    // Not everybody may look at the first process, not even root.
    let paths = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"];
    for path in paths.into_iter().filter(|path| fs::File::open(path).is_ok()) {
        let mut sandbox = Sandbox::new(&["true"]);
        let namespaces = &mut sandbox.linux().namespaces;
        namespaces.retain(|namespace| namespace.r#type != NamespaceType::Mount);
        namespaces.push(LinuxNamespace::at(NamespaceType::Mount, path));
        assert_eq!(
            sandbox.error().to_string(),
            "invalid linux.namespaces: mount: a container there would take the host's root file system away"
        );
    }
}

fn a_namespace_of_another_kind_is_refused() {
    let container = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let mut sandbox = Sandbox::new(&["true"]);
    let namespaces = &mut sandbox.linux().namespaces;
    namespaces.retain(|namespace| namespace.r#type != NamespaceType::Uts);
    namespaces.push(LinuxNamespace::at(NamespaceType::Uts, format!("/proc/{}/ns/net", container.pid())));
    sandbox.spec.hostname = None;
    let error = sandbox.error().to_string();
    assert_eq!(error, format!("invalid linux.namespaces: uts: /proc/{}/ns/net is not one", container.pid()));
    let output = exec(&container, Sandbox::new(&["true"]).process(), "").unwrap();
    assert_eq!(output.err, "");
    end(&container);
}
