//! One image under several manifests: each tag goes on with the one it came with.

use testkit::{Registry, World};

use crate::{manifest, skopeo, world};

/// The digest that a push says it has given the registry.
fn pushed(world: &World, args: &[&str]) -> String {
    let output = world.hull([&["push"], args].concat()).success();
    let end = output.stdout.rsplit_once("digest: ").expect("a push says so").1;
    end.split(' ').next().expect("it is not empty").to_owned()
}

/// A registry with one image in two compressions, `app:old` and `app:new`, and their digests.
fn twice() -> (Registry, [String; 2]) {
    let (maker, registry) = world();
    let digests = [("app:old", "gzip"), ("app:new", "zstd")].map(|(name, compression)| {
        let name = registry.reference(name);
        maker.hull(["tag", "app", &name]).success();
        pushed(&maker, &["--compression", compression, &name])
    });
    assert_ne!(digests[0], digests[1]);
    (registry, digests)
}

#[test]
fn a_tag_keeps_the_manifest_it_was_pulled_with() {
    let (registry, [old, new]) = twice();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let names = ["app:old", "app:new"].map(|name| registry.reference(name));
    for name in &names {
        world.hull(["pull", "-q", name]).success();
    }
    let digest = |name: &str| world.inspect(name, "{{.Descriptor.digest}}");
    assert_eq!(world.inspect(&names[0], "{{.Id}}"), world.inspect(&names[1], "{{.Id}}"));
    assert_eq!([digest(&names[0]), digest(&names[1])], [old.clone(), new.clone()]);
    assert_eq!(digest(&format!("{}@{old}", registry.reference("app"))), old);
    // Pushed, it is what the registry has; also under another name, and in an archive.
    let before = registry.requests().len();
    assert_eq!(pushed(&world, &[&names[0]]), old);
    assert_eq!(registry.requests().len(), before + 1);
    let copy = registry.reference("copy:1");
    world.hull(["tag", &names[0], &copy]).success();
    assert_eq!(digest(&copy), old);
    assert_eq!(pushed(&world, &[&copy]), old);
    let archive = world.scratch().join("old.tar").display().to_string();
    world.hull(["save", "-o", &archive, &names[0]]).success();
    let archived = |tag: &str| {
        let place = format!("oci-archive:{archive}:{tag}");
        skopeo(&["inspect", "--format", "{{.Digest}}", &place]).success().text().to_owned()
    };
    assert_eq!(archived("old"), old);
    world.hull(["save", "-o", &archive, &registry.reference("app")]).success();
    assert_eq!([archived("old"), archived("new")], [old.clone(), new.clone()]);
    // The name alone says which, whatever becomes of the other.
    world.hull(["rmi", &names[1]]).success();
    world.hull(["image", "prune", "--force"]).success();
    world.hull(["image", "check"]).success();
    assert_eq!(pushed(&world, &[&registry.reference("copy:1")]), old);
    world.hull(["run", "--rm", "--pull", "never", &names[0]]).success();
}

#[test]
fn a_tag_moves_between_manifests_of_one_image() {
    let (registry, [old, new]) = twice();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let moving = registry.reference("app:moving");
    for (from, expected) in [("app:old", &old), ("app:new", &new), ("app:old", &old)] {
        let places = [registry.reference(from), moving.clone()].map(|name| format!("docker://{name}"));
        let flags = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"];
        skopeo(&[&flags[..], &[&places[0], &places[1]]].concat()).success();
        world.hull(["pull", "-q", &moving]).success();
        assert_eq!(world.inspect(&moving, "{{.Descriptor.digest}}"), *expected, "{from}");
    }
    // What is there already is asked for by the digest of this tag.
    let before = registry.requests().len();
    world.hull(["pull", "-q", &moving]).success();
    assert_eq!(registry.requests().len(), before + 1);
    assert!(registry.requests()[before].ends_with(" 304"), "{:?}", registry.requests());
}

#[test]
fn an_archive_names_its_own_manifest() {
    let (registry, [old, new]) = twice();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    for (name, digest) in [("app:old", &old), ("app:new", &new)] {
        let archive = world.scratch().join("archive.tar");
        let from = format!("docker://{}", registry.reference(name));
        let to = format!("oci-archive:{}:{name}", archive.display());
        let flags = ["copy", "--src-tls-verify=false", "--preserve-digests"];
        skopeo(&[&flags[..], &[&from, &to]].concat()).success();
        world.hull(["load", "-i", &archive.to_string_lossy()]).success();
        assert_eq!(world.inspect(name, "{{.Descriptor.digest}}"), *digest);
        std::fs::remove_file(archive).unwrap();
    }
    assert_eq!(world.inspect("app:old", "{{.Descriptor.digest}}"), old);
    world.hull(["image", "check"]).success();
    let back = registry.reference("back:old");
    world.hull(["tag", "app:old", &back]).success();
    assert_eq!(pushed(&world, &["--compression", "none", &back]), old);
    assert_eq!(manifest(&back), manifest(&registry.reference("app:old")));
}
