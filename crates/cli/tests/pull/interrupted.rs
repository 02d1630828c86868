//! Pulls that are killed, cut off, or run at the same time.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use testkit::{Output, World, eventually};

use crate::hostile::layer;
use crate::liar::{Liar, Offered, blob};
use crate::{HULL, world};

/// An image with a large layer that stops half way, and a small one that does not.
fn halfway(world: &World) -> (Liar, Offered) {
    let liar = Liar::start();
    let image = Offered::new(&[layer(world, "large", 4_000_000), layer(world, "small", 1000)]);
    liar.offer(&image);
    liar.change(&blob(&image.layers[0]), |answer| answer.pause = Some(2_000_000));
    (liar, image)
}

fn snapshots(world: &World) -> usize {
    std::fs::read_dir(world.data_root().join("snapshots")).into_iter().flatten().count()
}

/// Requests for a blob, with where they begin.
fn requests(liar: &Liar, bytes: &[u8]) -> Vec<String> {
    let path = format!("GET /v2/app/{}", blob(bytes));
    liar.requests().into_iter().filter_map(|line| Some(line.strip_prefix(&path)?.trim().to_owned())).collect()
}

/// Starts a command that pulls `image`, and sends it `signal` when one layer is here and half of the other.
fn interrupted(world: &World, liar: &Liar, command: &[&str], signal: i32) -> std::process::ExitStatus {
    let mut command = world.command(command);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut pull = command.spawn().unwrap();
    let partial = world.data_root().join("partial");
    eventually("one layer is here and half of the other", 30, || {
        let files = std::fs::read_dir(&partial).ok()?.flatten();
        let size: u64 = files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
        (liar.is_pausing() && snapshots(world) == 1 && size > 1_900_000).then_some(())
    });
    let began = Instant::now();
    sys::process::kill(pull.id().cast_signed(), signal).unwrap();
    let status = pull.wait().unwrap();
    // A registry that says nothing is waited for 30 s.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    status
}

#[test]
fn every_command_that_pulls_can_be_interrupted() {
    for (word, signal) in
        [("pull", 2), ("pull", 15), ("run", 2), ("build", 2), ("build", 15), ("compose", 2), ("compose", 15)]
    {
        let world = World::new(HULL);
        let (liar, image) = halfway(&world);
        let name = liar.reference("app:1");
        world.file("Dockerfile", &format!("FROM {name}\n"));
        world.file("compose.yaml", &format!("name: p\nservices:\n  a: {{image: '{name}'}}\n"));
        let command: &[&str] = match word {
            "build" => &["build", "."],
            "compose" => &["compose", "up"],
            "run" => &["run", &name],
            _ => &["pull", &name],
        };
        let status = interrupted(&world, &liar, command, signal);
        match word {
            "build" | "compose" => assert_eq!(status.code(), Some(130), "{word}"),
            // Shells call that 128 and the signal, too.
            _ => assert_eq!(status.signal(), Some(signal), "{word}"),
        }
        liar.go_on();
        world.hull(["pull", "-q", &name]).success();
        assert_eq!(requests(&liar, &image.layers[1]), [""], "{word}: what was whole is fetched again");
        let [first, second] = &requests(&liar, &image.layers[0])[..] else { panic!("{:?}", liar.requests()) };
        assert!(first.is_empty() && second.starts_with("bytes="), "{word}: {second}");
        world.hull(["image", "check"]).success();
    }
}

#[test]
fn a_failed_layer_ends_the_others() {
    let world = World::new(HULL);
    let (liar, image) = halfway(&world);
    liar.change(&blob(&image.layers[1]), |answer| answer.body.fill(b'x'));
    let began = Instant::now();
    world.hull(["pull", &liar.reference("app:1")]).status(1).says("registry gave sha256:");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(snapshots(&world), 0);
    assert_eq!(std::fs::read_dir(world.data_root().join("partial")).unwrap().count(), 0);
}

#[test]
fn an_interrupted_copy_leaves_no_file() {
    let world = World::new(HULL);
    let (liar, _) = halfway(&world);
    let from = format!("docker://{}", liar.reference("app:1"));
    std::fs::create_dir(world.scratch().join("out")).unwrap();
    for signal in [2, 15, 9] {
        let mut command = world.command(["image", "copy", "-q", &from, "oci-archive:out/app.tar"]);
        let mut copy = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let seen = liar.requests().len();
        eventually("the large layer stops", 30, || {
            let asked = liar.requests().split_off(seen);
            asked.iter().any(|line| line.contains("/blobs/")).then_some(())
        });
        std::thread::sleep(Duration::from_millis(100));
        sys::process::kill(copy.id().cast_signed(), signal).unwrap();
        assert_eq!(copy.wait().unwrap().signal(), Some(signal));
        assert_eq!(std::fs::read_dir(world.scratch().join("out")).unwrap().count(), 0, "{signal}");
    }
    liar.go_on();
    world.hull(["image", "copy", "-q", &from, "oci-archive:out/app.tar"]).success();
    world.hull(["load", "-i", "out/app.tar"]).success();
}

#[test]
fn a_killed_pull_is_gone_on_with() {
    let world = World::new(HULL);
    let (liar, image) = halfway(&world);
    interrupted(&world, &liar, &["pull", &liar.reference("app:1")], 9);
    let partial = world.data_root().join("partial");
    // A command that collects what the killed one left.
    world.hull(["images"]).success();
    liar.go_on();
    let output = world.hull(["pull", &liar.reference("app:1")]).success();
    assert!(output.stdout.contains(": Already exists\n"), "{output}");
    assert_eq!(requests(&liar, &image.layers[1]), [""]);
    let [first, second] = &requests(&liar, &image.layers[0])[..] else { panic!("{:?}", liar.requests()) };
    let from: u64 = second.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    assert!(first.is_empty() && from > 1_900_000, "{second}");
    let id = world.inspect(&liar.reference("app:1"), "{{.Id}}");
    assert_eq!(id, oci::Digest::of(&image.config).to_string());
    assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
    // Nothing is held any more: with the image everything goes.
    world.hull(["rmi", &liar.reference("app:1")]).success();
    assert_eq!(snapshots(&world), 0);
}

#[test]
fn a_damaged_beginning_is_fetched_again() {
    let world = World::new(HULL);
    let (liar, image) = halfway(&world);
    liar.go_on();
    std::fs::create_dir_all(world.data_root().join("partial")).unwrap();
    let path = world.data_root().join("partial").join(oci::Digest::of(&image.layers[0]).hex());
    std::fs::write(&path, vec![0; 5000]).unwrap();
    world.hull(["pull", &liar.reference("app:1")]).success();
    assert_eq!(requests(&liar, &image.layers[0]), ["bytes=5000-", ""]);
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let world = World::new(HULL);
    let (liar, image) = halfway(&world);
    liar.go_on();
    liar.change(&blob(&image.layers[0]), |answer| answer.cut = Some(3_000_000));
    world.hull(["pull", &liar.reference("app:1")]).status(1).says("gave 3000000 bytes of blob sha256:");
    // What came stays for a day.
    liar.change(&blob(&image.layers[0]), |answer| answer.cut = None);
    world.hull(["pull", &liar.reference("app:1")]).success();
    assert_eq!(requests(&liar, &image.layers[0]).last().unwrap(), "bytes=3000000-");
}

#[test]
fn two_pulls_fetch_once() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    let before = registry.requests().len();
    let pulls: Vec<_> = (0..3)
        .map(|_| {
            let mut command = world.command(["pull", &app]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for pull in pulls {
        Output::new("pull".to_owned(), pull.wait_with_output().unwrap()).success();
    }
    let layers = world.inspect(&app, "{{len .RootFS.Layers}}");
    let id = world.inspect(&app, "{{.Id}}");
    let requests = registry.requests().split_off(before);
    let fetched = requests.iter().filter(|line| line.contains("/blobs/") && !line.contains(&id));
    assert_eq!(fetched.count().to_string(), layers, "{requests:?}");
    assert_eq!(world.hull(["run", "--rm", &app]).success().text(), "hello");
}
