//! The root: how it is switched, how its mount spreads, whether it is read-only.

use std::fs;
use std::path::Path;

use runtime::seccomp::Seccomp;
use runtime::{Rootfs, Stdio};
use sys::fs::OFlags;
use sys::mount::{Attributes, Depth, Propagation};
use sys::namespace::{Kind, KindSet};

use crate::sandbox::Sandbox;

crate::tests![
    the_root_can_be_moved_where_it_cannot_be_pivoted,
    a_moved_root_hides_the_hosts_procfs,
    the_root_spreads_as_it_is_told,
    an_unknown_propagation_is_refused,
];

fn the_root_can_be_moved_where_it_cannot_be_pivoted() {
    let mut sandbox =
        Sandbox::shell("ls /; pwd; grep -c ' / / ' /proc/self/mountinfo; touch /x 2>&1; echo $$");
    sandbox.no_pivot = true;
    sandbox.spec.root.as_mut().unwrap().readonly = true;
    assert_eq!(
        sandbox.text(),
        "bin\ndev\netc\nproc\nroot\nsrv\nsys\ntmp\n/\n1\ntouch: /x: Read-only file system\n1"
    );
    let mut sandbox = Sandbox::shell("ls /srv");
    sandbox.no_pivot = true;
    fs::create_dir(sandbox.upper().join("srv")).unwrap();
    fs::write(sandbox.upper().join("srv/file"), "").unwrap();
    assert_eq!(sandbox.text(), "file");
}

fn a_moved_root_hides_the_hosts_procfs() {
    // Who makes a user namespace of his own may mount what he finds whole: not the masked procfs of the container, and the
    // host's, which is below a moved root, must be out of sight.
    let mut sandbox = Sandbox::shell(
        "unshare -Urpfmn true && for kind in proc sysfs; do unshare -Urpfmn mount -t $kind x /srv 2>&1; done",
    );
    sandbox.seccomp = Seccomp::Unconfined;
    for no_pivot in [false, true] {
        sandbox.no_pivot = no_pivot;
        let denied = "mount: permission denied (are you root?)";
        assert_eq!(sandbox.text(), format!("{denied}\n{denied}"), "{no_pivot}");
    }
}

/// Mounts a tmpfs that holds the file `name` at `path`.
fn attach(path: &Path, name: &str) {
    let tree = sys::mount::Context::open("tmpfs").unwrap().mount(Attributes::NONE).unwrap();
    drop(sys::fs::open_at(&tree, name, OFlags::CREATE | OFlags::WRONLY, 0o644).unwrap());
    tree.attach(sys::fs::open(path, OFlags::PATH, 0).unwrap()).unwrap();
}

/// A directory root on a shared mount, which plays the host's.
fn on_shared(sandbox: &mut Sandbox) -> std::path::PathBuf {
    sys::namespace::unshare(KindSet::EMPTY.with(Kind::Mount)).unwrap();
    sys::mount::set_propagation("/", Propagation::Private, Depth::Recursive).unwrap();
    let Rootfs::Overlay { lower, .. } = &sandbox.rootfs else { unreachable!() };
    let host = sandbox.directory.join("host");
    fs::create_dir(&host).unwrap();
    attach(&host, "host");
    sys::mount::set_propagation(host.as_path(), Propagation::Shared, Depth::One).unwrap();
    let copy = host.join("root");
    let status = std::process::Command::new("cp").arg("-a").args([&lower[0], &copy]).status().unwrap();
    assert!(status.success());
    sandbox.rootfs = Rootfs::Directory(copy.clone());
    copy
}

fn the_root_spreads_as_it_is_told() {
    // The optional fields of mountinfo: what the root is to others. And whether it gets what the host mounts.
    let cases = [
        (None, false, true, true),
        (Some("slave"), false, true, true),
        (Some("rslave"), false, true, true),
        (Some("private"), false, false, false),
        (Some("rprivate"), false, false, false),
        (Some("shared"), true, true, true),
        (Some("rshared"), true, true, true),
        (Some("unbindable"), false, false, false),
    ];
    for (word, shared, slave, receives) in cases {
        let mut sandbox = Sandbox::new(&["sleep", "100"]);
        sandbox.linux().rootfs_propagation = word.map(str::to_owned);
        let copy = on_shared(&mut sandbox);
        let process = sandbox.start(Stdio::Null).unwrap();
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid())).unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let fields = root.split(" - ").next().unwrap();
        assert_eq!(fields.contains(" shared:"), shared, "{word:?}: {root}");
        assert_eq!(fields.contains(" master:"), slave, "{word:?}: {root}");
        assert_eq!(fields.contains(" unbindable"), word == Some("unbindable"), "{word:?}: {root}");
        attach(&copy.join("srv"), "from-the-host");
        let inside = Path::new("/proc").join(process.pid().to_string()).join("root/srv/from-the-host");
        assert_eq!(inside.exists(), receives, "{word:?}");
        process.kill(9).unwrap();
        process.wait().unwrap();
    }
}

fn an_unknown_propagation_is_refused() {
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.linux().rootfs_propagation = Some("sideways".to_owned());
    let error = sandbox.error().to_string();
    assert_eq!(error, "invalid linux.rootfsPropagation: there is none called \"sideways\"");
}
