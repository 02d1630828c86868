//! Containers that outlive who made them, and wait to be started.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use runtime::{Lifetime, Stdio};
use sys::process::{Clone, Cloned};

use crate::sandbox::{Sandbox, exists, until};

crate::tests![
    a_container_waits_to_be_started_by_somebody_else,
    a_program_that_cannot_run_is_told_to_who_starts_it,
];

fn gate(sandbox: &Sandbox) -> (UnixListener, std::path::PathBuf) {
    let path = sandbox.directory.join("gate");
    (UnixListener::bind(&path).unwrap(), path)
}

/// Creates the container in a process that ends right after; the container's pid.
fn create_elsewhere(sandbox: &Sandbox, listener: UnixListener) -> i32 {
    let pid_file = sandbox.directory.join("pid");
    match sys::process::clone(Clone::default()).unwrap() {
        Cloned::Child => {
            let created = sandbox.create_for(Stdio::Null, Lifetime::Own(listener)).unwrap();
            let process = created.leave().unwrap();
            fs::write(pid_file, process.pid().to_string()).unwrap();
            sys::process::exit(0);
        }
        Cloned::Parent { pidfd, .. } => {
            sys::process::wait(pidfd.as_fd()).unwrap();
            fs::read_to_string(pid_file).unwrap().parse().unwrap()
        }
    }
}

fn a_container_waits_to_be_started_by_somebody_else() {
    let sandbox = Sandbox::shell("echo ran > /ran; exec sleep 100");
    let (listener, path) = gate(&sandbox);
    let pid = create_elsewhere(&sandbox, listener);
    assert!(exists(format!("/proc/{pid}/ns")) && !exists(sandbox.upper().join("ran")));
    // Whoever only looks in changes nothing.
    drop(UnixStream::connect(&path).unwrap());
    runtime::start(UnixStream::connect(&path).unwrap(), "test").unwrap();
    until("the program", || exists(sandbox.upper().join("ran")));
    assert!(UnixStream::connect(&path).is_err(), "nobody waits there any more");
    sys::process::kill(pid, 9).unwrap();
}

fn a_program_that_cannot_run_is_told_to_who_starts_it() {
    let sandbox = Sandbox::new(&["/etc/garbage"]);
    let (listener, path) = gate(&sandbox);
    let pid = create_elsewhere(&sandbox, listener);
    let error = runtime::start(UnixStream::connect(&path).unwrap(), "test").unwrap_err();
    assert_eq!(error.to_string(), "exec /etc/garbage: exec format error");
    until("its end", || !exists(Path::new(&format!("/proc/{pid}/root/bin"))));
}
