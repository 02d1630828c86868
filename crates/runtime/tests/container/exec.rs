//! More processes in a running container.

use diag::Diagnose;
use runtime::{Exit, Process, Stdio};

use crate::sandbox::{Sandbox, exec, start_exec, until};

crate::tests![
    runs_in_the_same_world,
    has_its_own_identity_and_rights,
    failures_are_dockers,
    ends_with_its_container,
    cannot_be_traced_while_it_enters,
];

fn container() -> (Sandbox, Process) {
    let sandbox = Sandbox::shell("echo here >/srv/file; exec sleep 100");
    let process = sandbox.start(Stdio::Null).unwrap();
    until("the file", || sandbox.upper().join("srv/file").exists());
    (sandbox, process)
}

fn end(container: &Process) {
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn runs_in_the_same_world() {
    let (_sandbox, container) = container();
    let mut sandbox =
        Sandbox::shell("cat /srv/file; hostname; ls /proc/self/fd | wc -l; cat /proc/1/comm; pwd; exit 4");
    sandbox.process().cwd = "/tmp".into();
    let output = exec(&container, sandbox.process(), "").unwrap();
    end(&container);
    assert_eq!(
        (output.out.as_str(), output.exit),
        ("here\nbox\n4\nsleep\n/tmp\n", Exit::Code(4)),
        "{}",
        output.err
    );
}

fn has_its_own_identity_and_rights() {
    let (_sandbox, container) = container();
    let mut sandbox =
        Sandbox::shell("id -u; id -G; grep -E 'Cap(Inh|Bnd)' /proc/self/status | cut -f2; echo $HOME");
    let output = exec(&container, sandbox.process(), "web").unwrap();
    end(&container);
    assert_eq!(output.out, "33\n34 4\n0000000000000000\n00000000a80425fb\n/srv\n");
}

fn failures_are_dockers() {
    let (_sandbox, container) = container();
    let check = |args: &[&str], status, text: &str| {
        let error = exec(&container, Sandbox::new(args).process(), "").unwrap_err();
        assert_eq!((error.exit_status(), error.to_string().as_str()), (status, text));
    };
    check(&["nope"], Some(127), "exec: \"nope\": executable file not found in $PATH");
    check(&["/etc/garbage"], Some(126), "exec /etc/garbage: exec format error");
    let error = exec(&container, Sandbox::new(&["true"]).process(), "ghost").unwrap_err();
    assert_eq!(error.to_string(), "unable to find user ghost: no matching entries in passwd file");
    end(&container);
    assert!(exec(&container, Sandbox::new(&["true"]).process(), "").is_err());
}

fn ends_with_its_container() {
    let (_sandbox, container) = container();
    let process = start_exec(&container, Sandbox::new(&["sleep", "100"]).process(), "", Stdio::Null).unwrap();
    container.kill(9).unwrap();
    // First: PID 1 is not gone before all of its namespace are reaped, this one by its parent.
    assert_eq!(process.wait().unwrap(), Exit::Signal(9));
    container.wait().unwrap();
}

fn cannot_be_traced_while_it_enters() {
    // CVE-2016-9962: a container that opens the descriptors of every process it sees, as fast as it can.
    let sandbox = Sandbox::shell(
        "touch /srv/ready; while true; do for p in /proc/[0-9]*; do \
         case $p in /proc/1) ;; *) ls -l $p/fd/ 2>/dev/null | grep -E 'hull|socket' >>/srv/seen; esac; done; done",
    );
    let container = sandbox.start(Stdio::Null).unwrap();
    until("the loop", || sandbox.upper().join("srv/ready").exists());
    for _ in 0..50 {
        assert_eq!(exec(&container, Sandbox::new(&["true"]).process(), "").unwrap().exit, Exit::Code(0));
    }
    end(&container);
    assert_eq!(std::fs::read_to_string(sandbox.upper().join("srv/seen")).unwrap(), "");
}
