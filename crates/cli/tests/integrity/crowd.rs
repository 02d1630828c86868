//! Many commands at once on one store: each ends well or says properly why not, and nothing is lost.

use std::time::{Duration, Instant};

use testkit::{Output, Registry, World, eventually};

use crate::world;

const DURATION: Duration = Duration::from_secs(12);

/// What a command may fail with because of what another one did at the same time.
const FINE: [&str; 5] = [
    "No such image",
    "Unable to find image 'built",
    "unable to delete",
    "unable to remove",
    "is already in use",
];

#[test]
fn nobody_takes_what_another_one_uses() {
    let source = world();
    let registry = Registry::start();
    let names = ["a", "b"].map(|name| registry.reference(name));
    for name in &names {
        source.file("context/Dockerfile", &format!("FROM busybox\nRUN echo {name} > /name\n"));
        source.hull(["build", "-q", "-t", name, "context"]).success();
        source.hull(["push", "-q", name]).success();
    }
    let world = world();
    let [a, b] = &names;
    world.file("context/Dockerfile", &format!("FROM {a}\nRUN date > /date\n"));
    let loops: [&[&[&str]]; 6] = [
        &[&["pull", "-q", a], &["run", "--rm", "--network", "none", a, "cat", "/name"]],
        &[&["pull", "-q", b], &["rmi", b]],
        &[
            &["build", "-q", "--no-cache", "-t", "built", "context"],
            &["run", "--rm", "--network", "none", "built", "true"],
        ],
        &[&["image", "prune", "-af"], &["builder", "prune", "-af"]],
        &[&["rmi", "-f", a], &["images", "-aq"], &["system", "df"]],
        &[&["pull", "-q", b], &["run", "--rm", "--network", "none", b, "cat", "/name"]],
    ];
    let done: usize = std::thread::scope(|scope| {
        let threads = loops.map(|commands| scope.spawn(|| go_on(&world, commands)));
        threads.into_iter().map(|thread| thread.join().expect("a command failed as none should")).sum()
    });
    assert!(done > 20, "only {done} commands in {DURATION:?}");
    world.hull(["image", "check"]).success();
    for name in &names {
        world.hull(["pull", "-q", name]).success();
        world.hull(["run", "--rm", "--network", "none", name, "cat", "/name"]).success();
    }
    world.hull(["system", "prune", "-af"]).success();
    assert_eq!(std::fs::read_dir(world.data_root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_prune_waits_for_no_build_and_leaves_it_its_cache() {
    let world = world();
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/cache echo kept > /cache/file; \
                      while [ ! -e /cache/go ]; do sleep 0.1; done; cat /cache/file > /file\n";
    world.file("context/Dockerfile", dockerfile);
    let build = world.spawn(["build", "-q", "-t", "built", "context"]);
    let cache = eventually("the step has begun", 60, || {
        let caches = std::fs::read_dir(world.data_root().join("cache-mounts")).ok()?;
        caches.flatten().map(|cache| cache.path().join("0")).find(|path| path.join("file").exists())
    });
    world.hull(["builder", "prune", "-af"]).success();
    world.hull(["system", "prune", "-af"]).success();
    assert!(cache.join("file").exists());
    std::fs::write(cache.join("go"), "").unwrap();
    build.finish().success();
    assert_eq!(world.hull(["run", "--rm", "built", "cat", "/file"]).success().text(), "kept");
    world.hull(["builder", "prune", "-af"]).success();
    assert!(!cache.exists());
    world.hull(["image", "check"]).success();
}

/// Runs the commands over and over; returns how many.
fn go_on(world: &World, commands: &[&[&str]]) -> usize {
    let end = Instant::now() + DURATION;
    let mut done = 0;
    for command in commands.iter().cycle() {
        if Instant::now() > end {
            break;
        }
        assert_proper(&world.hull(*command));
        done += 1;
    }
    done
}

#[track_caller]
fn assert_proper(output: &Output) {
    let fine = output.status == Some(0) || FINE.iter().any(|text| output.stderr.contains(text));
    assert!(fine, "{output}");
}
