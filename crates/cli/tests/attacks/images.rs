//! Images whose files lie where hull mounts, masks and makes things.

use std::fs;
use std::os::unix::fs::symlink;

use crate::{TOOLS, assert_untouched, image, trap, world};

/// Says what is wrong with the special files, and nothing when all is well.
const CHECK: &str = r#"
[ "$(stat -c %t:%T /dev/null)" = 1:3 ] || echo "null is $(stat -c %t:%T /dev/null)"
[ "$(stat -c %t:%T /dev/zero)" = 1:5 ] || echo "zero is something else"
grep -q '^proc /proc proc ' /proc/mounts || echo "proc is not mounted"
for masked in /proc/kcore /proc/keys /proc/timer_list; do
    [ "$(head -c 1 $masked 2>/dev/null | wc -c)" = 0 ] || echo "$masked can be read"
done
for masked in /proc/acpi /proc/scsi /sys/firmware; do
    [ -z "$(ls $masked 2>/dev/null)" ] || echo "$masked can be read"
done
for fixed in /proc/sysrq-trigger /proc/sys/kernel/panic /proc/irq/default_smp_affinity; do
    (echo 0 > $fixed) 2>/dev/null && echo "$fixed can be written"
done
echo checked
"#;

#[test]
fn special_files_of_the_image_are_not_believed() {
    let world = world();
    let trap = trap(&world);
    let link = |root: &std::path::Path, name: &str| {
        let place = root.join(name);
        let _ = fs::remove_dir(&place);
        symlink(&trap, &place).expect("a fresh directory");
    };
    for (n, name) in [
        "dev",
        "proc",
        "sys",
        "dev/null",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "dev/ptmx",
        "etc/hosts",
        "etc/resolv.conf",
    ]
    .into_iter()
    .enumerate()
    {
        let linked = format!("linked{n}");
        image(&world, &linked, |root| link(root, name));
        let file = format!("file{n}");
        image(&world, &file, |root| {
            let _ = fs::remove_dir(root.join(name));
            fs::write(root.join(name), "not what it seems").expect("a fresh directory");
        });
        for image in [&linked, &file] {
            for flags in [&[][..], &["-t"], &["--userns", "host"]] {
                let output =
                    world.hull([&["run", "--rm"], flags, &[image.as_str(), "sh", "-c", CHECK]].concat());
                // An image may be refused; what begins has everything in its place.
                let said = output.stdout.replace('\r', "");
                assert!(
                    output.status == Some(0) && said == "checked\n"
                        || output.status == Some(125)
                        || output.status == Some(126)
                        || output.status == Some(127),
                    "{name} {flags:?}: {output}"
                );
                assert_untouched(&trap);
            }
        }
    }
    let plain = world.hull(["run", "--rm", "busybox", "sh", "-c", CHECK]).success();
    assert_eq!(plain.stdout, "checked\n");
}

#[test]
fn the_console_is_the_containers_own_terminal() {
    let world = world();
    image(&world, "consoled", |root| {
        symlink("/dev/null", root.join("dev/console")).expect("a fresh directory");
        symlink("/etc", root.join("dev/pts")).expect("a fresh directory");
    });
    // CVE-2025-52565: what is mounted on /dev/console must be the terminal, and before the root can be changed by others.
    let look = "stat -c '%F %t' /dev/console; stat -c '%F %t' /proc/self/fd/0 -L; ls /dev/pts";
    let seen = world.hull(["run", "--rm", "-t", "consoled", "sh", "-c", look]).success();
    let lines: Vec<&str> = seen.stdout.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["character special file 88", "character special file 88"], "{seen}");
    assert!(lines[2..].join(" ").contains("ptmx"), "{seen}");
}

#[test]
fn procfs_is_not_covered() {
    let world = world();
    let given = world.file("given", "0\n").to_string_lossy().into_owned();
    // Writes meant for procfs (labels, sysctls) would go to another file (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
    for target in ["/proc", "/proc/sys", "/proc/self/attr", "/proc/sys/kernel/../kernel"] {
        let volume = format!("cover:{target}");
        for flags in [&["-v", &volume][..], &["--tmpfs", target]] {
            let output = world.hull([&["run", "--rm"], flags, &["busybox", "true"]].concat());
            assert_eq!(output.status, Some(125), "{output}");
        }
    }
    let file = format!("{given}:/proc/self/attr/exec");
    assert_eq!(world.hull(["run", "--rm", "-v", &file, "busybox", "true"]).status, Some(125));
    let sysctl = ["--sysctl", "net.ipv4.ip_default_ttl=42"];
    let cover = ["-v", "cover:/proc/sys/net"];
    let output = world.hull([&["run", "--rm"], &sysctl[..], &cover, &["busybox", "true"]].concat());
    assert_eq!(output.status, Some(125), "{output}");
    let read = ["busybox", "cat", "/proc/sys/net/ipv4/ip_default_ttl"];
    let ttl = world.hull([&["run", "--rm"], &sysctl[..], &read].concat()).success();
    assert_eq!(ttl.text(), "42");
}

#[test]
fn masks_hold_against_a_container_with_all_capabilities_but_its_own_users() {
    let world = world();
    let attack = "umount /proc/kcore; umount /proc/keys; umount /proc/sys; mount -o remount,rw /proc/sys; \
                  mkdir /tmp/p; mount -t proc none /tmp/p; (echo 0 > /proc/sysrq-trigger) && echo triggered; \
                  (echo 0 > /tmp/p/sysrq-trigger) && echo triggered; \
                  (echo 1 > /proc/sys/kernel/panic) && echo set; head -c 1 /proc/kcore | wc -c";
    let before = fs::read_to_string("/proc/sys/kernel/panic").expect("/proc is mounted");
    let flags = ["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"];
    let output = world.hull([&["run", "--rm"], &flags[..], &["busybox", "sh", "-c", attack]].concat());
    assert_eq!(output.text(), "0", "{output}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/panic").expect("/proc is mounted"), before);
}

#[test]
fn volumes_of_an_image_are_filled_from_the_image_alone() {
    let world = world();
    let trap = trap(&world);
    image(&world, "base", |root| {
        symlink(&trap, root.join("link")).expect("a fresh directory");
        symlink("../../../../../../etc", root.join("up")).expect("a fresh directory");
    });
    // CVE-2022-23648: copying what lies under a VOLUME into the volume.
    let text = "FROM base\nVOLUME /../../etc\nVOLUME /link\nVOLUME /up\nVOLUME /link/deep\n";
    let context = world.file("context/Dockerfile", text);
    let context = context.parent().expect("it has one").to_string_lossy().into_owned();
    world.hull(["build", "-q", "-t", "volumes", &context]).success();
    for users in ["private", "host"] {
        // Kept for a look at its volumes; whether it can begin is not what this is about.
        let _ = world.hull(["run", "--name", users, "--userns", users, "volumes", "true"]);
        assert_untouched(&trap);
    }
    let volumes: Vec<_> = fs::read_dir(world.data_root().join("volumes"))
        .expect("hull made it")
        .map(|volume| volume.expect("it is a directory").path().join("_data"))
        .collect();
    assert_eq!(volumes.len(), 8, "{volumes:?}");
    for volume in &volumes {
        assert!(!volume.join("secret").exists() && !volume.join("shadow").exists(), "{}", volume.display());
    }
    let filled = volumes.iter().filter(|volume| volume.join("passwd").exists());
    assert!(filled.count() >= 2, "/etc of the image fills a volume of each");
}

#[test]
fn a_tool_in_the_image_is_never_run_outside() {
    let world = world();
    // CVE-2019-14271: libraries and tools of the container used by a helper with the host's rights.
    image(&world, "helpers", |root| {
        let script = "#!/bin/sh\nid > /ran; cat /proc/self/uid_map >> /ran\n";
        for name in ["bin/tar", "bin/mount", "bin/newuidmap", "bin/sh2", "etc/nsswitch.conf"] {
            let _ = fs::remove_file(root.join(name));
            fs::write(root.join(name), script).expect("a fresh directory");
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
    });
    let run = ["run", "-d", "--name", "web", "--stop-signal", "KILL"];
    world.hull([&run[..], &TOOLS, &["helpers", "sleep", "600"]].concat()).success();
    let file = world.file("given", "given").to_string_lossy().into_owned();
    world.hull(["cp", &file, "web:/given"]).success();
    world.hull(["cp", "web:/etc", &world.scratch().join("out").to_string_lossy()]).success();
    world.hull(["commit", "web", "made"]).success();
    world.hull(["exec", "web", "test", "!", "-e", "/ran"]).success();
}
