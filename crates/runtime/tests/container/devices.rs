//! Device nodes, wherever they are asked for.

use std::fs;

use oci::runtime::{LinuxDevice, Mount};

use crate::sandbox::{Sandbox, chain};
use crate::users::with_users;

crate::tests![
    devices_are_made_anywhere,
    a_file_in_the_way_is_an_error,
    a_dev_of_the_root_has_every_node,
    a_dev_of_the_host_is_left_alone,
];

fn device(path: &str, kind: &str, numbers: (i64, i64)) -> LinuxDevice {
    LinuxDevice {
        path: path.into(),
        r#type: kind.to_owned(),
        major: numbers.0,
        minor: numbers.1,
        file_mode: Some(0o640),
        uid: Some(33),
        gid: Some(34),
    }
}

fn both(sandbox: impl Fn() -> Sandbox) -> [Sandbox; 2] {
    [sandbox(), with_users(sandbox())]
}

fn devices_are_made_anywhere() {
    for mut sandbox in both(|| {
        Sandbox::shell(
            "stat -c '%n %t:%T %a %u:%g %F' /srv/deep/null /etc/fifo /dev/disk /unbuffered; echo x > /srv/deep/null",
        )
    }) {
        sandbox.linux().devices = vec![
            device("/srv/deep/null", "c", (1, 3)),
            device("/etc/fifo", "p", (0, 0)),
            device("/dev/disk", "b", (7, 77)),
            device("/unbuffered", "u", (1, 5)),
        ];
        assert_eq!(
            sandbox.text(),
            "/srv/deep/null 1:3 640 33:34 character special file\n/etc/fifo 0:0 640 33:34 fifo\n\
             /dev/disk 7:4d 640 33:34 block special file\n/unbuffered 1:5 640 33:34 character special file"
        );
    }
}

fn a_file_in_the_way_is_an_error() {
    for mut sandbox in both(|| Sandbox::new(&["true"])) {
        sandbox.linux().devices = vec![device("/etc/passwd", "c", (1, 3))];
        assert_eq!(
            chain(&sandbox.error()),
            "cannot create the device /etc/passwd: File exists (os error 17)"
        );
    }
    let mut sandbox = with_users(Sandbox::new(&["true"]));
    sandbox.linux().devices = vec![LinuxDevice { uid: Some(1 << 20), ..device("/srv/null", "c", (1, 3)) }];
    let error = sandbox.error().to_string();
    assert_eq!(error, "cannot create the device /srv/null for 1048576:34");
}

fn a_dev_of_the_root_has_every_node() {
    for mut sandbox in both(|| {
        Sandbox::shell(
            "ls /dev; stat -c '%t:%T %a %u' /dev/null /dev/tty; head -c3 /dev/zero | wc -c; readlink /dev/fd",
        )
    }) {
        // As a root that another runtime has left: an empty file to bind to.
        fs::create_dir(sandbox.upper().join("dev")).unwrap();
        if sandbox.spec.linux.as_ref().unwrap().uid_mappings.len() == 1 {
            fs::write(sandbox.upper().join("dev/full"), "").unwrap();
        }
        sandbox.spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
        assert_eq!(
            sandbox.text().replace('\n', " "),
            "core fd full null ptmx random stderr stdin stdout tty urandom zero 1:3 666 0 5:0 666 0 3 /proc/self/fd"
        );
    }
}

fn a_dev_of_the_host_is_left_alone() {
    for mut sandbox in both(|| Sandbox::shell("ls /dev | wc -l; cat /dev/mark; stat -c %t:%T /srv/null")) {
        let source = sandbox.directory.join("dev");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("mark"), "the host's\n").unwrap();
        sandbox.spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
        sandbox.spec.mounts.push(Mount {
            destination: "/dev".into(),
            source: Some(source.clone()),
            r#type: Some("bind".to_owned()),
            options: vec!["bind".to_owned()],
            ..Mount::default()
        });
        sandbox.linux().devices = vec![device("/dev/kmsg", "c", (1, 11)), device("/srv/null", "c", (1, 3))];
        assert_eq!(sandbox.text(), "1\nthe host's\n1:3");
    }
}
