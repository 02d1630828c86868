//! Terminals: our own in the foreground, the caller's through a socket.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use testkit::Terminal;

use crate::bundle::Bundle;

/// Waits at the socket for a terminal, as conmon and containerd do.
fn receive(listener: &UnixListener) -> File {
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    let (length, fds) = sys::socket::recv_with_fds(stream.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"/dev/ptmx");
    File::from(fds.into_iter().next().expect("a descriptor comes along"))
}

/// Reads from the terminal until `text` has come.
fn expect(terminal: &mut File, text: &str) {
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains(text) {
        let read = terminal.read(&mut buffer).unwrap_or_else(|error| panic!("{error} after {seen:?}"));
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

#[test]
fn the_terminal_of_a_created_container_is_sent_to_the_socket() {
    let mut bundle = Bundle::shell("tty; stty size; read line; echo got $line; exec sleep 1000");
    bundle.config["process"]["terminal"] = true.into();
    bundle.config["process"]["consoleSize"] = serde_json::json!({ "height": 12, "width": 34 });
    let listener = UnixListener::bind(bundle.path("console")).unwrap();
    bundle.oci(["create", "--console-socket", "console", "box"]).success();
    let mut terminal = receive(&listener);
    bundle.oci(["start", "box"]).success();
    expect(&mut terminal, "/dev/pts/0\r\n12 34\r\n");
    terminal.write_all(b"this\n").unwrap();
    expect(&mut terminal, "got this");

    bundle
        .oci([
            "exec",
            "--tty",
            "--detach",
            "--console-socket",
            "console",
            "box",
            "sh",
            "-c",
            "tty; sleep 1000",
        ])
        .success();
    expect(&mut receive(&listener), "/dev/pts/1");
    let needless = bundle.oci(["exec", "--detach", "--console-socket", "console", "box", "true"]).status(255);
    needless.says("cannot use console socket");
    bundle.oci(["exec", "--tty", "--detach", "box", "true"]).status(255).says("cannot allocate tty");
}

#[test]
fn a_socket_where_nobody_waits_fails_the_create() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["terminal"] = true.into();
    bundle.oci(["create", "--console-socket", "nobody", "box"]).status(1).says("console socket nobody");
    assert!(bundle.left().is_empty());
}

#[test]
fn run_and_exec_use_their_own_terminal() {
    let mut bundle = Bundle::shell(
        "trap 'exit 6' INT; stty size; read line; echo got $line; while :; do sleep 0.01; done",
    );
    bundle.config["process"]["terminal"] = true.into();
    let mut run = Terminal::start(&bundle.command(["run", "box"]));
    run.expect("40 100");
    run.send("words\n");
    run.expect("got words");
    let mut exec = Terminal::start(&bundle.command([
        "exec",
        "-t",
        "box",
        "sh",
        "-c",
        "echo size $(stty size); read x; exit 5",
    ]));
    exec.expect("size 40 100");
    exec.send("\n");
    assert_eq!(exec.finish().0, Some(5));
    run.send("\u{3}");
    assert_eq!(run.finish().0, Some(6));
    assert!(bundle.left().is_empty());
}
