//! `build --cache-to` and `--cache-from`: what one host has built, another one does not build again.

use std::fs;

use testkit::{Output, Registry, World};

/// Of steps that never come to the same twice, so that the same result was not made again.
const DOCKERFILE: &str = "FROM busybox AS tool\nRUN cat /proc/sys/kernel/random/uuid > /tool\n\
    FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /own\nCOPY --from=tool /tool /copied\nLABEL made=here\n";

fn host() -> World {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    world.file("context/Dockerfile", DOCKERFILE);
    world
}

fn build(world: &World, flags: &[&str]) -> Output {
    let context = world.scratch().join("context");
    world.hull([&["build", "--progress=plain", "-t", "app"], flags, &[context.to_str().unwrap()]].concat())
}

/// What the steps of the image wrote.
fn made(world: &World) -> String {
    world.hull(["run", "--rm", "app", "cat", "/own", "/copied"]).success().stdout
}

fn cached(output: &Output) -> usize {
    output.stderr.matches(" CACHED").count()
}

#[test]
fn a_cache_of_its_own_has_the_steps_of_all_stages() {
    let (here, there, registry) = (host(), host(), Registry::start());
    let cache = registry.reference("cache:all");
    let target = format!("type=registry,ref={cache},mode=max");
    let first = build(&here, &["--cache-to", &target]).success();
    assert!(first.stderr.contains(&format!("exporting cache to registry {cache}")), "{first}");

    let second = build(&there, &["--cache-from", &format!("type=registry,ref={cache}")]).success();
    assert_eq!(cached(&second), 3, "{second}");
    assert_eq!(made(&here), made(&there));
    // What came is in this host's cache now, and the cache is no image of either.
    assert_eq!(cached(&build(&there, &[]).success()), 3);
    for host in [&here, &there] {
        let images = host.hull(["images", "-a", "--format", "{{.Repository}}"]).success().stdout;
        assert_eq!(images, "app\nbusybox\n");
    }

    // The same once more has nothing to send.
    let asked = registry.requests().len();
    build(&here, &["--cache-to", &target]).success();
    assert!(
        registry.requests()[asked..].iter().all(|line| line.starts_with("HEAD")),
        "{:?}",
        registry.requests()
    );
}

#[test]
fn without_other_stages_their_steps_run() {
    let (here, there, registry) = (host(), host(), Registry::start());
    let cache = registry.reference("cache");
    build(&here, &["--cache-to", &cache]).success();
    let second = build(&there, &["--cache-from", &cache]).success();
    assert_eq!(cached(&second), 1, "{second}");
    assert_eq!(made(&here).lines().next(), made(&there).lines().next());
    assert_ne!(made(&here), made(&there));
    // Whoever wants no cache wants none of others either.
    let third = host();
    assert_eq!(cached(&build(&third, &["--no-cache", "--cache-from", &cache]).success()), 0);
}

#[test]
fn an_image_is_the_cache_of_its_own_steps() {
    let (here, there, registry) = (host(), host(), Registry::start());
    let app = registry.reference("app");
    build(&here, &["--cache-to", "type=inline", "-t", &app]).success();
    here.hull(["push", "-q", &app]).success();
    let second = build(&there, &["--cache-from", &app]).success();
    assert_eq!(cached(&second), 1, "{second}");

    // An image on top does not say that the layers are its own.
    here.file("above/Dockerfile", "FROM app\nLABEL above=yes\n");
    let above = registry.reference("above");
    let context = here.scratch().join("above");
    here.hull(["build", "-q", "-t", &above, "--push", context.to_str().unwrap()]).success();
    let third = build(&there, &["--no-cache", "--cache-from", &above]).success();
    assert!(third.stderr.contains("it has no build cache"), "{third}");
}

#[test]
fn a_cache_that_cannot_be_read_is_none() {
    let (here, there, registry) = (host(), host(), Registry::start());
    let missing = registry.reference("nothing");
    let output = build(&there, &["--cache-from", &missing]).success();
    assert!(output.stderr.contains(&format!("importing cache manifest from {missing}")), "{output}");
    assert!(output.stderr.contains("ERROR"), "{output}");

    // Layers that the registry has lost.
    let cache = registry.reference("cache");
    build(&here, &["--cache-to", &cache]).success();
    let blobs = registry.directory().join("content/docker/registry/v2/blobs/sha256");
    let mut lost = 0;
    for entry in files_below(&blobs) {
        let is_document = fs::read(&entry).unwrap().starts_with(b"{");
        if !is_document {
            fs::remove_file(entry).unwrap();
            lost += 1;
        }
    }
    assert_eq!(lost, 2);
    let third = host();
    let output = build(&third, &["--cache-from", &cache]).success();
    assert!(output.stderr.contains(&format!("cannot use the cache of {cache}")), "{output}");
    assert_eq!(cached(&output), 0);
    assert_eq!(made(&third).lines().count(), 2);
}

/// The files below `directory`.
fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error() {
    let here = host();
    // Nobody listens there.
    let nowhere = "127.0.0.1:9/cache";
    let failed = build(&here, &["--cache-to", nowhere]).status(1);
    let said = format!("error: cannot export the build cache to {nowhere}");
    assert!(failed.stderr.contains(&said), "{failed}");
    // The image is there all the same.
    assert_eq!(made(&here).lines().count(), 2);
    build(&here, &["--cache-to", &format!("type=registry,ref={nowhere},ignore-error=true")]).success();
    for (flags, said) in [
        (["--cache-to", "type=gha"], "type=gha is not supported"),
        (["--cache-from", "type=local,src=x"], "type=local is not supported"),
        (["--cache-to", "type=registry"], "ref is missing"),
    ] {
        let refused = build(&here, &flags).status(1);
        assert!(refused.stderr.contains(said), "{refused}");
    }
}
