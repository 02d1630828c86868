//! `run --pull lazy`: containers that begin before their image has arrived.

mod estargz;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use testkit::{Registry, World, eventually};

/// As many bytes as nobody waits for at the speed of [`Link`].
const RESERVE: usize = 6 << 20;

/// Pushes an image of a small layer and a large one, with an index of their files, from a world of its own.
fn pushed(registry: &Registry) -> String {
    let name = registry.reference("app");
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    // Bytes that do not compress, so that the link is what limits.
    let mut random = vec![0; RESERVE];
    std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut random)).unwrap();
    world.file(
        "context/Dockerfile",
        "FROM busybox\nCOPY reserve /reserve\nRUN echo hello > /greeting && rm /bin/tail\n",
    );
    std::fs::write(world.scratch().join("context/reserve"), &random).unwrap();
    world.hull(["build", "-q", "-t", &name, "context"]).success();
    world.hull(["push", "-q", "--compression", "zstd:chunked", &name]).success();
    name
}

/// A slow way to a registry: so many bytes a second come back.
struct Link {
    port: u16,
    speed: Arc<AtomicU64>,
}

impl Link {
    fn new(registry: &Registry, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = registry.address().to_owned();
        let speed = Arc::new(AtomicU64::new(bytes_per_second));
        let shared = speed.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&target).unwrap();
                let (mut up_in, mut up_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut up_in, &mut up_out));
                let speed = shared.clone();
                std::thread::spawn(move || trickle(server, client, &speed));
            }
        });
        Self { port, speed }
    }

    fn hurry(&self) {
        self.speed.store(u64::MAX, Ordering::SeqCst);
    }

    fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{}", self.port, name.split_once('/').unwrap().1)
    }
}

fn trickle(mut from: TcpStream, mut to: TcpStream, speed: &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        let nanoseconds = (length as u64 * 1_000_000_000) / speed.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_nanos(nanoseconds));
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn fuse_mounts(world: &World) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_world =
        |line: &&str| line.contains(" - fuse.hull ") && line.contains(&*world.run_root().to_string_lossy());
    mounts.lines().filter(of_world).count()
}

fn is_complete(world: &World) -> bool {
    std::fs::read_dir(world.data_root().join("snapshots")).unwrap().count() == 3
}

#[test]
fn what_is_read_first_comes_first() {
    let registry = Registry::start();
    let name = pushed(&registry);
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let link = Link::new(&registry, 1 << 20);
    let name = link.reference(&name);
    let run = |command: &[&str]| {
        let args = ["run", "-d", "--name", "app", "--pull", "lazy", &name];
        world.hull(args.iter().chain(command)).success();
    };
    run(&["sh", "-c", "cat /greeting; ls /bin/tail; sleep 1000"]);
    let logs = || world.hull(["logs", "app"]).success();
    eventually("the first output", 20, || logs().stdout.contains("hello").then_some(()));
    eventually("the second output", 20, || logs().stderr.contains("No such file").then_some(()));
    assert!(!is_complete(&world), "6 MiB cannot have come by now");
    assert!(fuse_mounts(&world) > 0);
    // The same image for somebody who did not ask for that, as long as it is on its way.
    assert_eq!(world.hull(["run", "--rm", &name, "cat", "/greeting"]).success().stdout, "hello\n");
    link.hurry();
    eventually("the whole image", 60, || is_complete(&world).then_some(()));
    eventually("nobody comes to the filesystem any more", 10, || (fuse_mounts(&world) == 0).then_some(()));
    let sum = |output: testkit::Output| output.success().stdout.split(' ').next().map(str::to_owned);
    let served = sum(world.hull(["exec", "app", "busybox", "sha256sum", "/reserve"]));
    let here = sum(world.hull(["run", "--rm", &name, "busybox", "sha256sum", "/reserve"]));
    assert_eq!(served, here, "what the first container still has is what has come");
    world.hull(["restart", "-t", "0", "app"]).success();
    eventually("the output of the second start", 20, || {
        (logs().stdout.matches("hello").count() == 2).then_some(())
    });
    let size = world.inspect(&name, "{{.Size}}").parse::<usize>().unwrap();
    assert!(size > RESERVE, "{size}");
    world.hull(["rm", "-f", "app"]).success();
}

/// The process that serves this world's layers.
fn service(world: &World) -> Option<String> {
    let pattern = format!("^hull lazy {} ", world.data_root().display());
    let found = Command::new("pgrep").args(["-f", &pattern]).output().unwrap();
    let pid = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    (!pid.is_empty()).then_some(pid)
}

#[test]
fn a_reset_ends_what_is_still_pulling() {
    let registry = Registry::start();
    let name = pushed(&registry);
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let link = Link::new(&registry, 1 << 20);
    let name = link.reference(&name);
    world.hull(["run", "-d", "--pull", "lazy", &name, "sleep", "1000"]).success();
    assert!(service(&world).is_some() && fuse_mounts(&world) > 0);
    world.hull(["system", "reset", "--force"]).success();
    assert_eq!(service(&world), None);
    assert_eq!(fuse_mounts(&world), 0);
    assert_eq!(std::fs::read_dir(world.data_root()).unwrap().count(), 0);
}

#[test]
fn an_image_that_is_removed_while_it_comes_stays_removed() {
    let registry = Registry::start();
    let name = pushed(&registry);
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let link = Link::new(&registry, 1 << 20);
    let name = link.reference(&name);
    world.hull(["run", "--rm", "--pull", "lazy", &name, "cat", "/greeting"]).success();
    assert!(service(&world).is_some() && !is_complete(&world));
    world.hull(["rmi", &name]).success();
    link.hurry();
    eventually("the service has ended", 60, || service(&world).is_none().then_some(()));
    assert_eq!(world.hull(["images", "-aq"]).success().text(), "");
    assert_eq!(fuse_mounts(&world), 0);
    world.hull(["image", "check"]).success();
    world.hull(["system", "prune", "-af"]).success();
    for part in ["blobs/sha256", "snapshots", "tmp"] {
        assert_eq!(std::fs::read_dir(world.data_root().join(part)).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn an_image_without_an_index_comes_whole() {
    let registry = Registry::start();
    let maker = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let name = registry.reference("plain");
    maker.hull(["tag", "busybox", &name]).success();
    maker.hull(["push", "-q", &name]).success();
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    assert_eq!(
        world.hull(["run", "--rm", "--pull", "lazy", &name, "echo", "hello"]).success().stdout,
        "hello\n"
    );
    let missing = registry.reference("missing");
    let failed = world.hull(["run", "--rm", "--pull", "lazy", &missing, "true"]).status(125);
    assert!(failed.stderr.contains("manifest unknown"), "{}", failed.text());
    assert_eq!(fuse_mounts(&world), 0);
}

#[test]
fn a_killed_service_is_made_good_by_the_next_command() {
    let registry = Registry::start();
    let name = pushed(&registry);
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let link = Link::new(&registry, 1 << 20);
    let name = link.reference(&name);
    assert_eq!(
        world.hull(["run", "--rm", "--pull", "lazy", &name, "cat", "/greeting"]).success().stdout,
        "hello\n"
    );
    let pid = service(&world).expect("it still pulls");
    Command::new("kill").args(["-9", &pid]).status().unwrap();
    // An exit closes files last, and it is a lock by which others tell that nobody serves any more.
    eventually("the service is gone", 10, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    link.hurry();
    assert_eq!(
        world.hull(["run", "--rm", "--pull", "lazy", &name, "cat", "/greeting"]).success().stdout,
        "hello\n"
    );
    eventually("the whole image", 60, || is_complete(&world).then_some(()));
    eventually("no remains", 10, || (fuse_mounts(&world) == 0).then_some(()));
}
