//! Finding and running the program: arguments, environment, exit codes, messages.

use runtime::{Exit, LaunchError};

use crate::sandbox::Sandbox;

crate::tests![
    exit_codes_and_signals,
    missing_programs_are_127,
    programs_that_cannot_run_are_126,
    environment_is_explicit,
    working_directory_is_made,
    nothing_but_the_standard_streams_is_open,
    streams_can_be_reopened_by_the_user,
    an_unstarted_container_goes_away,
    a_container_ends_with_its_caller,
];

fn exit_codes_and_signals() {
    let check = |command, expected| assert_eq!(Sandbox::shell(command).output().unwrap().exit, expected);
    check("exit 0", Exit::Code(0));
    check("exit 42", Exit::Code(42));
    // PID 1 cannot kill itself by a signal it has no handler for, so its caller does.
    let process = Sandbox::new(&["sleep", "100"]).start(runtime::Stdio::Null).unwrap();
    process.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Signal(9));
    assert_eq!(Exit::Signal(9).status(), 137);
}

fn check_error(args: &[&str], status: u8, text: &str) {
    use diag::Diagnose;
    let error = Sandbox::new(args).error();
    assert_eq!((error.exit_status(), error.to_string().as_str()), (Some(status), text), "{args:?}");
}

fn missing_programs_are_127() {
    check_error(&["nope"], 127, "exec: \"nope\": executable file not found in $PATH");
    check_error(&[""], 127, "exec: \"\": executable file not found in $PATH");
    check_error(&["/no/pe"], 127, "exec: \"/no/pe\": stat /no/pe: no such file or directory");
    check_error(&["/etc/script"], 127, "exec /etc/script: no such file or directory");
}

fn programs_that_cannot_run_are_126() {
    check_error(&["/etc/passwd"], 126, "exec: \"/etc/passwd\": permission denied");
    check_error(&["/etc"], 126, "exec: \"/etc\": is a directory");
    check_error(&["/etc/garbage"], 126, "exec /etc/garbage: exec format error");
}

fn environment_is_explicit() {
    let mut sandbox = Sandbox::new(&["env"]);
    sandbox.process().env = vec!["PATH=/bin".to_owned(), "A=b c".to_owned()];
    assert_eq!(sandbox.text(), "PATH=/bin\nA=b c\nHOME=/root");
    sandbox.process().env = vec!["PATH=/bin".to_owned(), "HOME=/x".to_owned()];
    assert_eq!(sandbox.text(), "PATH=/bin\nHOME=/x");
}

fn working_directory_is_made() {
    let mut sandbox = Sandbox::new(&["pwd"]);
    sandbox.process().cwd = "/made/for/me".into();
    assert_eq!(sandbox.text(), "/made/for/me");
    assert!(sandbox.upper().join("made/for/me").is_dir());
    sandbox.process().cwd = "relative".into();
    assert!(matches!(sandbox.error(), LaunchError::Invalid { .. }));
    // CVE-2024-21626: a descriptor of ours is no way to the host's directories.
    for fd in 3..24 {
        sandbox.process().cwd = format!("/proc/self/fd/{fd}").into();
        let error = sandbox.error();
        assert!(matches!(error, LaunchError::Setup { .. }), "{error}");
    }
}

fn nothing_but_the_standard_streams_is_open() {
    // A descriptor that would survive an exec by itself.
    let leak = sys::fs::open("/", sys::fs::OFlags::RDONLY, 0).unwrap();
    sys::process::set_standard_stream(std::os::fd::AsFd::as_fd(&leak), 0).unwrap();
    // The fourth is the listing's own.
    assert_eq!(Sandbox::new(&["ls", "/proc/self/fd"]).text(), "0\n1\n2\n3");
    assert_eq!(Sandbox::new(&["readlink", "/proc/self/fd/3"]).output().unwrap().exit, Exit::Code(1));
}

fn streams_can_be_reopened_by_the_user() {
    let mut sandbox = Sandbox::shell("echo one >/dev/stdout; echo two >/proc/self/fd/1");
    sandbox.user = runtime::UserSpec::Named("web".to_owned());
    assert_eq!(sandbox.text(), "one\ntwo");
}

fn a_container_ends_with_its_caller() {
    use std::os::fd::AsFd;
    use sys::process::{Clone, Cloned};
    for (user, init) in [("", false), ("web", false), ("web", true)] {
        let mut sandbox = Sandbox::new(&["sleep", "100"]);
        sandbox.user = runtime::UserSpec::Named(user.to_owned());
        sandbox.init = init;
        let pid_file = sandbox.directory.join("pid");
        let Cloned::Parent { pidfd, .. } = sys::process::clone(Clone::default()).unwrap() else {
            let process = sandbox.start(runtime::Stdio::Null).unwrap();
            std::fs::write(sandbox.directory.join("tmp"), process.pid().to_string()).unwrap();
            std::fs::rename(sandbox.directory.join("tmp"), &pid_file).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(100));
            sys::process::exit(0)
        };
        crate::sandbox::until("the container", || pid_file.exists());
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        let container = sys::process::open(pid).unwrap();
        sys::process::send_signal(pidfd.as_fd(), 9).unwrap();
        sys::process::wait(pidfd.as_fd()).unwrap();
        crate::sandbox::until("its end", || {
            sys::event::poll_one(
                container.as_fd(),
                sys::event::PollFlags::IN,
                Some(std::time::Duration::ZERO),
            )
            .unwrap()
        });
    }
}

fn an_unstarted_container_goes_away() {
    let created = Sandbox::new(&["true"]).create(runtime::Stdio::Null).unwrap();
    let pid = created.pid();
    drop(created);
    assert!(!crate::sandbox::exists(format!("/proc/{pid}")));
}
