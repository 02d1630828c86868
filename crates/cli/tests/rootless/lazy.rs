//! `run --pull lazy` by an ordinary user.

use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sys::namespace::{self, Kind};
use testkit::{Registry, World, eventually};

use crate::user::User;

/// More than everything but the large layer has.
const AT_FIRST: u64 = 4 << 20;

/// Pushes an image of BusyBox and a large layer, with an index of their files.
fn push(registry: &Registry) -> String {
    let name = registry.reference("app");
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let run =
        "RUN head -c 6291456 /dev/urandom > /reserve && echo hello > /greeting && chown 33:33 /greeting";
    world.file("context/Dockerfile", &format!("FROM busybox\n{run}\n"));
    world.hull(["build", "-q", "-t", &name, "context"]).success();
    world.hull(["push", "-q", "--compression", "zstd:chunked", &name]).success();
    name
}

/// A user whose `/dev/fuse` has this mode, and who has a container running.
fn user(mode: &str) -> User {
    let mut user = User::new();
    let node = user.home().with_file_name("dev").join("fuse").display().to_string();
    user.system = format!("mknod -m {mode} {node} c 10 229 && mount --bind {node} /dev/fuse || exit 99;");
    let user = user.import_busybox();
    user.hull(["run", "-d", "--name", "other", "busybox", "sleep", "1000"]).success();
    user
}

/// A process of the user's home.
fn resident(user: &User) -> i32 {
    *user.pids("hull monitor").first().expect("a container runs")
}

/// Makes the registry one of the user's home; of the blobs that come from it the beginning comes, and the rest when the flag is set.
fn bring(registry: &Registry, user: &User, name: &str) -> (String, Arc<AtomicBool>) {
    let home = namespace::open(resident(user), Kind::Network).unwrap();
    // A socket stays in the network it was made in, whoever uses it.
    let bind = move || {
        namespace::join(home.as_fd(), Kind::Network).unwrap();
        TcpListener::bind("127.0.0.1:0").unwrap()
    };
    let listener = std::thread::spawn(bind).join().unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, hurry) = (registry.address().to_owned(), Arc::new(AtomicBool::new(false)));
    let shared = hurry.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut server = TcpStream::connect(&target).unwrap();
            let (mut up_in, mut up_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut up_in, &mut up_out));
            let hurry = shared.clone();
            std::thread::spawn(move || {
                let _ = io::copy(&mut (&mut server).take(AT_FIRST), &mut client);
                while !hurry.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = io::copy(&mut server, &mut client);
                client.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    (format!("127.0.0.1:{port}/{}", name.split_once('/').unwrap().1), hurry)
}

fn fuse_mounts(user: &User) -> usize {
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", resident(user))).unwrap();
    mounts.matches(" - fuse.hull ").count()
}

#[test]
fn a_container_begins_before_its_image_is_here() {
    let registry = Registry::start();
    let name = push(&registry);
    let user = user("666");
    let (name, hurry) = bring(&registry, &user, &name);
    let command =
        ["run", "--rm", "--pull", "lazy", &name, "sh", "-c", "cat /greeting; stat -c %u:%g /greeting"];
    assert_eq!(user.hull(command).success().stdout, "hello\n33:33\n");
    assert!(fuse_mounts(&user) > 0, "the large layer cannot have come");
    hurry.store(true, Ordering::SeqCst);
    eventually("the whole image", 60, || (fuse_mounts(&user) == 0).then_some(()));
    let size = ["run", "--rm", "--pull", "never", &name, "stat", "-c", "%s", "/reserve"];
    assert_eq!(user.hull(size).success().text(), (6 << 20).to_string());
}

#[test]
fn without_the_device_it_is_refused() {
    let registry = Registry::start();
    let name = push(&registry);
    let user = user("600");
    let (name, hurry) = bring(&registry, &user, &name);
    hurry.store(true, Ordering::SeqCst);
    let refused = user.hull(["run", "--rm", "--pull", "lazy", &name, "true"]).status(125);
    refused.says("cannot open /dev/fuse").says("--pull missing");
    user.hull(["run", "--rm", "--pull", "never", &name, "true"]).status(125).says("No such image");
    user.prints(["run", "--rm", "--pull", "missing", &name, "cat", "/greeting"], "hello");
}
