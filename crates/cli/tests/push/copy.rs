//! `hull image copy`: from everywhere to everywhere, byte for byte.

use std::fs;

use testkit::{Registry, World};

use crate::multi::multi;
use crate::{manifest, skopeo, world};

fn digest_of(world: &World, args: &[&str]) -> String {
    world.hull([&["image", "copy", "-q"], args].concat()).success().text().to_owned()
}

#[test]
fn between_registries_with_all_platforms_and_mounts() {
    let (world, registry) = world();
    let other = Registry::start();
    let index = multi(&registry, &world);
    let from = format!("docker://{}", registry.reference("multi:1"));
    let to = format!("docker://{}", other.reference("copy:1"));
    assert_eq!(digest_of(&world, &["--all-platforms", &from, &to]), index);
    assert_eq!(manifest(&registry.reference("multi:1")), manifest(&other.reference("copy:1")));
    // Without detour: nothing of it is here.
    assert!(!world.data_root().join("blobs/sha256").join(index.trim_start_matches("sha256:")).exists());
    world.hull(["image", "inspect", &registry.reference("multi:1")]).status(1);
    // Within one registry nothing is sent.
    let before = registry.requests().len();
    let here = format!("docker://{}", registry.reference("second/place:2"));
    let copied = world.hull(["image", "copy", "--all-platforms", &from, &here]).success();
    assert_eq!(copied.stdout.matches("Mounted from multi").count(), 4, "{copied}");
    let asked = &registry.requests()[before..];
    assert!(
        !asked.iter().any(|line| line.starts_with("PATCH") || line.starts_with("PUT /v2/second/place/blobs"))
    );
    // One platform is the manifest that the index names for it.
    let single = digest_of(
        &world,
        &["--platform", "linux/s390x", &from, &format!("docker://{}", other.reference("one:z"))],
    );
    assert!(manifest(&registry.reference("multi:1")).contains(&single));
    let missing = world.hull(["image", "copy", "--platform", "linux/riscv64", &from, &to]).status(1);
    assert!(missing.stderr.starts_with("error: no matching manifest for linux/riscv64"), "{missing}");
}

#[test]
fn through_layouts_and_archives() {
    let (world, registry) = world();
    let index = multi(&registry, &world);
    let scratch = world.scratch();
    let at = |kind: &str, file: &str| format!("{kind}:{}", scratch.join(file).display());
    let places = [
        format!("docker://{}", registry.reference("multi:1")),
        format!("{}:v1", at("oci", "layout")),
        format!("{}:v1", at("oci-archive", "one.tar")),
        format!("{}:example.org/multi:v1", at("docker-archive", "two.tar")),
        format!("{}:v2", at("oci", "layout")),
        format!("docker://{}", registry.reference("back:1")),
    ];
    for (from, to) in places.iter().zip(&places[1..]) {
        assert_eq!(digest_of(&world, &["--all-platforms", from, to]), index, "{from} to {to}");
    }
    assert_eq!(manifest(&registry.reference("multi:1")), manifest(&registry.reference("back:1")));
    // Others read what was written.
    let layout = at("oci", "layout");
    skopeo(&["inspect", &format!("{layout}:v1")]).success();
    skopeo(&["inspect", &at("oci-archive", "one.tar")]).success();
    skopeo(&["inspect", &at("docker-archive", "two.tar")]).success();
    let several = world.hull(["image", "copy", &layout, &at("oci", "other")]).success();
    assert!(several.stdout.contains("digest: "), "both names stand for one image: {several}");
    let unnamed = world.hull(["image", "copy", &format!("{layout}:v3"), &at("oci", "other")]).status(1);
    assert!(unnamed.stderr.contains("has no image \"v3\""), "{unnamed}");
}

#[test]
fn the_store_is_one_place_among_others() {
    let (world, registry) = world();
    let id = world.inspect("app", "{{.Id}}");
    let archive = world.scratch().join("app.tar");
    let place = format!("oci-archive:{}", archive.display());
    let there = format!("docker://{}", registry.reference("app:1"));
    let digest = digest_of(&world, &["app", &place]);
    assert_eq!(digest_of(&world, &[&place, &there]), digest);
    assert_eq!(digest_of(&world, &[&there, "hull://again:1"]), digest);
    assert_eq!(world.inspect("again:1", "{{.Id}}"), id);
    // What other programs write is read, too.
    let docker = world.scratch().join("skopeo.tar");
    skopeo(&["copy", &place, &format!("docker-archive:{}:skopeo:1", docker.display())]).success();
    world.hull(["image", "copy", &format!("docker-archive:{}", docker.display()), "skopeo:1"]).success();
    assert_eq!(world.inspect("skopeo:1", "{{.Id}}"), id);
}

/// ssh is whatever program of that name is found; this one stays on this host and takes another root.
#[test]
fn to_and_from_another_host() {
    let (world, _) = world();
    let there = World::new(env!("CARGO_BIN_EXE_hull"));
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = \"${{*#-p 22 -- me@there hull }}\" ] && exit 9\nshift 5\nHULL_ROOT={} HULL_RUN_ROOT={} exec {} \"$@\"\n",
        there.data_root().display(),
        there.run_root().display(),
        env!("CARGO_BIN_EXE_hull")
    );
    let ssh = world.file("bin/ssh", &script);
    fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", ssh.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let copy = |from: &str, to: &str| {
        let mut command = world.command(["image", "copy", "-q", from, to]);
        testkit::Output::of(command.env("PATH", &path))
    };
    let first = copy("app", "ssh://me@there:22/app:remote").success();
    assert_eq!(there.inspect("app:remote", "{{.Id}}"), world.inspect("app", "{{.Id}}"));
    let second = copy("ssh://me@there:22/app:remote", "back:1").success();
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(world.inspect("back:1", "{{.Id}}"), world.inspect("app", "{{.Id}}"));
    let missing = copy("ssh://me@there:22/nothing", "back:2").status(1);
    assert!(missing.stderr.contains("error: No such image: nothing:latest"), "{missing}");
    assert!(missing.stderr.contains("error: hull on me@there ended with exit status: 1"), "{missing}");
    world.hull(["image", "copy", "app", "ssh://-oProxyCommand=true/app"]).status(1);
}

#[test]
fn damage_is_noticed_and_nothing_is_left() {
    let (world, registry) = world();
    let scratch = world.scratch();
    let layout = format!("oci:{}", scratch.join("layout").display());
    digest_of(&world, &["app", &layout]);
    let blobs: Vec<_> =
        fs::read_dir(scratch.join("layout/blobs/sha256")).unwrap().map(|e| e.unwrap().path()).collect();
    let largest = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    bytes[100] ^= 1;
    fs::write(largest, bytes).unwrap();
    let digest = format!("sha256:{}", largest.file_name().unwrap().to_string_lossy());
    for to in [
        format!("oci:{}", scratch.join("other").display()),
        format!("oci-archive:{}", scratch.join("other.tar").display()),
        format!("docker://{}", registry.reference("app:1")),
        "copied:1".to_owned(),
    ] {
        let failed = world.hull(["image", "copy", &layout, &to]).status(1);
        assert!(
            failed.stderr.starts_with(&format!("error: blob {digest} is not what it should be")),
            "{to}: {failed}"
        );
    }
    let left = fs::read_dir(scratch.join("other/blobs/sha256")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.path().to_string_lossy().contains("partial")));
    assert!(!scratch.join("other/index.json").exists() && !scratch.join("other.tar").exists());
    world.hull(["image", "inspect", "copied:1"]).status(1);
}
