//! `image mount`: an image's files on the host, and an image in use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::World;

use crate::world;

/// The options of the mount at `path`, when something is mounted there.
fn options(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let fields = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|fields| Path::new(fields[4]) == path).map(|fields| fields[5].to_owned()).next()
}

fn mount(world: &World, args: &[&str]) -> PathBuf {
    world.hull([&["image", "mount"], args].concat()).success().text().into()
}

/// What mounts leave in the run root.
fn left(world: &World) -> usize {
    let Ok(images) = fs::read_dir(world.run_root().join("mounts")) else { return 0 };
    images.count()
}

#[test]
fn an_image_is_mounted_read_only_until_it_is_unmounted() {
    let world = world();
    world.file("app/Dockerfile", "FROM busybox\nRUN echo made > /made && rm /bin/dd && chmod 4755 /made\n");
    world.hull(["build", "-q", "-t", "app", "app"]).success();
    // One layer, and several.
    for name in ["busybox", "app"] {
        let path = mount(&world, &[name]);
        assert!(path.starts_with(world.run_root()), "{path:?}");
        assert!(path.join("bin/sh").exists(), "{name}");
        let options = options(&path).expect("it is mounted");
        assert!(
            ["ro", "nosuid", "nodev"].iter().all(|one| options.split(',').any(|o| o == *one)),
            "{options}"
        );
        assert!(fs::write(path.join("new"), "").is_err());
        // Again, it is where it was.
        assert_eq!(mount(&world, &[name]), path);
    }
    let app = mount(&world, &["app"]);
    assert_eq!(fs::read_to_string(app.join("made")).unwrap(), "made\n");
    assert!(!app.join("bin/dd").exists());
    assert_eq!(fs::metadata(app.join("made")).unwrap().mode() & 0o7777, 0o4755);
    let listed = world.hull(["image", "mount"]).success();
    assert!(listed.stdout.contains(&format!("app:latest {}\n", app.display())), "{listed}");
    assert_eq!(listed.stdout.lines().count(), 2);
    // A container runs from it all the same.
    world.hull(["run", "--rm", "app", "cat", "/made"]).success();

    assert_eq!(world.hull(["image", "unmount", "app"]).success().text(), "app");
    assert!(options(&app).is_none());
    world.hull(["image", "unmount", "app"]).status(1).says("error: image app is not mounted");
    world.hull(["image", "unmount", "--all"]).success();
    assert_eq!(left(&world), 0);
    assert_eq!(world.hull(["image", "mount"]).success().stdout, "");
}

#[test]
fn a_directory_may_be_given() {
    let world = world();
    let place = world.scratch().join("place");
    let given = place.to_string_lossy().into_owned();
    world.hull(["image", "mount", "busybox", &given]).status(1).says("as a mount point");
    world.file("file", "");
    world.hull(["image", "mount", "busybox", "file"]).status(1).says("Not a directory");
    assert_eq!(left(&world), 0);
    fs::create_dir(&place).unwrap();
    // Relative to where the command runs.
    assert_eq!(mount(&world, &["busybox", "place"]), place);
    assert!(place.join("bin/sh").exists());
    assert_eq!(mount(&world, &["busybox"]), place);
    let other = world.hull(["image", "mount", "busybox", "."]).status(1);
    other.says(&format!("image busybox is mounted at {given} already"));
    // Who stands in it keeps it, unless it is only to go out of sight.
    let mut user = Command::new("sleep").arg("600").current_dir(&place).spawn().unwrap();
    let busy = world.hull(["image", "unmount", "busybox"]).status(1);
    busy.says("Device or resource busy").says("--force");
    world.hull(["image", "unmount", "--force", "busybox"]).success();
    assert!(options(&place).is_none() && fs::read_dir(&place).unwrap().next().is_none());
    user.kill().unwrap();
    user.wait().unwrap();
    // Unmounted by other means it is not mounted any more.
    mount(&world, &["busybox", "place"]);
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    assert_eq!(world.hull(["image", "mount"]).success().stdout, "");
    mount(&world, &["busybox"]);
    world.hull(["image", "unmount", "busybox"]).success();
    assert_eq!(left(&world), 0);
    world.hull(["image", "mount", "nothing"]).status(1).says("No such image: nothing");
    world.hull(["image", "unmount"]).status(125).says("--all");
}

#[test]
fn a_mounted_image_is_in_use() {
    let world = world();
    world.hull(["tag", "busybox", "again"]).success();
    let id = world.inspect("busybox", "{{.Id}}");
    let path = mount(&world, &["busybox"]);
    // One of several names may go.
    world.hull(["rmi", "again"]).success();
    for name in ["busybox", &*id] {
        for force in [&[][..], &["--force"]] {
            let refused = world.hull([&["rmi"], force, &[name]].concat()).status(1);
            let said = format!("conflict: unable to delete {name} - image is mounted at {}", path.display());
            assert!(refused.stderr.contains(&said) && refused.stderr.contains("image unmount"), "{refused}");
        }
    }
    world.hull(["image", "prune", "--all", "--force"]).success();
    world.hull(["system", "prune", "--all", "--force"]).success();
    assert!(path.join("bin/sh").exists());
    assert_eq!(world.inspect("busybox", "{{.Id}}"), id);
    world.hull(["image", "unmount", &id[..20]]).success();
    world.hull(["rmi", "busybox"]).success();
    assert_eq!(left(&world), 0);
}

/// The world itself looks whether anything is left.
#[test]
fn a_reset_unmounts_images() {
    let world = world();
    fs::create_dir(world.scratch().join("place")).unwrap();
    let place = mount(&world, &["busybox", "place"]);
    world.hull(["system", "reset", "--force"]).success();
    assert!(options(&place).is_none() && place.exists());
}
