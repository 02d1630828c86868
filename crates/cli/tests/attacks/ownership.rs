//! Who owns on the host what a container leaves in a bind mount.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use testkit::World;

use crate::world;

/// A directory of the user 1000, with files of his, of root's, and of a stranger's.
fn home(world: &World) -> PathBuf {
    let home = world.scratch().join("home");
    fs::create_dir(&home).expect("a fresh directory");
    for (name, owner) in [("mine", 1000), ("roots", 0), ("strangers", 1001)] {
        let file = home.join(name);
        fs::write(&file, "text").expect("it is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        chown(&file, Some(owner), Some(owner)).expect("we are root");
    }
    chown(&home, Some(1000), Some(1000)).expect("we are root");
    home
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).expect("it was made");
    (metadata.uid(), metadata.gid())
}

fn run(world: &World, users: &str, option: &str, script: &str) -> testkit::Output {
    let home = world.scratch().join("home");
    let _ = fs::remove_file(home.join("made"));
    let volume = format!("{}:/home:{option}", home.display());
    world.hull(["run", "--rm", "--userns", users, "-v", &volume, "busybox", "sh", "-c", script])
}

#[test]
fn root_can_be_made_to_act_as_the_owner_of_the_directory() {
    let world = world();
    let home = home(&world);
    for users in ["private", "host"] {
        // As the files are, root leaves root's; that is what Docker does, and what this is for.
        run(&world, users, "idmap", "touch /home/made").success();
        assert_eq!(owner(&home.join("made")), (0, 0), "{users}");
        let script = "touch /home/made && chmod 4755 /home/made && stat -c %u:%g /home /home/mine /home/made && \
                      echo more >> /home/mine && cat /home/mine";
        let seen = run(&world, users, "idmap=owner", script).success();
        assert_eq!(seen.text(), "0:0\n0:0\n0:0\ntextmore", "{users}");
        assert_eq!(owner(&home.join("made")), (1000, 1000), "{users}");
        fs::write(home.join("mine"), "text").expect("it is ours");
    }
    // What root of the host owns is nobody's there, and stays as it is; the host's own CAP_CHOWN would take it.
    let script = "stat -c %u /home/roots; cat /home/roots; chown 0:0 /home/roots; chmod 777 /home/roots";
    let seen = run(&world, "private", "idmap=owner", script);
    assert!(seen.status != Some(0) && seen.text() == "65534", "{seen}");
    assert_eq!(owner(&home.join("roots")), (0, 0));
    assert_eq!(fs::metadata(home.join("roots")).expect("it is there").mode() & 0o7777, 0o600);
    // The long form, and what inspect says of it.
    let mount = format!("type=bind,src={},dst=/home,idmap=owner", home.display());
    world.hull(["create", "--name", "long", "--mount", &mount, "busybox", "touch", "/home/made"]).success();
    world.hull(["start", "-a", "long"]).success();
    assert_eq!(owner(&home.join("made")), (1000, 1000));
    assert_eq!(world.inspect("long", "{{(index .HostConfig.Mounts 0).BindOptions.IdMap}}"), "owner");
    // Who joins a container has its user ids, and the same owners.
    world
        .hull(["run", "-d", "--name", "first", "--stop-signal", "KILL", "busybox", "sleep", "600"])
        .success();
    fs::remove_file(home.join("made")).expect("it was made");
    let join = ["run", "--rm", "--network", "container:first", "--mount", &mount];
    world.hull([&join[..], &["busybox", "touch", "/home/made"]].concat()).success();
    assert_eq!(owner(&home.join("made")), (1000, 1000));
}

#[test]
fn root_can_be_made_to_act_as_the_owner_of_a_volume() {
    let world = world();
    world.hull(["run", "--rm", "-v", "data:/d", "busybox", "chown", "33:34", "/d"]).success();
    let data = world.data_root().join("volumes/data/_data");
    assert_eq!(owner(&data), (33, 34));
    for users in ["private", "host"] {
        for flags in [["-v", "data:/d:idmap=owner"], ["--mount", "type=volume,src=data,dst=/d,idmap=owner"]] {
            let script = "stat -c %u:%g /d; touch /d/made; chmod 4755 /d/made";
            let run = ["run", "--rm", "--userns", users];
            let seen = world.hull([&run[..], &flags, &["busybox", "sh", "-c", script]].concat()).success();
            assert_eq!((seen.text(), owner(&data.join("made"))), ("0:0", (33, 34)), "{users} {flags:?}");
            fs::remove_file(data.join("made")).expect("it was made");
        }
    }
    world.hull(["create", "--name", "kept", "-v", "data:/d:ro,idmap=owner", "busybox", "true"]).success();
    assert_eq!(world.inspect("kept", "{{index .HostConfig.Binds 0}}"), "data:/d:ro,idmap=owner");
    // Who takes the volume from another container takes it as that has it.
    let from = ["run", "--rm", "--volumes-from", "kept", "busybox", "stat", "-c", "%u", "/d"];
    assert_eq!(world.hull(from).success().text(), "0");
}

#[test]
fn owners_can_be_mapped_one_by_one() {
    let world = world();
    let home = home(&world);
    for users in ["private", "host"] {
        let map = "idmap=uids=0-1000-2#33-5000-1;gids=0-1000-2#33-6000-1";
        let script = "stat -c %u /home/mine /home/strangers /home/roots; touch /home/made; chown 33:33 /home/made; \
                      chown 34 /home/made && echo changed; stat -c %u:%g /home/made";
        let seen = run(&world, users, map, script).success();
        assert_eq!(seen.text(), "0\n1\n65534\n33:33", "{users}");
        assert_eq!(owner(&home.join("made")), (5000, 6000), "{users}");
        // Users alone: groups are as they are.
        run(&world, users, "idmap=uids=0-1000-1", "touch /home/made").success();
        assert_eq!(owner(&home.join("made")), (1000, 0), "{users}");
    }
}

#[test]
fn a_map_that_cannot_be_is_refused_and_leaves_nothing() {
    let world = world();
    let home = home(&world);
    let many = format!("idmap=uids={}", (0..400).map(|n| format!("{n}-{n}-1")).collect::<Vec<_>>().join("#"));
    // CVE-2021-43784: lengths that overflow; here every one is checked before anything is made.
    for (option, why) in [
        ("idmap=root", "is not one of owner, uids= and gids="),
        ("idmap=uids=0-1", "is not CONTAINER-HOST-COUNT"),
        ("idmap=uids=0-0-4294967295", "beyond the ids of a container"),
        ("idmap=uids=65535-0-2", "beyond the ids of a container"),
        ("idmap=uids=0-4294967295-1", "beyond the ids of the host"),
        ("idmap=uids=0-1-5#4-9-1", "two ranges hold the id 4"),
        (many.as_str(), "400 ranges, the kernel takes 340"),
    ] {
        let output = run(&world, "private", option, "true").status(125).says(why);
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
    world
        .hull(["run", "--rm", "--mount", "type=tmpfs,dst=/x,idmap=owner", "busybox", "true"])
        .status(125)
        .says("idmap is for bind mounts and volumes");
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
    assert_eq!(owner(&home), (1000, 1000));
}

#[test]
fn a_file_system_whose_owners_cannot_be_mapped_is_named() {
    let world = world();
    for users in ["private", "host"] {
        let run = ["run", "--rm", "--userns", users, "-v", "/proc/tty:/x:idmap=owner", "busybox", "true"];
        world
            .hull(run)
            .status(125)
            .says("cannot map the owners of /proc/tty to the ids of the container: the proc at /proc cannot")
            .says("leave out `idmap` and run with `--userns host`");
    }
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
}
