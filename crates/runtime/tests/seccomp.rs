//! Filters on the real kernel. A filter belongs to the thread that installs it and to what that starts, so each test has a
//! thread, and perl makes the raw calls.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use runtime::seccomp::{Profile, Seccomp};
use sys::capability::{Capability, CapabilitySet};

/// Makes each call (its number and arguments, as perl reads them) under `seccomp` and returns its errno, or 0.
fn errnos(seccomp: Seccomp, capabilities: CapabilitySet, calls: &[&str]) -> Vec<i32> {
    let lines = calls.iter().map(|call| format!("print syscall({call}) == -1 ? $!+0 : 0, qq(\\n);"));
    // Strings must be writable to be passed.
    let script: String = std::iter::once("my $none = '/none';".to_string()).chain(lines).collect();
    let output = thread::spawn(move || {
        if let Some(program) = seccomp.compile(capabilities).expect("it compiles") {
            program.install().expect("root may install it");
        }
        Command::new("perl").args(["-e", &script]).output().expect("perl can be started")
    });
    let output = output.join().expect("the thread ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().expect("a number")).collect()
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;

const MOUNT: &str = "165, $none, $none, $none, 0, 0";
const KEYCTL: &str = "250, 0, -3, 0";
const CLONE3: &str = "435, 0, 0";
const UNSHARE_USER: &str = "272, 0x10000000";

#[test]
fn the_default_profile_holds_on_this_kernel() {
    let usual = CapabilitySet::of(&[Capability::CHOWN, Capability::SYS_CHROOT]);
    let calls = [
        (MOUNT, EPERM),
        (KEYCTL, EPERM),
        (CLONE3, ENOSYS),
        (UNSHARE_USER, EPERM),
        ("56, 0x10000011, 0, 0, 0, 0", EPERM), // clone with a user namespace
        ("308, 0, 0", EPERM),                  // setns
        ("321, 0, 0, 0", EPERM),               // bpf
        ("425, 1, 0", EPERM),                  // io_uring_setup
        ("135, 0xffffffff", 0),                // personality: which one?
        ("135, 0x0040000", EPERM),             // personality: no randomisation
        ("41, 40, 1, 0", EPERM),               // socket: AF_VSOCK
        ("41, 0x100000026, 5, 0", EPERM),      // socket: AF_ALG behind a set upper half
        ("41, 1, 1, 0", 0),                    // socket: AF_UNIX
        ("161, $none", ENOENT),                // chroot
        ("467, 0, 0, 0, 0, 0", ENOSYS),        // open_tree_attr, newer than the profile
        ("101, 0, 0, 0, 0", 0),                // ptrace
    ];
    let found = errnos(Seccomp::Default, usual, &calls.map(|(call, _)| call));
    for ((call, expected), found) in calls.into_iter().zip(found) {
        assert_eq!(found, expected, "syscall({call})");
    }
}

#[test]
fn capabilities_and_unconfined_let_the_same_calls_through() {
    for (seccomp, capabilities) in [
        (Seccomp::Default, CapabilitySet::of(&[Capability::SYS_ADMIN])),
        (Seccomp::Unconfined, CapabilitySet::EMPTY),
    ] {
        assert_eq!(errnos(seccomp, capabilities, &[MOUNT, CLONE3]), [ENOENT, EINVAL]);
    }
}

fn profile(action: &str, errno: &str) -> Seccomp {
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [{{"names": ["getppid"], "action": "{action}" {errno}}}]}}"#
    );
    Seccomp::Profile(Box::new(Profile::parse(json.as_bytes()).expect("it is a profile")))
}

#[test]
fn a_profile_chooses_the_errno() {
    let seccomp = profile("SCMP_ACT_ERRNO", r#", "errnoRet": 99"#);
    assert_eq!(errnos(seccomp, CapabilitySet::EMPTY, &["110", "39"]), [99, 0]);
}

#[test]
fn a_profile_can_kill() {
    let status = thread::spawn(|| {
        let program = profile("SCMP_ACT_KILL_PROCESS", "").compile(CapabilitySet::EMPTY);
        program.expect("it compiles").expect("there is one").install().expect("root may install it");
        Command::new("perl").args(["-e", "syscall(110)"]).status().expect("perl can be started")
    });
    const SIGSYS: i32 = 31;
    assert_eq!(status.join().expect("the thread ends").signal(), Some(SIGSYS));
}
