//! Terminals of the container's own devpts.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use runtime::{Exit, Stdio, UserSpec};
use sys::terminal::WindowSize;

use crate::sandbox::{Sandbox, start_exec};

crate::tests![a_terminal_is_the_containers, a_terminal_for_exec, interrupt_reaches_the_foreground];

fn terminal() -> Stdio {
    Stdio::Terminal { size: Some(WindowSize { rows: 33, columns: 111 }) }
}

/// Everything the terminal shows until the process lets go of it, which reads as an error (EIO).
fn read_all(terminal: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap().replace('\r', "")
}

/// What the terminal shows up to and including `end`.
fn read_until(terminal: &mut File, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let mut byte = [0];
        terminal.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    seen
}

fn a_terminal_is_the_containers() {
    let mut sandbox = Sandbox::shell(
        "tty; stty size; ls -l /dev/console | cut -c1; echo x >/dev/tty; stat -c %u /dev/pts/0; ls -1 /dev/pts",
    );
    sandbox.user = UserSpec::Named("web".to_owned());
    let mut process = sandbox.start(terminal()).unwrap();
    let mut controller = File::from(process.take_terminal().unwrap());
    let text = read_all(&mut controller);
    assert_eq!(process.wait().unwrap(), Exit::Code(0), "{text}");
    assert_eq!(text, "/dev/pts/0\n33 111\nc\nx\n33\n0\nptmx\n");
}

fn a_terminal_for_exec() {
    let container = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let mut sandbox = Sandbox::shell("tty; stty size; read line; echo got $line; exit 3");
    let mut process = start_exec(&container, sandbox.process(), "", terminal()).unwrap();
    let mut controller = File::from(process.take_terminal().unwrap());
    // Typed earlier, its echo could come between the answers.
    assert_eq!(read_until(&mut controller, b"111\r\n"), b"/dev/pts/0\r\n33 111\r\n");
    controller.write_all(b"hello\n").unwrap();
    let text = read_all(&mut controller);
    assert_eq!(process.wait().unwrap(), Exit::Code(3));
    assert!(text.contains("got hello"), "{text}");
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn interrupt_reaches_the_foreground() {
    for init in [false, true] {
        let mut sandbox =
            Sandbox::shell("trap 'echo caught; exit 7' INT; echo ready; while true; do sleep 0.01; done");
        sandbox.init = init;
        let mut process = sandbox.start(terminal()).unwrap();
        let mut controller = File::from(process.take_terminal().unwrap());
        read_until(&mut controller, b"ready\r\n");
        sys::terminal::set_window_size(controller.as_fd(), WindowSize { rows: 1, columns: 2 }).unwrap();
        controller.write_all(&[3]).unwrap();
        let text = read_all(&mut controller);
        assert_eq!(process.wait().unwrap(), Exit::Code(7), "{text}");
        assert!(text.ends_with("caught\n"), "{text}");
    }
}
