//! Every option of a mount.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use oci::runtime::Mount;

use crate::sandbox::{Sandbox, chain};
use crate::users::with_users;

crate::tests![
    every_word_is_understood,
    attributes_are_those_of_new_mounts_and_binds,
    recursive_attributes_reach_below,
    the_file_system_gets_its_own_options,
    new_file_systems_spread_as_they_are_told,
    a_mount_can_be_changed_by_a_later_one,
    a_tmpfs_starts_with_what_it_covers,
    a_tmpfs_starts_with_what_it_covers_in_a_user_namespace,
    words_for_others_are_refused,
    destinations_of_every_kind,
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

/// The options of the mount and of its file system, as mountinfo shows them; `1` and its kind are attributes of the mount.
fn shown(options: &[&str], bind: bool) -> (Vec<String>, Vec<String>) {
    let mut sandbox = Sandbox::shell("grep ' /m ' /proc/self/mountinfo");
    let source = sandbox.directory.join("source");
    fs::create_dir(&source).unwrap();
    sandbox.spec.mounts.push(match bind {
        true => mount("/m", "bind", source.to_str().unwrap(), &[&["bind"], options].concat()),
        false => mount("/m", "tmpfs", "tmpfs", options),
    });
    let line = sandbox.text();
    let (mount, system) = line.split_once(" - ").unwrap();
    let words = |text: &str| text.split(',').map(str::to_owned).collect();
    (words(mount.split(' ').nth(5).unwrap()), words(system.split(' ').nth(2).unwrap()))
}

fn every_word_is_understood() {
    // On the kind of mount it is for; what the kernel lacks is said by its name.
    for word in runtime::features().mount_options {
        let bind = word.contains("bind") || word.contains("idmap");
        let mut sandbox = Sandbox::new(&["true"]);
        let destination = if word == "remount" { "/dev" } else { "/m" };
        sandbox.spec.mounts.push(match bind {
            true => mount("/m", "bind", "/usr", &["bind", &word]),
            false => mount(destination, "tmpfs", "tmpfs", &[&word]),
        });
        let output = sandbox.output();
        match (word.as_str(), output) {
            // A tmpfs has no such counter that could be switched.
            ("iversion", Err(error)) => {
                let error = chain(&error);
                assert!(error.starts_with("cannot mount tmpfs at /m with option \"iversion\""), "{error}");
            }
            (_, output) => assert_eq!(output.unwrap().err, "", "{word}"),
        }
    }
}

fn attributes_are_those_of_new_mounts_and_binds() {
    for bind in [false, true] {
        let check = |options: &[&str], present: &[&str], absent: &[&str]| {
            let (found, _) = shown(options, bind);
            for word in present {
                assert!(found.iter().any(|one| one == word), "{options:?} {bind}: {word} in {found:?}");
            }
            for word in absent {
                assert!(!found.iter().any(|one| one == word), "{options:?} {bind}: {word} in {found:?}");
            }
        };
        check(&[], &["rw", "relatime"], &["nosuid", "nodev", "noexec"]);
        check(&["ro", "nosuid", "nodev", "noexec"], &["ro", "nosuid", "nodev", "noexec"], &[]);
        check(&["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec"], &["rw"], &["nosuid", "ro"]);
        check(&["rro", "rnosuid", "rnodev", "rnoexec"], &["ro", "nosuid", "nodev", "noexec"], &[]);
        check(&["rro", "rrw"], &["rw"], &["ro"]);
        check(&["noatime"], &["noatime"], &["relatime"]);
        check(&["rnoatime", "ratime"], &["relatime"], &["noatime"]);
        check(&["strictatime"], &[], &["relatime", "noatime"]);
        check(&["strictatime", "nostrictatime"], &["relatime"], &[]);
        check(&["noatime", "norelatime"], &["relatime"], &["noatime"]);
        check(&["nodiratime"], &["nodiratime"], &[]);
        check(&["nodiratime", "diratime"], &[], &["nodiratime"]);
        check(&["nosymfollow"], &["nosymfollow"], &[]);
        check(&["rnosymfollow", "rsymfollow"], &[], &["nosymfollow"]);
        check(&["defaults", "async", "loud", "silent", "nomand", "nolazytime", "noiversion"], &["rw"], &[]);
    }
}

fn recursive_attributes_reach_below() {
    // A namespace of this test's own, for a mount below the source.
    sys::namespace::unshare(sys::namespace::KindSet::EMPTY.with(sys::namespace::Kind::Mount)).unwrap();
    sys::mount::set_propagation("/", sys::mount::Propagation::Private, sys::mount::Depth::Recursive).unwrap();
    let mut sandbox =
        Sandbox::shell("grep -E ' /(plain|deep)/below ' /proc/self/mountinfo | cut -d' ' -f5,6");
    let source = sandbox.directory.join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    let tree = sys::mount::Context::open("tmpfs").unwrap().mount(sys::mount::Attributes::NONE).unwrap();
    tree.attach(sys::fs::open(source.join("below").as_path(), sys::fs::OFlags::PATH, 0).unwrap()).unwrap();
    let source = source.to_str().unwrap();
    sandbox.spec.mounts.push(mount("/plain", "bind", source, &["rbind", "ro", "nosuid"]));
    sandbox.spec.mounts.push(mount("/deep", "bind", source, &["rbind", "rro", "rnosuid", "rnoatime"]));
    assert_eq!(sandbox.text(), "/plain/below rw,relatime\n/deep/below ro,nosuid,noatime");
}

fn the_file_system_gets_its_own_options() {
    let (_, system) = shown(&["size=64k", "nr_inodes=7", "mode=1770", "uid=3", "gid=4"], false);
    for word in ["size=64k", "nr_inodes=7", "mode=1770", "uid=3", "gid=4"] {
        assert!(system.iter().any(|one| one == word), "{word} in {system:?}");
    }
    let (_, system) = shown(&["sync", "dirsync", "lazytime", "mand"], false);
    for word in ["sync", "dirsync", "lazytime"] {
        assert!(system.iter().any(|one| one == word), "{word} in {system:?}");
    }
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.spec.mounts.push(mount("/m", "tmpfs", "tmpfs", &["colour=red"]));
    let error = chain(&sandbox.error());
    assert!(error.starts_with("cannot mount tmpfs at /m with option \"colour\""), "{error}");
    sandbox.spec.mounts.last_mut().unwrap().r#type = Some("nosuchfs".to_owned());
    assert_eq!(chain(&sandbox.error()), "cannot mount nosuchfs at /m: No such device (os error 19)");
}

fn new_file_systems_spread_as_they_are_told() {
    for (word, field) in [
        ("shared", " shared:"),
        ("rshared", " shared:"),
        ("unbindable", " unbindable"),
        ("slave", ""),
        ("private", ""),
    ] {
        let mut sandbox =
            Sandbox::shell("grep ' /m ' /proc/self/mountinfo; grep ' /sys/fs/cgroup ' /proc/self/mountinfo");
        sandbox.spec.mounts.push(mount("/m", "tmpfs", "tmpfs", &[word]));
        let group = sandbox.spec.mounts.iter_mut().find(|mount| mount.r#type.as_deref() == Some("cgroup"));
        group.unwrap().options.push(word.to_owned());
        for line in sandbox.text().lines() {
            let fields = line.split(" - ").next().unwrap();
            match field {
                "" => assert!(!fields.contains(" shared:") && !fields.contains(" unbindable"), "{line}"),
                field => assert!(fields.contains(field), "{word}: {line}"),
            }
        }
    }
}

fn a_mount_can_be_changed_by_a_later_one() {
    let mut sandbox = Sandbox::shell(
        "grep -E ' /(m|dev/shm) ' /proc/self/mountinfo | cut -d' ' -f5,6,11; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2",
    );
    sandbox.spec.mounts.push(mount("/m", "tmpfs", "tmpfs", &["size=64k"]));
    sandbox.spec.mounts.push(mount("/m", "none", "none", &["remount", "bind", "ro", "nosuid"]));
    sandbox.spec.mounts.push(mount("/dev/shm", "tmpfs", "shm", &["remount", "size=128k", "noatime"]));
    let text = sandbox.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/dev/shm rw,nosuid,nodev,noexec,noatime "), "{text}");
    assert!(lines[1].starts_with("/m ro,nosuid,relatime "), "{text}");
    assert_eq!(lines[2], "128");
    sandbox.spec.mounts.push(mount("/etc", "none", "none", &["remount", "ro"]));
    assert_eq!(chain(&sandbox.error()), "cannot mount /etc again: Invalid argument (os error 22)");
}

const LISTING: &str = "cd /full && stat -c '%n %a %u:%g %F' . file dir dir/link dir/node && cat file && readlink dir/link && \
                       touch file 2>&1; grep -c ' /full ro' /proc/self/mountinfo; grep ' /full ' /proc/self/mountinfo | cut -d' ' -f5,6";

fn filled(sandbox: &mut Sandbox, options: &[&str]) {
    let full = sandbox.upper().join("full");
    fs::create_dir_all(full.join("dir")).unwrap();
    fs::write(full.join("file"), "content\n").unwrap();
    fs::set_permissions(full.join("file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(&full, fs::Permissions::from_mode(0o1751)).unwrap();
    std::os::unix::fs::chown(full.join("dir"), Some(33), Some(34)).unwrap();
    symlink("/srv/none", full.join("dir/link")).unwrap();
    let dir = sys::fs::open_dir(full.join("dir").as_path()).unwrap();
    sys::fs::mknod_at(&dir, "node", sys::fs::Node::Fifo, 0o600).unwrap();
    let options = [&["tmpcopyup"], options].concat();
    sandbox.spec.mounts.push(mount("/full", "tmpfs", "tmpfs", &options));
    sandbox.spec.mounts.push(mount("/empty", "tmpfs", "tmpfs", &options));
}

fn a_tmpfs_starts_with_what_it_covers() {
    let mut sandbox = Sandbox::shell(LISTING);
    filled(&mut sandbox, &["ro", "nosuid"]);
    assert_eq!(
        sandbox.text(),
        ". 1751 0:0 directory\nfile 4711 0:0 regular file\ndir 755 33:34 directory\ndir/link 777 0:0 symbolic link\n\
         dir/node 600 0:0 fifo\ncontent\n/srv/none\ntouch: file: Read-only file system\n1\n/full ro,nosuid,relatime"
    );
    let mut sandbox = Sandbox::shell("stat -c %a /full; echo new > /full/file; ls /empty | wc -l");
    filled(&mut sandbox, &["mode=700"]);
    assert_eq!(sandbox.text(), "700\n0");
    assert_eq!(fs::read_to_string(sandbox.upper().join("full/file")).unwrap(), "content\n");
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.spec.mounts.push(mount("/m", "ramfs", "ramfs", &["tmpcopyup"]));
    let error = sandbox.error().to_string();
    assert_eq!(error, "invalid mount at /m: only a new tmpfs can start with a copy (tmpcopyup)");
}

fn a_tmpfs_starts_with_what_it_covers_in_a_user_namespace() {
    let mut sandbox = with_users(Sandbox::shell("stat -c '%a %u:%g' /full/file /full/dir; cat /full/file"));
    filled(&mut sandbox, &[]);
    assert_eq!(sandbox.text(), "4711 0:0\n755 33:34\ncontent");
}

fn words_for_others_are_refused() {
    let error = |options: &[&str], bind: bool| {
        let mut sandbox = Sandbox::new(&["true"]);
        let kind = if bind { "bind" } else { "tmpfs" };
        sandbox.spec.mounts.push(mount("/m", kind, "/usr", options));
        sandbox.error().to_string()
    };
    for word in ["nofail", "_netdev", "noauto", "user", "x-systemd.automount"] {
        assert_eq!(
            error(&[word], false),
            format!("invalid mount at /m: {word:?} is for mount(8), not for the kernel")
        );
    }
    // A bind mount shares its file system with the host: nothing of it can be changed.
    for word in ["sync", "dirsync", "lazytime", "mand", "iversion", "size=1"] {
        let key = word.split('=').next().unwrap();
        let expected = format!("invalid mount at /m: a mount of type bind has no option {key:?} here");
        assert_eq!(error(&[word], true), expected);
    }
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.spec.mounts.push(mount("/m", "none", "/usr", &["ro"]));
    assert_eq!(sandbox.error().to_string(), "invalid mount at /m: it has neither a type nor bind");
}

fn destinations_of_every_kind() {
    let mut sandbox =
        Sandbox::shell("cat /file /through /made/by/link /etc/new; ls /dir /linked /dangling/dir");
    let source = sandbox.directory.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("one"), "1\n").unwrap();
    let (directory, file) = (source.to_str().unwrap().to_owned(), source.join("one"));
    let file = file.to_str().unwrap();
    let upper = sandbox.upper();
    fs::write(upper.join("file"), "covered").unwrap();
    fs::write(upper.join("target"), "covered").unwrap();
    symlink("target", upper.join("through")).unwrap();
    fs::create_dir(upper.join("dir")).unwrap();
    symlink("dir", upper.join("linked")).unwrap();
    // Links that lead nowhere, or outside: what they lead to inside is made.
    symlink("/run/deep", upper.join("dangling")).unwrap();
    fs::create_dir_all(upper.join("made/by")).unwrap();
    symlink("../../../../../elsewhere", upper.join("made/by/link")).unwrap();
    sandbox.spec.mounts.extend([
        mount("/file", "bind", file, &["bind"]),
        mount("/through", "bind", file, &["bind"]),
        mount("/made/by/link", "bind", file, &["bind"]),
        mount("/etc/new", "bind", file, &["bind"]),
        mount("/linked", "bind", &directory, &["bind"]),
        mount("/dangling/dir", "bind", &directory, &["bind"]),
    ]);
    assert_eq!(sandbox.text(), "1\n1\n1\n1\n/dangling/dir:\none\n\n/dir:\none\n\n/linked:\none");
    assert!(upper.join("elsewhere").is_file() && upper.join("run/deep/dir").is_dir());
    assert_eq!(fs::metadata(upper.join("elsewhere")).unwrap().len(), 0);
    assert_eq!(fs::metadata(upper.join("run/deep")).unwrap().uid(), 0);
    // A file does not go over a directory, nor a directory over a file.
    for (destination, source) in [("/dir", file), ("/file", directory.as_str())] {
        let mut sandbox = Sandbox::new(&["true"]);
        fs::write(sandbox.upper().join("file"), "").unwrap();
        fs::create_dir(sandbox.upper().join("dir")).unwrap();
        sandbox.spec.mounts.push(mount(destination, "bind", source, &["bind"]));
        let error = chain(&sandbox.error());
        assert_eq!(error, format!("cannot mount {destination}: Not a directory (os error 20)"));
    }
}
