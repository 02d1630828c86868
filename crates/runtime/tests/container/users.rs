//! Containers with a user namespace of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;

use oci::runtime::{IdMapping, LinuxNamespace, Mount, NamespaceType};
use runtime::{Stdio, UserSpec};
use sys::namespace::Kind;
use sys::terminal::WindowSize;

use crate::sandbox::{Output, Sandbox, exec, pipes};

crate::tests![
    root_is_nobody_on_the_host,
    files_keep_the_owners_they_have_on_the_disk,
    the_kernels_file_systems_are_there,
    devices_are_made_for_it,
    a_terminal_is_its_own,
    streams_can_be_opened_again,
    a_further_process_joins_it,
    bind_mounts_show_owners_as_they_are_or_mapped,
    namespaces_of_others_are_joined,
    a_user_namespace_is_joined,
    hundreds_of_layers_fit,
    bad_maps_are_refused,
    mounts_of_the_preparation_stay_out_of_sight,
];

const FIRST: u32 = 1_900_000_000;
const SIZE: u32 = 65_536;

/// With root and 65,535 others of its own, nobody on the host.
pub fn with_users(mut sandbox: Sandbox) -> Sandbox {
    let linux = sandbox.linux();
    linux.namespaces.push(LinuxNamespace::new(NamespaceType::User));
    let map = IdMapping { container_id: 0, host_id: FIRST, size: SIZE };
    (linux.uid_mappings, linux.gid_mappings) = (vec![map], vec![map]);
    sandbox
}

fn shell(command: &str) -> Sandbox {
    with_users(Sandbox::shell(command))
}

fn root_is_nobody_on_the_host() {
    let process = with_users(Sandbox::new(&["sleep", "100"])).start(Stdio::Null).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    process.kill(9).unwrap();
    process.wait().unwrap();
    let ids = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(ids("Uid:"), format!("{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}"));
    assert_eq!(ids("Gid:"), format!("{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}"));
    assert_eq!(
        shell("id -u; id -g; cat /proc/self/uid_map | tr -s ' '").text(),
        format!("0\n0\n 0 {FIRST} {SIZE}")
    );
}

fn files_keep_the_owners_they_have_on_the_disk() {
    let sandbox = shell(
        "stat -c '%u:%g' / /etc/passwd /bin; touch /root/mine; mkdir /srv/dir; : > /srv/web; chown 33:34 /srv/web; \
         rm /etc/garbage; stat -c '%u:%g' /root/mine /srv/web",
    );
    assert_eq!(sandbox.text(), "0:0\n0:0\n0:0\n0:0\n33:34");
    let owner = |path: &str| fs::metadata(sandbox.upper().join(path)).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!([owner("root/mine"), owner("srv/dir"), owner("srv/web")], [(0, 0), (0, 0), (33, 34)]);
    let whiteout = fs::metadata(sandbox.upper().join("etc/garbage")).unwrap();
    assert_eq!((whiteout.rdev(), whiteout.uid()), (0, 0));
}

fn the_kernels_file_systems_are_there() {
    let sandbox = shell(
        "test -d /proc/1 && ls /sys/class/net && touch /dev/shm/x && ls -d /dev/mqueue /sys/fs/cgroup && \
         grep -c '^cgroup' /proc/mounts >/dev/null; cat /proc/sys/kernel/hostname; echo 1 > /proc/sys/kernel/panic || true",
    );
    let output = sandbox.output().unwrap();
    assert_eq!(output.out, "lo\n/dev/mqueue\n/sys/fs/cgroup\nbox\n", "{output:?}");
    assert!(output.err.contains("panic"), "{output:?}");
    let all = [
        ("net.ipv4.ip_forward", "1"),
        ("kernel.shmmni", "77"),
        ("fs.mqueue.msg_max", "8"),
        ("kernel.domainname", "example"),
        ("user.max_net_namespaces", "7"),
    ];
    let mut sandbox = shell(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max kernel/domainname user/max_net_namespaces",
    );
    let sysctls = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
    sandbox.linux().sysctl.extend(sysctls);
    assert_eq!(sandbox.text(), all.map(|(_, value)| value).join("\n"));
}

fn devices_are_made_for_it() {
    let mut sandbox = shell(
        "echo x > /dev/null && head -c 4 /dev/zero | wc -c && stat -c '%t:%T %u %a' /dev/full /dev/fuse /dev/deep/fuse && \
         mknod /tmp/null c 1 3",
    );
    for (path, uid) in [("/dev/fuse", None), ("/dev/deep/fuse", Some(33))] {
        let device = oci::runtime::LinuxDevice {
            path: path.into(),
            r#type: "c".to_owned(),
            major: 10,
            minor: 229,
            uid,
            ..Default::default()
        };
        sandbox.linux().devices.push(device);
    }
    let Output { out, err, .. } = sandbox.output().unwrap();
    assert_eq!(out, "4\n1:7 0 666\na:e5 0 666\na:e5 33 666\n");
    assert!(err.contains("Operation not permitted"), "{err}");
}

fn a_terminal_is_its_own() {
    let mut sandbox = shell("tty; stat -c %u /dev/pts/0; stty size");
    sandbox.process().terminal = true;
    let stdio = Stdio::Terminal { size: Some(WindowSize { rows: 30, columns: 70 }) };
    let mut process = sandbox.start(stdio).unwrap();
    let terminal = process.take_terminal().unwrap();
    process.wait().unwrap();
    let mut buffer = [0; 256];
    let read = sys::event::read_now(std::os::fd::AsFd::as_fd(&terminal), &mut buffer).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..read]), "/dev/pts/0\r\n0\r\n30 70\r\n");
}

fn streams_can_be_opened_again() {
    let mut sandbox = shell("echo through > /dev/stdout; id -u > /dev/stderr");
    sandbox.user = UserSpec::Named("web".to_owned());
    let output = sandbox.output().unwrap();
    assert_eq!((output.out.as_str(), output.err.as_str()), ("through\n", "33\n"));
}

fn a_further_process_joins_it() {
    let sandbox = with_users(Sandbox::new(&["sleep", "100"]));
    let container = sandbox.start(Stdio::Null).unwrap();
    let mut process = sandbox.spec.process.clone().unwrap();
    let run = |process: &oci::runtime::Process, user| exec(&container, process, user).unwrap();
    process.args = [
        "sh",
        "-c",
        "id -u; touch /dev/shm/$$; stat -c %u /dev/shm/$$; echo x > /dev/stdout; grep CapEff /proc/self/status",
    ]
    .map(str::to_owned)
    .to_vec();
    let Output { out, err, .. } = run(&process, "root");
    assert_eq!((out.as_str(), err.as_str()), ("0\n0\nx\nCapEff:\t00000000a80425fb\n", ""));
    let Output { out, err, .. } = run(&process, "web");
    assert_eq!(out, "33\n33\nx\nCapEff:\t0000000000000000\n", "{err}");
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn bind_mounts_show_owners_as_they_are_or_mapped() {
    let mut sandbox =
        shell("stat -c '%u' /plain /mapped /other; touch /mapped/new /other/fresh; : > /plain/no");
    let source = sandbox.directory.join("source");
    fs::create_dir(&source).unwrap();
    std::os::unix::fs::chown(&source, Some(0), Some(0)).unwrap();
    let bind = |destination: &str, option: Option<&str>, maps: &[IdMapping]| Mount {
        destination: destination.into(),
        source: Some(source.clone()),
        r#type: Some("bind".to_owned()),
        options: ["bind"].into_iter().chain(option).map(str::to_owned).collect(),
        uid_mappings: maps.to_vec(),
        gid_mappings: maps.to_vec(),
    };
    let user = IdMapping { container_id: 0, host_id: FIRST + 1000, size: 2000 };
    sandbox.spec.mounts.extend([
        bind("/plain", None, &[]),
        bind("/mapped", Some("idmap"), &[]),
        bind("/other", None, &[user]),
    ]);
    let Output { out, err, .. } = sandbox.output().unwrap();
    assert_eq!(out, "65534\n0\n1000\n", "{err}");
    assert!(
        err.contains("create /plain/no: Permission denied") && err.contains("/other/fresh: Value too large"),
        "{err}"
    );
    assert_eq!(fs::metadata(source.join("new")).unwrap().uid(), 0);
}

fn namespaces_of_others_are_joined() {
    let first = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let net = sys::namespace::open(first.pid(), Kind::Network).unwrap();
    let link =
        |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", first.pid())).unwrap().display().to_string();
    let mut sandbox = shell(
        "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ls /sys/class/net; ls -d /dev/mqueue; ip link set lo up",
    );
    sandbox.process().capabilities = Some(runtime::capabilities(sys::capability::bounding().iter()));
    let namespaces = &mut sandbox.linux().namespaces;
    namespaces.retain(|namespace| !matches!(namespace.r#type, NamespaceType::Network | NamespaceType::Ipc));
    namespaces.push(LinuxNamespace::at(NamespaceType::Ipc, format!("/proc/{}/ns/ipc", first.pid())));
    namespaces.push(LinuxNamespace::at(NamespaceType::Network, sys::fs::fd_path(&net)));
    let Output { out, err, .. } = sandbox.output().unwrap();
    assert_eq!(out, format!("{}\n{}\nlo\n/dev/mqueue\n", link("net"), link("ipc")), "{err}");
    assert!(err.contains("Operation not permitted"), "the network is somebody else's: {err}");
    first.kill(9).unwrap();
    first.wait().unwrap();
}

fn a_user_namespace_is_joined() {
    let first = with_users(Sandbox::new(&["sleep", "100"])).start(Stdio::Null).unwrap();
    let mut sandbox = Sandbox::shell(
        "readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; echo $$; ip link set lo up; touch /tmp/x",
    );
    sandbox.process().capabilities = Some(runtime::capabilities(sys::capability::bounding().iter()));
    let namespaces = &mut sandbox.linux().namespaces;
    namespaces.retain(|namespace| namespace.r#type != NamespaceType::Network);
    for (kind, file) in [(NamespaceType::User, "user"), (NamespaceType::Network, "net")] {
        namespaces.push(LinuxNamespace::at(kind, format!("/proc/{}/ns/{file}", first.pid())));
    }
    let (stdio, pipes) = pipes();
    let process = sandbox.start(stdio).unwrap();
    let link =
        |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    let Output { out, err, .. } = pipes.finish(process);
    assert_eq!(out, format!("{}\n{}\n0\n1\n", link(first.pid(), "user"), link(first.pid(), "net")), "{err}");
    assert_eq!(err, "");
    assert_eq!(fs::metadata(sandbox.upper().join("tmp/x")).unwrap().uid(), 0);
    first.kill(9).unwrap();
    first.wait().unwrap();
}

fn hundreds_of_layers_fit() {
    let mut sandbox = shell("ls /layers | wc -l");
    let runtime::Rootfs::Overlay { lower, .. } = &mut sandbox.rootfs else { unreachable!() };
    for number in 0..200 {
        let layer = sandbox.directory.join(format!("a-layer-with-a-long-name-{number}"));
        fs::create_dir_all(layer.join("layers")).unwrap();
        fs::write(layer.join(format!("layers/{number}")), "").unwrap();
        lower.insert(0, layer);
    }
    assert_eq!(sandbox.text(), "200");
}

fn bad_maps_are_refused() {
    let mut sandbox = shell("true");
    sandbox.linux().gid_mappings.clear();
    assert_eq!(sandbox.error().to_string(), "invalid linux.gidMappings: 0 ranges, not 1 to 340");
    let mut sandbox = shell("true");
    sandbox.linux().namespaces.retain(|namespace| namespace.r#type != NamespaceType::User);
    assert!(sandbox.error().to_string().starts_with("invalid linux.uidMappings"));
    let mut sandbox = shell("true");
    sandbox.spec.mounts.push(Mount {
        destination: "/x".into(),
        r#type: Some("tmpfs".to_owned()),
        options: vec!["idmap".to_owned()],
        ..Mount::default()
    });
    assert!(sandbox.error().to_string().contains("only a bind mount can be id-mapped"));
}

fn mounts_of_the_preparation_stay_out_of_sight() {
    let sandbox = shell("cat /proc/self/mountinfo");
    let inside = sandbox.text();
    assert!(!inside.contains("/merged"), "{inside}");
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains("/work") && !own.contains("overlay"), "{own}");
}
