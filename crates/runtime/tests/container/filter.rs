//! `linux.seccomp` of the specification, for the first process and for later ones; agents that answer for calls.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::runtime::{
    ContainerProcessState, LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator,
    State, Status,
};
use runtime::seccomp::Seccomp;
use runtime::{Exec, Exit, LaunchError, Lifetime, Stdio, UserSpec};
use sys::process::{Clone, Cloned};

use crate::sandbox::{Sandbox, chain, pipes};

crate::tests!(
    the_filter_of_the_specification_holds,
    a_filter_beside_the_one_of_the_specification_is_refused,
    a_filter_can_kill,
    an_agent_answers_for_the_first_process,
    an_agent_answers_with_new_privileges_forbidden,
    an_agent_answers_even_for_what_executes_the_program,
    an_agent_answers_after_the_creator_has_gone,
    an_agent_answers_for_an_exec,
    a_listener_without_an_agent_is_refused,
    an_agent_that_is_gone_at_the_start_is_an_error,
);

fn rule(name: &str, action: SeccompAction) -> LinuxSyscall {
    LinuxSyscall { names: vec![name.to_owned()], action, errno_ret: None, args: vec![] }
}

/// A sandbox whose specification allows everything but what `rules` are about.
fn sandbox(command: &str, rules: Vec<LinuxSyscall>) -> Sandbox {
    let mut sandbox = Sandbox::shell(command);
    sandbox.linux().seccomp = Some(LinuxSeccomp {
        default_action: SeccompAction::Allow,
        default_errno_ret: None,
        architectures: vec!["SCMP_ARCH_X86_64".into(), "SCMP_ARCH_AARCH64".into()],
        flags: vec!["SECCOMP_FILTER_FLAG_TSYNC".into(), "SECCOMP_FILTER_FLAG_LOG".into()],
        listener_path: None,
        listener_metadata: None,
        syscalls: rules,
    });
    sandbox.seccomp = Seccomp::of(&sandbox.spec);
    sandbox
}

fn the_filter_of_the_specification_holds() {
    let denied = LinuxSyscall { errno_ret: Some(99), ..rule("mkdir", SeccompAction::Errno) };
    let unknown = rule("call_of_the_future", SeccompAction::Errno);
    // chmod to exactly 0700, whatever is beyond the permission bits.
    let args =
        vec![LinuxSeccompArg { index: 1, value: 0o777, op: SeccompOperator::MaskedEqual, value_two: 0o700 }];
    let conditional = LinuxSyscall { args, ..rule("chmod", SeccompAction::Errno) };
    let command = "mkdir /tmp/a 2>&1; busybox chmod 700 /tmp 2>&1; busybox chmod 755 /tmp && echo 755";
    let sandbox = sandbox(command, vec![denied, unknown, conditional]);
    let text = sandbox.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("Cannot assign requested address"), "{text}");
    assert!(lines[1].ends_with("Operation not permitted"), "{text}");
    assert_eq!(lines[2], "755");
}

fn a_filter_beside_the_one_of_the_specification_is_refused() {
    let mut sandbox = sandbox("true", vec![]);
    sandbox.seccomp = Seccomp::Default;
    assert_eq!(sandbox.error().to_string(), "linux.seccomp beside another filter is not supported");
}

fn a_filter_can_kill() {
    const SIGSYS: i32 = 31;
    let sandbox = sandbox("exec mkdir /tmp/a", vec![rule("mkdir", SeccompAction::KillProcess)]);
    assert_eq!(sandbox.output().unwrap().exit, Exit::Signal(SIGSYS));
}

/// A process that takes a listener and answers each call with `EXDEV`, or lets it through.
struct Agent {
    process: OwnedFd,
    /// Where it writes what it was told.
    report: PathBuf,
}

/// The notification loop. `struct seccomp_notif` is 80 bytes and begins with the id; the answer is the id, a value, an errno
/// and flags.
const ANSWER: &str = r#"
    my ($errno, $flags) = @ARGV;
    while (1) {
        my $call = "\0" x 80;
        ioctl(STDIN, 0xc0502100, $call) or exit;
        my $answer = pack("QqiI", unpack("Q", $call), 0, -$errno, $flags);
        ioctl(STDIN, 0xc0182101, $answer);
    }
"#;

const SIGKILL: i32 = 9;
const EXDEV: &str = "18";
const LET_THROUGH: [&str; 2] = ["0", "1"];

impl Agent {
    fn new(sandbox: &mut Sandbox, answer: [&'static str; 2]) -> Self {
        let path = sandbox.directory.join("agent.sock");
        let report = sandbox.directory.join("agent.json");
        let socket = UnixListener::bind(&path).unwrap();
        let process = match sys::process::clone(Clone::default()).unwrap() {
            Cloned::Child => answer_for_ever(&socket, &report, answer),
            Cloned::Parent { pidfd, .. } => pidfd,
        };
        let filter = sandbox.linux().seccomp.as_mut().unwrap();
        filter.listener_path = Some(path.to_str().unwrap().to_owned());
        filter.listener_metadata = Some("some = metadata".to_owned());
        sandbox.seccomp = Seccomp::of(&sandbox.spec);
        Self { process, report }
    }

    /// What it was told, once all processes with the filter have ended.
    fn told(self) -> ContainerProcessState {
        // Before Linux 6.11 it would wait for calls of processes that have ended.
        sys::process::send_signal(self.process.as_fd(), SIGKILL).unwrap();
        sys::process::wait(self.process.as_fd()).unwrap();
        let state: ContainerProcessState = serde_json::from_slice(&fs::read(self.report).unwrap()).unwrap();
        assert_eq!(state.fds, ["seccompFd"]);
        assert_eq!(state.metadata.as_deref(), Some("some = metadata"));
        assert_eq!(state.state.id, "test");
        state
    }
}

fn answer_for_ever(socket: &UnixListener, report: &Path, answer: [&str; 2]) -> ! {
    let (stream, _) = socket.accept().unwrap();
    let (mut text, mut fds, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        let (length, some) = sys::socket::recv_with_fds(stream.as_fd(), &mut buffer).unwrap();
        fds.extend(some);
        if length == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..length]);
    }
    fs::write(report, text).unwrap();
    let listener = fds.pop().expect("a listener comes along");
    assert!(fds.is_empty());
    panic!(
        "{}",
        Command::new("perl").env("LC_ALL", "C").args(["-e", ANSWER]).args(answer).stdin(listener).exec()
    )
}

fn notifying(command: &str, calls: &[&str], flags: &[&str]) -> Sandbox {
    let rules = calls.iter().map(|call| rule(call, SeccompAction::Notify)).collect();
    let mut sandbox = sandbox(command, rules);
    sandbox.linux().seccomp.as_mut().unwrap().flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    sandbox.spec.annotations.insert("a".into(), "b".repeat(5000));
    sandbox
}

/// `mkdir` under an agent that says it crosses file systems.
const MKDIR: &str = "mkdir /tmp/a 2>&1; ls /proc/self/fd | wc -l";

fn check_answers(mut sandbox: Sandbox) {
    let agent = Agent::new(&mut sandbox, [EXDEV, "0"]);
    let (stdio, pipes) = pipes();
    let process = sandbox.start(stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let pid = process.pid();
    let output = pipes.finish(process);
    assert!(output.out.contains("Invalid cross-device link"), "{output:?}");
    // The three streams and the directory itself: the listener stayed with the agent.
    assert!(output.out.ends_with("\n4\n"), "{output:?}");
    let told = agent.told();
    assert_eq!((told.pid, told.state.pid), (pid, Some(pid)));
    assert_eq!((told.state.status, &told.state.bundle), (Status::Created, &sandbox.directory));
    assert_eq!(told.state.annotations["a"].len(), 5000);
}

fn an_agent_answers_for_the_first_process() {
    check_answers(notifying(MKDIR, &["mkdir"], &[]));
    check_answers(notifying(
        MKDIR,
        &["mkdir"],
        &["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    ));
}

fn an_agent_answers_with_new_privileges_forbidden() {
    let mut sandbox = notifying(MKDIR, &["mkdir"], &[]);
    sandbox.process().no_new_privileges = true;
    check_answers(sandbox);
}

fn an_agent_answers_even_for_what_executes_the_program() {
    for no_new_privileges in [false, true] {
        let calls = ["execve", "read", "write", "close", "prctl", "capset", "sendmsg", "ioctl"];
        let mut sandbox = notifying("echo ran", &calls, &[]);
        sandbox.process().no_new_privileges = no_new_privileges;
        let agent = Agent::new(&mut sandbox, LET_THROUGH);
        assert_eq!(sandbox.text(), "ran");
        agent.told();
    }
}

fn an_agent_answers_after_the_creator_has_gone() {
    let mut sandbox = notifying(MKDIR, &["mkdir"], &[]);
    let agent = Agent::new(&mut sandbox, [EXDEV, "0"]);
    let gate = sandbox.directory.join("gate.sock");
    let (stdio, pipes) = pipes();
    let created = sandbox.create_for(stdio, Lifetime::Own(UnixListener::bind(&gate).unwrap())).unwrap();
    let process = created.leave().unwrap();
    runtime::start(UnixStream::connect(&gate).unwrap(), "test").unwrap();
    let pid = process.pid();
    assert!(pipes.finish(process).out.contains("Invalid cross-device link"));
    assert_eq!(agent.told().pid, pid);
}

fn an_agent_answers_for_an_exec() {
    let container = Sandbox::shell("sleep 100");
    let first = container.start(Stdio::Null).unwrap();
    let mut sandbox = notifying(MKDIR, &["mkdir"], &[]);
    let agent = Agent::new(&mut sandbox, [EXDEV, "0"]);
    let state = State {
        oci_version: "1.3.0".into(),
        id: "test".into(),
        status: Status::Running,
        bundle: "/bundle".into(),
        pid: Some(first.pid()),
        annotations: Default::default(),
    };
    let exec = |state, stdio| {
        runtime::exec(Exec {
            id: "test",
            container: first.pidfd(),
            process: sandbox.spec.process.as_ref().unwrap(),
            linux: None,
            user: &UserSpec::Ids,
            extra_groups: &[],
            cgroup: None,
            seccomp: &sandbox.seccomp,
            state,
            stdio,
            preserve_fds: 0,
        })
    };
    let error = exec(None, Stdio::Null).expect_err("whose agent would it be?");
    assert_eq!(error.to_string(), "SCMP_ACT_NOTIFY without the container's state is not supported");
    let (stdio, pipes) = pipes();
    let process = exec(Some(&state), stdio).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let pid = process.pid();
    assert!(pipes.finish(process).out.contains("Invalid cross-device link"));
    let told = agent.told();
    assert_eq!(told.pid, pid);
    assert_eq!(told.state, state);
    first.kill(9).unwrap();
    first.wait().unwrap();
}

fn a_listener_without_an_agent_is_refused() {
    let mut sandbox = notifying("true", &["mkdir"], &[]);
    sandbox.seccomp = Seccomp::of(&sandbox.spec);
    let error = sandbox.error();
    assert_eq!(
        chain(&error),
        "cannot use the seccomp profile of container test: the seccomp profile has SCMP_ACT_NOTIFY but no listenerPath, so \
         nobody could answer"
    );
    let mut refused = |path: &str, expected: &str| {
        sandbox.linux().seccomp.as_mut().unwrap().listener_path = Some(path.to_owned());
        sandbox.seccomp = Seccomp::of(&sandbox.spec);
        assert_eq!(sandbox.error().to_string(), expected);
    };
    refused("/none", "invalid linux.seccomp.listenerPath /none: No such file or directory (os error 2)");
    refused("/etc", "invalid linux.seccomp.listenerPath /etc: it is not a socket");
}

fn an_agent_that_is_gone_at_the_start_is_an_error() {
    let mut sandbox = notifying("true", &["mkdir", "read"], &[]);
    let path = sandbox.directory.join("dead.sock");
    drop(UnixListener::bind(&path).unwrap());
    sandbox.linux().seccomp.as_mut().unwrap().listener_path = Some(path.to_str().unwrap().to_owned());
    sandbox.seccomp = Seccomp::of(&sandbox.spec);
    let error = sandbox.error();
    assert!(matches!(error, LaunchError::Setup { step: runtime::Step::Listener, .. }), "{error}");
    assert!(chain(&error).ends_with("Connection refused (os error 111)"), "{}", chain(&error));
}
