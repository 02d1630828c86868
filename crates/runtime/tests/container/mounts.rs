//! The root filesystem, mounts and protected paths.

use std::fs;
use std::os::unix::fs::symlink;

use oci::runtime::Mount;
use runtime::{LaunchError, Rootfs};
use sys::fs::OFlags;
use sys::mount::{Attributes, Depth, Propagation};

use crate::sandbox::{Sandbox, chain, pipes, until};

crate::tests![
    changes_go_to_the_upper_layer,
    a_volatile_upper_is_used_once,
    many_layers_fit,
    a_plain_directory_is_a_root,
    a_read_only_root_refuses_writes,
    binds_and_tmpfs_follow_their_options,
    mount_points_are_made_beneath_the_root,
    procfs_is_not_covered,
    paths_are_masked_and_read_only,
    nothing_appears_on_the_host,
    devices_are_there_and_no_others,
    propagation_is_what_was_asked_for,
];

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        r#type: Some(kind.to_owned()),
        source: Some(source.into()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn changes_go_to_the_upper_layer() {
    let sandbox = Sandbox::shell("echo hello >/srv/file && rm /etc/script && mount | grep ' / '");
    let text = sandbox.text();
    assert!(text.starts_with("overlay on / type overlay (rw"), "{text}");
    assert_eq!(fs::read_to_string(sandbox.upper().join("srv/file")).unwrap(), "hello\n");
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::symlink_metadata(sandbox.upper().join("etc/script")).unwrap().file_type().is_char_device());
}

fn a_volatile_upper_is_used_once() {
    let mut sandbox = Sandbox::shell("mount | grep -c volatile");
    let Rootfs::Overlay { volatile, .. } = &mut sandbox.rootfs else { unreachable!() };
    *volatile = true;
    assert_eq!(sandbox.text(), "1");
    // The kernel marks it, because nobody knows what reached the disk.
    assert!(matches!(sandbox.error(), LaunchError::Setup { step: runtime::Step::Overlay, .. }));
}

fn many_layers_fit() {
    let mut sandbox = Sandbox::shell("cat /layer; ls /names | wc -l");
    let Rootfs::Overlay { lower, .. } = &mut sandbox.rootfs else { unreachable!() };
    let base = lower.pop().unwrap();
    // Far more than a page of names, in directories of their own, with characters that mean something to overlayfs.
    for n in (0..120).rev() {
        let layer = sandbox.directory.join(format!("{}/layer,{n}:x", "d".repeat(n % 3 + 60)));
        fs::create_dir_all(layer.join("names")).unwrap();
        fs::write(layer.join("layer"), n.to_string()).unwrap();
        fs::write(layer.join(format!("names/{n}")), "").unwrap();
        lower.push(layer);
    }
    lower.push(base);
    assert_eq!(sandbox.text(), "119\n120".replace("119\n", "119"));
}

fn a_plain_directory_is_a_root() {
    let mut sandbox = Sandbox::shell("touch /made; pwd; ls /proc/1/root/");
    let Rootfs::Overlay { lower, .. } = &sandbox.rootfs else { unreachable!() };
    let copy = sandbox.directory.join("copy");
    let status = std::process::Command::new("cp").arg("-a").args([&lower[0], &copy]).status().unwrap();
    assert!(status.success());
    sandbox.rootfs = Rootfs::Directory(copy.clone());
    assert!(sandbox.text().starts_with("/\nbin\n"));
    assert!(copy.join("made").exists());
}

fn a_read_only_root_refuses_writes() {
    let mut sandbox = Sandbox::shell("touch /x 2>&1; touch /dev/shm/y && echo shm");
    sandbox.spec.root.as_mut().unwrap().readonly = true;
    assert_eq!(sandbox.text(), "touch: /x: Read-only file system\nshm");
}

fn binds_and_tmpfs_follow_their_options() {
    let mut sandbox = Sandbox::shell(
        "cat /data/file; touch /data/new && echo rw; touch /ro/x 2>&1; cat /one; \
         mount | grep -E ' /(data|ro|one|scratch) ' | cut -d' ' -f3,5,6 | sort; stat -c %a /scratch",
    );
    let host = sandbox.directory.join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "from the host\n").unwrap();
    let (source, file) = (host.to_str().unwrap(), host.join("file"));
    sandbox.spec.mounts.extend([
        mount("/data", "bind", source, &["rbind", "nosuid"]),
        mount("/ro", "none", source, &["rbind", "rro"]),
        mount("/one", "bind", file.to_str().unwrap(), &["bind", "ro", "noexec"]),
        mount("/scratch", "tmpfs", "tmpfs", &["size=64k", "mode=1770", "noexec", "nodev"]),
    ]);
    let text = sandbox.text();
    let expected = "from the host\nrw\ntouch: /ro/x: Read-only file system\nfrom the host\n";
    assert!(text.starts_with(expected), "{text}");
    for line in [
        "/data ext4 (rw,nosuid",
        "/ro ext4 (ro,",
        "/one ext4 (ro,noexec",
        "/scratch tmpfs (rw,nodev,noexec,relatime,size=64k,mode=1770",
    ] {
        let (path, rest) = line.split_once(' ').unwrap();
        let found = text
            .lines()
            .find(|l| l.starts_with(&format!("{path} ")))
            .unwrap_or_else(|| panic!("{path} in {text}"));
        let options = rest.split_once('(').unwrap().1;
        assert!(found.contains(options), "{found} has {options}");
    }
    assert!(text.ends_with("1770"), "{text}");
    assert!(host.join("new").exists() && !host.join("x").exists());
    sandbox.spec.mounts.push(mount("/x", "bind", "/no/such/source", &["bind"]));
    assert_eq!(
        chain(&sandbox.error()),
        "cannot open the mount source /no/such/source: No such file or directory (os error 2)"
    );
}

fn mount_points_are_made_beneath_the_root() {
    // CVE-2021-30465 and its kin: links of the image lead to places in the image.
    let mut sandbox = Sandbox::shell("cat /escape/file /dots/file");
    let outside = sandbox.directory.join("outside");
    let host = sandbox.directory.join("host");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "x").unwrap();
    symlink(&outside, sandbox.upper().join("escape")).unwrap();
    symlink("../../../../../../srv", sandbox.upper().join("dots")).unwrap();
    fs::create_dir_all(sandbox.upper().join(outside.strip_prefix("/").unwrap())).unwrap();
    let source = host.to_str().unwrap().to_owned();
    sandbox
        .spec
        .mounts
        .extend([mount("/escape", "bind", &source, &["bind"]), mount("/dots", "bind", &source, &["bind"])]);
    assert_eq!(sandbox.text(), "xx");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

fn procfs_is_not_covered() {
    for destination in ["/proc", "/proc/sys", "/proc/self/attr", "/link", "/srv/../proc"] {
        let mut sandbox = Sandbox::new(&["true"]);
        symlink("/proc/sys", sandbox.upper().join("link")).unwrap();
        sandbox.spec.mounts.push(mount(destination, "tmpfs", "tmpfs", &[]));
        let error = chain(&sandbox.error());
        assert!(error.ends_with("of procfs: Operation not permitted (os error 1)"), "{destination}: {error}");
    }
    // CVE-2019-19921: an image whose /proc leads elsewhere.
    let sandbox = Sandbox::new(&["true"]);
    symlink("/srv", sandbox.upper().join("proc")).unwrap();
    assert!(matches!(sandbox.error(), LaunchError::Setup { .. }));
}

fn paths_are_masked_and_read_only() {
    let mut sandbox = Sandbox::shell(
        "cat /etc/garbage; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/domainname || echo ro; \
         echo b 2>/dev/null >/proc/sysrq-trigger || echo ro; stat -c %t:%T /etc/garbage; touch /sys/firmware/x 2>/dev/null || echo ro",
    );
    // A file of the image, one that is not there, and a link, which is followed inside the root.
    symlink("/etc/garbage", sandbox.upper().join("link")).unwrap();
    sandbox.linux().masked_paths.extend(["/link".into(), "/etc/none".into()]);
    assert_eq!(sandbox.text(), "0\nro\nro\n1:3\nro");
}

fn nothing_appears_on_the_host() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let process = Sandbox::new(&["sleep", "100"]).start(runtime::Stdio::Null).unwrap();
    let during = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    // The container sees nothing of the host's mounts.
    let inside = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid())).unwrap();
    process.kill(9).unwrap();
    process.wait().unwrap();
    assert_eq!(before, during);
    assert!(
        !inside.contains("hull-runtime-") || inside.lines().filter(|l| l.contains(" / / ")).count() == 1,
        "{inside}"
    );
}

fn propagation_is_what_was_asked_for() {
    // A namespace of this test's own, with a shared mount to play the host.
    sys::namespace::unshare(sys::namespace::KindSet::EMPTY.with(sys::namespace::Kind::Mount)).unwrap();
    sys::mount::set_propagation("/", Propagation::Private, Depth::Recursive).unwrap();
    let mut sandbox = Sandbox::shell(
        "touch /srv/ready; while ! test -e /srv/go; do sleep 0.01; done; ls /private /slave /shared",
    );
    let host = sandbox.directory.join("host");
    fs::create_dir(&host).unwrap();
    let attach = |path: &std::path::Path, name: &str| {
        let tree = sys::mount::Context::open("tmpfs").unwrap().mount(Attributes::NONE).unwrap();
        drop(sys::fs::open_at(&tree, name, OFlags::CREATE | OFlags::WRONLY, 0o644).unwrap());
        tree.attach(sys::fs::open(path, OFlags::PATH, 0).unwrap()).unwrap();
    };
    attach(&host, "below");
    sys::mount::set_propagation(host.as_path(), Propagation::Shared, Depth::One).unwrap();
    let source = host.to_str().unwrap();
    sandbox.spec.mounts.extend([
        mount("/private", "bind", source, &["rbind"]),
        mount("/slave", "bind", source, &["rbind", "rslave"]),
        mount("/shared", "bind", source, &["rbind", "rshared"]),
    ]);
    let (stdio, pipes) = pipes();
    let process = sandbox.start(stdio).unwrap();
    until("the container", || sandbox.upper().join("srv/ready").exists());
    // From the container to the host, only through the shared one.
    let enter = |name: &str| format!("/proc/{}/root/{name}", process.pid());
    attach(&host, "above");
    for name in ["private", "slave", "shared"] {
        let seen: Vec<_> = fs::read_dir(enter(name)).unwrap().flatten().map(|e| e.file_name()).collect();
        let expected = if name == "private" { "below" } else { "above" };
        assert_eq!(seen, [expected], "{name}");
    }
    fs::write(sandbox.upper().join("srv/go"), "").unwrap();
    process.kill(9).unwrap();
    pipes.finish(process);
    sys::mount::detach(host.as_path()).unwrap();
}

fn devices_are_there_and_no_others() {
    let text =
        Sandbox::shell("ls /dev; readlink /dev/ptmx; echo x >/dev/null; head -c3 /dev/zero | wc -c").text();
    assert_eq!(
        text.replace('\n', " "),
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero pts/ptmx 3"
    );
    let mut sandbox = Sandbox::shell("stat -c '%t:%T %a %u' /dev/net/tun");
    sandbox.linux().devices = vec![oci::runtime::LinuxDevice {
        path: "/dev/net/tun".into(),
        r#type: "c".to_owned(),
        major: 10,
        minor: 200,
        file_mode: Some(0o640),
        uid: Some(33),
        gid: None,
    }];
    assert_eq!(sandbox.text(), "a:c8 640 33");
}
