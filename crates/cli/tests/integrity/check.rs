//! `image check` and its `--repair`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use testkit::{Registry, World};

use crate::{blob, damage, prints, top_snapshot, world};

const DOCKERFILE: &str = "FROM busybox
RUN mkdir -p /tree/deep && echo text > /tree/file && ln /tree/file /tree/hard && ln -s file /tree/link \
 && mkfifo /tree/fifo && chmod 4755 /tree/file && chown 5:6 /tree/deep && rm /bin/dd && rm -r /var/www && mkdir -p /var/www/new
";

fn world_with_app() -> World {
    let world = world();
    world.file("app/Dockerfile", DOCKERFILE);
    world.hull(["build", "-q", "-t", "app", "app"]).success();
    world
}

#[test]
fn a_damaged_config_hides_no_other_image() {
    let world = world_with_app();
    let id = world.inspect("app", "{{.Id}}");
    let path = world.data_root().join("blobs/sha256").join(id.trim_start_matches("sha256:"));
    let whole = fs::read(&path).unwrap();
    let changed = String::from_utf8(whole.clone()).unwrap().replacen("linux", "linuX", 1).into_bytes();
    let harms: [(&str, &dyn Fn()); 3] = [
        ("is missing from the store", &|| fs::remove_file(&path).unwrap()),
        ("wrong content: expected ", &|| fs::write(&path, &whole[..10]).unwrap()),
        ("wrong content: expected ", &|| fs::write(&path, &changed).unwrap()),
    ];
    for (why, harm) in harms {
        harm();
        let listed = world.hull(["images"]).success();
        assert!(listed.stdout.contains("\nbusybox ") && listed.stdout.contains("\napp "), "{listed}");
        let warning = format!("WARNING: app:latest: image {id} is damaged: ");
        assert!(listed.stderr.starts_with(&warning) && listed.stderr.contains(why), "{listed}");
        assert!(listed.stderr.contains("hull image check"), "{listed}");
        assert_eq!(world.hull(["images", "-q"]).success().stdout.lines().count(), 2);
        world.hull(["system", "df", "-v"]).success();
        world.hull(["info"]).success();
        world.hull(["image", "prune", "--force"]).success();
        for args in [&["run", "--rm", "app"][..], &["image", "inspect", "app"], &["save", "-o", "x", "app"]] {
            let failed = world.hull(args);
            assert!(failed.stderr.contains(&format!("image {id} is damaged")), "{failed}");
        }
        world.hull(["run", "--rm", "busybox", "true"]).success();
        fs::write(&path, &whole).unwrap();
    }
    // Nobody can tell what labels it has, but that it is not used.
    world.hull(["tag", "busybox", "app"]).success();
    fs::remove_file(&path).unwrap();
    let kept = world.hull(["image", "prune", "--force", "--filter", "label!=x"]).success();
    assert!(kept.stderr.contains(&format!("WARNING: image {id} is damaged")), "{kept}");
    let gone = world.hull(["image", "prune", "--force"]).success();
    assert!(gone.stdout.contains(&format!("deleted: {id}")), "{gone}");
    assert_eq!(world.hull(["images"]).success().stderr, "");
}

#[test]
fn every_kind_of_damage_is_found_and_mended() {
    let world = world_with_app();
    let check = || world.hull(["image", "check", "-q"]);
    assert_eq!(check().success().stdout, "");
    let tree = top_snapshot(&world, "app");
    let at = |name: &str| tree.join(name);
    let xattr = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        sys::fs::set_xattr(&file, c"user.comment", b"x").unwrap();
    };
    let damages: [(&str, &dyn Fn()); 11] = [
        ("tree/file has 0 bytes, not 5", &|| fs::write(at("tree/file"), "").unwrap()),
        ("tree/file has other content", &|| damage(&at("tree/file"))),
        ("tree/file has mode 0644, not 4755", &|| {
            fs::set_permissions(at("tree/file"), Permissions::from_mode(0o644)).unwrap();
        }),
        ("tree/deep belongs to 7:6, not 5:6", &|| chown(at("tree/deep"), Some(7), None).unwrap()),
        ("tree/fifo is missing", &|| fs::remove_file(at("tree/fifo")).unwrap()),
        ("tree/new does not belong there", &|| fs::write(at("tree/new"), "").unwrap()),
        ("tree/link leads elsewhere", &|| {
            fs::remove_file(at("tree/link")).unwrap();
            symlink("elsewhere", at("tree/link")).unwrap();
        }),
        ("tree/hard is linked to another file", &|| {
            fs::copy(at("tree/file"), at("tree/copy")).unwrap();
            fs::rename(at("tree/copy"), at("tree/hard")).unwrap();
            let of = fs::metadata(at("tree/file")).unwrap().modified().unwrap();
            fs::File::options().write(true).open(at("tree/hard")).unwrap().set_modified(of).unwrap();
        }),
        ("bin/dd is a file, not a whiteout", &|| {
            fs::remove_file(at("bin/dd")).unwrap();
            fs::write(at("bin/dd"), "").unwrap();
        }),
        ("tree/deep has other attributes", &|| xattr(&at("tree/deep"))),
        ("layer", &|| fs::remove_dir_all(&tree).unwrap()),
    ];
    for (expected, harm) in damages {
        harm();
        let found = check().status(1).stdout;
        assert_eq!(found.lines().count(), 1, "{expected}: {found}");
        assert!(found.starts_with("app:latest, build cache: layer ") && found.contains(expected), "{found}");
        let other = world.hull(["image", "check", "busybox"]).success();
        assert_eq!(other.text(), "Checked 1 image, 1 layer, 3 blobs: no damage");
        let mended = world.hull(["image", "check", "--repair", "app"]).success().stdout;
        assert!(mended.contains("repaired (unpacked again from its blob)"), "{mended}");
        assert_eq!(check().success().stdout, "", "{expected}");
    }
    world.hull(["run", "--rm", "app", "sh", "-c", "test -u /tree/hard && test ! -e /bin/dd"]).success();
    assert_eq!(fs::read_dir(world.data_root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn blobs_come_back_from_where_they_came() {
    let source = world_with_app();
    let registry = Registry::start();
    let name = registry.reference("team/app:v1");
    source.hull(["tag", "app", &name]).success();
    source.hull(["push", "-q", &name]).success();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    world.hull(["pull", "-q", &name]).success();
    let blobs: Vec<_> = fs::read_dir(world.data_root().join("blobs/sha256")).unwrap().flatten().collect();
    assert_eq!(blobs.len(), 4, "manifest, config, two layers");
    for file in &blobs {
        damage(&file.path());
    }
    let found = world.hull(["image", "check"]).status(1);
    assert!(found.stdout.contains("4 damaged"), "{found}");
    let mended = world.hull(["image", "check", "--repair"]).success();
    prints(&mended, "fetched from");
    prints(&mended, "no damage");
    for file in &blobs {
        fs::remove_file(file.path()).unwrap();
    }
    fs::remove_dir_all(top_snapshot_by_listing(&world)).unwrap();
    prints(&world.hull(["image", "check", "-q"]).status(1), "is missing");
    // Nothing of a damaged image goes because something else is removed.
    world.hull(["import", &testkit::busybox_tar().to_string_lossy(), "other"]).success();
    world.hull(["rmi", "other"]).success();
    prints(&world.hull(["image", "check", "--repair"]).success(), "no damage");
    world.hull(["run", "--rm", &name, "cat", "/tree/file"]).success();
    drop(registry);
    fs::remove_file(blobs[0].path()).unwrap();
    let left = world.hull(["image", "check", "--repair"]).status(1);
    for text in ["not repaired", "does not give it", "pull it again"] {
        prints(&left, text);
    }
}

/// Any snapshot: images whose manifest is gone cannot be inspected.
fn top_snapshot_by_listing(world: &World) -> std::path::PathBuf {
    fs::read_dir(world.data_root().join("snapshots")).unwrap().flatten().next().expect("there is one").path()
}

#[test]
fn what_was_made_here_is_made_again_where_it_can_be() {
    let world = world_with_app();
    let layer = top_snapshot(&world, "app").file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(blob(&world, &layer)).unwrap();
    prints(&world.hull(["image", "check", "app"]).status(1), "is missing");
    let mended = world.hull(["image", "check", "--repair", "app"]).success();
    prints(&mended, "repaired (packed from its snapshot)");
    damage(&blob(&world, &layer));
    damage(&top_snapshot(&world, "app").join("tree/file"));
    let left = world.hull(["image", "check", "--repair", "app"]).status(1);
    prints(
        &left,
        "not repaired: it came from no registry; remove the image and build, load or pull it again",
    );
    let found = world.hull(["image", "check", "-q", "app"]).status(1);
    assert_eq!(found.stdout.lines().count(), 1, "{found}");
}

#[test]
fn layers_that_are_mounted_stay_as_they_are() {
    let world = world_with_app();
    world.hull(["run", "-d", "--name", "web", "--stop-signal", "KILL", "app", "sleep", "600"]).success();
    let file = top_snapshot(&world, "app").join("tree/file");
    damage(&file);
    let left = world.hull(["image", "check", "--repair"]).status(1);
    prints(&left, "container web has it mounted; stop container web, then repair again");
    world.hull(["stop", "web"]).success();
    let id = world.inspect("app", "{{.Id}}")["sha256:".len()..][..12].to_owned();
    let place = world.hull(["image", "mount", "app"]).success();
    let left = world.hull(["image", "check", "--repair"]).status(1);
    let why = format!("image {id} is mounted at {}", place.text());
    prints(&left, &format!("{why}; `hull image unmount {id}`, then repair again"));
    world.hull(["image", "unmount", "app"]).success();
    world.hull(["image", "check", "--repair"]).success();
    world.hull(["start", "web"]).success();
    assert_eq!(world.hull(["exec", "web", "cat", "/tree/file"]).success().stdout, "text\n");
}

#[test]
fn layers_whose_image_is_gone_are_their_containers() {
    let world = world();
    world.hull(["image", "check", "nope"]).status(1).says("No such image: nope");
    world.hull(["create", "--name", "box", "busybox", "true"]).success();
    let snapshot = top_snapshot(&world, "busybox");
    world.hull(["rmi", "-f", "busybox"]).success();
    world.hull(["image", "check"]).success();
    fs::remove_file(snapshot.join("bin/ls")).unwrap();
    prints(&world.hull(["image", "check"]).status(1), "container box: layer");
    world.hull(["image", "check", "--repair"]).success();
    world.hull(["start", "-a", "box"]).success();
}

#[test]
fn a_whole_prune_gives_up_interrupted_pulls() {
    let world = world();
    let partial = world.data_root().join("partial");
    fs::create_dir_all(&partial).unwrap();
    let file = partial.join("0123456789abcdef".repeat(4));
    fs::write(&file, vec![1; 1_000_000]).unwrap();
    world.hull(["image", "prune", "-f"]).success();
    assert!(file.exists(), "the next pull goes on with it");
    world
        .hull(["run", "-d", "--name", "keeps", "--stop-signal", "KILL", "busybox", "sleep", "600"])
        .success();
    let pruned = world.hull(["image", "prune", "-af"]).success();
    prints(&pruned, "Total reclaimed space: 1MB");
    assert!(!file.exists());
}
