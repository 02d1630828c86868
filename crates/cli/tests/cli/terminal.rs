//! Terminals: a pseudo-terminal of the container's own, its size, raw mode here, detaching.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sys::terminal::{WindowSize, open_peer, open_pty, set_window_size};
use testkit::World;

use crate::world;

/// A command on a terminal of its own.
struct Session {
    terminal: File,
    child: Child,
    seen: String,
}

impl Session {
    fn start(world: &World, args: &[&str]) -> Self {
        let master = open_pty().expect("devpts is mounted");
        set_window_size(master.as_fd(), WindowSize { rows: 40, columns: 100 }).expect("it is a terminal");
        let peer = || Stdio::from(open_peer(master.as_fd()).expect("it is unlocked"));
        let mut command = world.command(args);
        let child =
            command.stdin(peer()).stdout(peer()).stderr(peer()).spawn().expect("the binary was built");
        drop(command);
        sys::event::set_nonblocking(master.as_fd(), true).expect("it is a terminal");
        Self { terminal: master.into(), child, seen: String::new() }
    }

    /// Reads until `text` was printed; what comes after it is looked at next time.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + testkit::patience(20);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} was never printed; last was {:?}", self.seen);
            let mut buffer = [0; 4096];
            match self.terminal.read(&mut buffer) {
                Ok(read) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..read])),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn send(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("somebody reads it");
    }

    fn end(mut self) -> Option<i32> {
        self.child.wait().expect("it was started").code()
    }
}

#[test]
fn run_gives_the_container_a_terminal() {
    let world = world();
    let mut session = Session::start(&world, &["run", "--rm", "-it", "busybox", "sh"]);
    session.expect("# ");
    session.send("tty; stty size\n");
    session.expect("/dev/pts/0");
    session.expect("40 100");
    set_window_size(session.terminal.as_fd(), WindowSize { rows: 50, columns: 120 })
        .expect("it is a terminal");
    let resized =
        std::process::Command::new("kill").args(["-WINCH", &session.child.id().to_string()]).status();
    assert!(resized.expect("kill is part of Debian").success());
    session.send("while ! stty size | grep -q '50 120'; do :; done; echo is$((50+120))\n");
    session.expect("is170");
    // Ctrl-C reaches the program inside, not hull.
    session.send("sleep 100\n");
    session.expect("sleep 100");
    std::thread::sleep(Duration::from_millis(100));
    session.send("\x03");
    session.send("exit 5\n");
    assert_eq!(session.end(), Some(5));
}

#[test]
fn detaching_leaves_the_container_running() {
    let world = world();
    let mut session = Session::start(&world, &["run", "-it", "--name", "box", "busybox", "sh"]);
    session.expect("# ");
    session.send("\x10\x11");
    assert_eq!(session.end(), Some(0));
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    let mut session = Session::start(&world, &["attach", "--detach-keys", "ctrl-x", "box"]);
    session.send("echo at$((40+2))\n");
    session.expect("at42");
    session.send("\x18");
    assert_eq!(session.end(), Some(0));
    let mut session = Session::start(&world, &["attach", "box"]);
    session.send("exit 3\n");
    assert_eq!(session.end(), Some(3));
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
}

#[test]
fn exec_gives_a_terminal_too() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "100"]).success();
    let mut session = Session::start(&world, &["exec", "-it", "box", "sh"]);
    session.expect("# ");
    session.send("tty; stty size\n");
    session.expect("/dev/pts/");
    session.expect("40 100");
    session.send("exit 6\n");
    assert_eq!(session.end(), Some(6));
    // Without -t the program inside never holds the terminal.
    let mut session = Session::start(&world, &["exec", "box", "sh", "-c", "test -t 1 || echo plain"]);
    session.expect("plain");
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_terminal_needs_one() {
    let world = world();
    let refused = world.hull(["run", "--rm", "-it", "busybox", "sh"]).status(1);
    assert!(refused.stderr.contains("the input device is not a TTY"), "{refused}");
}
