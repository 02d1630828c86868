//! The compiled programs, run by an interpreter and compared with what the profiles say.

mod docker_file;
mod libseccomp;

use oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator};
use sys::capability::{Capability, CapabilitySet};
use sys::seccomp::Instruction;

use super::abi::{Abi, X32_BIT};
use super::filter::Unknown;
use super::program::{ALLOW, ARCH_I386, ARCH_X86_64, ENOSYS, EPERM, ERRNO, KILL_PROCESS, KILL_THREAD, TRACE};
use super::syscalls::{FOREIGN, IPC, SOCKETCALL, SYSCALLS, Verdict, X32, find};
use super::{Program, Seccomp, SeccompError, docker, filter};

/// Docker's fourteen.
const USUAL: CapabilitySet = CapabilitySet::of(&crate::DEFAULT_CAPABILITIES);

const REFUSED: u32 = ERRNO | EPERM;
const MISSING: u32 = ERRNO | ENOSYS;

/// Runs classic BPF over a `struct seccomp_data`.
fn interpret(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => number,
        4 => arch,
        16..64 => (args[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
        _ => panic!("load at {offset}"),
    };
    let (mut a, mut at) = (0u32, 0usize);
    loop {
        let i = program[at];
        at += 1;
        let mut branch = |taken| at += usize::from(if taken { i.jump_true } else { i.jump_false });
        match i.code {
            0x20 => a = load(i.operand),
            0x54 => a &= i.operand,
            0x15 => branch(a == i.operand),
            0x25 => branch(a > i.operand),
            0x35 => branch(a >= i.operand),
            0x05 => at += i.operand as usize,
            0x06 => return i.operand,
            code => panic!("operation {code:#x}"),
        }
    }
}

impl Program {
    fn answer(&self, abi: Abi, number: u32, args: [u64; 6]) -> u32 {
        match abi {
            Abi::X86_64 => interpret(&self.instructions, ARCH_X86_64, number, args),
            Abi::X32 => interpret(&self.instructions, ARCH_X86_64, number | X32_BIT, args),
            Abi::I386 => interpret(&self.instructions, ARCH_I386, number, args),
        }
    }

    fn answer_to(&self, abi: Abi, name: &str, first: u64) -> u32 {
        let syscall = find(name).expect("the call is known");
        let number = abi.number(syscall).expect("the ABI has it");
        self.answer(abi, number, [first, 0, 0, 0, 0, 0])
    }
}

#[test]
fn the_table_is_in_order_and_has_no_number_twice() {
    assert!(SYSCALLS.is_sorted_by(|(one, ..), (other, ..)| one < other));
    for abi in Abi::ALL {
        let mut numbers: Vec<u32> = SYSCALLS.iter().filter_map(|syscall| abi.number(syscall)).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{abi:?}");
    }
    assert!(X32.iter().all(|(common, _)| SYSCALLS.iter().any(|s| s.1 == *common as i16)));
    assert!(FOREIGN.iter().all(|name| find(name).is_none()));
    let only_multiplexed: Vec<_> = SOCKETCALL
        .iter()
        .chain(IPC)
        .filter(|(name, _)| find(name).is_none())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(only_multiplexed, ["send", "recv"]);
}

#[test]
fn numbers_are_those_of_the_kernel() {
    for (name, number) in
        [("read", 0), ("clone3", 435), ("socket", 41), ("removexattrat", 466), ("file_setattr", 469)]
    {
        assert_eq!(find(name).and_then(|s| Abi::X86_64.number(s)), Some(number), "{name}");
    }
    for (name, number) in [("socketcall", 102), ("socket", 359), ("clone", 120), ("semtimedop_time64", 420)] {
        assert_eq!(find(name).and_then(|s| Abi::I386.number(s)), Some(number), "{name}");
    }
    assert_eq!(find("execve").and_then(|s| Abi::X32.number(s)), Some(520));
    assert_eq!(find("openat").and_then(|s| Abi::X32.number(s)), Some(257));
}

fn check_default(capabilities: CapabilitySet, name: &str, first: u64, expected: u32) {
    let program = docker::compile(capabilities);
    for abi in Abi::ALL {
        if find(name).and_then(|syscall| abi.number(syscall)).is_some() {
            assert_eq!(program.answer_to(abi, name, first), expected, "{name}({first:#x}) by {abi:?}");
        }
    }
}

#[test]
fn every_number_gets_what_its_row_says() {
    for capabilities in [USUAL, CapabilitySet::EMPTY, CapabilitySet::ALL] {
        let program = docker::compile(capabilities);
        for abi in Abi::ALL {
            for number in 0..700 {
                // What x32 numbers otherwise does not exist there under the common number, so any answer would do.
                let common = if abi == Abi::X32 && number < 512 { Abi::X86_64 } else { abi };
                let row = SYSCALLS.iter().find(|syscall| common.number(syscall) == Some(number));
                let newer =
                    if abi == Abi::X32 { (467..512).contains(&number) || number > 547 } else { number > 466 };
                let expected = match row.map(|row| row.3) {
                    _ if newer => MISSING,
                    None | Some(Verdict::Deny) => REFUSED,
                    Some(Verdict::Allow) => ALLOW,
                    Some(Verdict::With(any)) if any.intersection(capabilities).is_empty() => REFUSED,
                    Some(Verdict::With(_)) => ALLOW,
                    Some(Verdict::Clone3) if !capabilities.contains(Capability::SYS_ADMIN) => MISSING,
                    Some(_) => ALLOW,
                };
                assert_eq!(program.answer(abi, number, [0; 6]), expected, "{abi:?} {number} {row:?}");
            }
        }
    }
}

#[test]
fn the_default_profile_refuses_what_breaks_out() {
    for name in [
        "add_key",
        "bpf",
        "delete_module",
        "fsmount",
        "init_module",
        "io_uring_setup",
        "kexec_load",
        "keyctl",
        "mount",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "reboot",
        "request_key",
        "setns",
        "swapon",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        check_default(USUAL, name, 0, REFUSED);
    }
    for name in ["ptrace", "process_vm_readv", "chroot", "seccomp", "memfd_create", "landlock_create_ruleset"]
    {
        check_default(USUAL, name, 0, ALLOW);
    }
    check_default(USUAL, "clone3", 0, MISSING);
}

#[test]
fn capabilities_open_their_calls() {
    let with = |capability| CapabilitySet::of(&[capability]);
    check_default(with(Capability::SYS_ADMIN), "mount", 0, ALLOW);
    check_default(with(Capability::SYS_ADMIN), "clone", 0x1000_0000, ALLOW);
    check_default(with(Capability::SYS_ADMIN), "clone3", 0, ALLOW);
    check_default(with(Capability::SYS_ADMIN), "syslog", 0, ALLOW);
    check_default(with(Capability::SYSLOG), "syslog", 0, ALLOW);
    check_default(with(Capability::SYS_PTRACE), "kcmp", 0, ALLOW);
    check_default(with(Capability::SYS_PTRACE), "mount", 0, REFUSED);
    check_default(with(Capability::BPF), "bpf", 0, ALLOW);
    check_default(CapabilitySet::EMPTY, "chroot", 0, REFUSED);
    check_default(CapabilitySet::ALL, "keyctl", 0, REFUSED);
}

#[test]
fn clone_makes_no_namespace() {
    const SIGCHLD: u64 = 17;
    for flag in [
        0x0002_0000u64,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
        0x7e02_0000,
    ] {
        check_default(USUAL, "clone", flag | SIGCHLD, REFUSED);
        check_default(USUAL, "clone", flag | SIGCHLD | 1 << 40, REFUSED);
    }
    check_default(USUAL, "clone", 0x003d_0f00, ALLOW);
    check_default(USUAL, "clone", SIGCHLD, ALLOW);
}

#[test]
fn address_families_of_the_host_are_refused() {
    for family in 0..64u64 {
        let expected = if family == 38 || family == 40 { REFUSED } else { ALLOW };
        check_default(USUAL, "socket", family, expected);
        // The kernel ignores the upper half, so it must not be a way around.
        check_default(USUAL, "socket", family | 1 << 32, expected);
    }
}

#[test]
fn personalities_that_weaken_are_refused() {
    for domain in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        check_default(USUAL, "personality", domain, ALLOW);
        check_default(USUAL, "personality", domain | 1 << 32, REFUSED);
    }
    for domain in [1, 0x0004_0000 /* ADDR_NO_RANDOMIZE */, 0x0040_0000 /* READ_IMPLIES_EXEC */] {
        check_default(USUAL, "personality", domain, REFUSED);
    }
}

#[test]
fn other_architectures_are_killed() {
    let program = docker::compile(USUAL);
    assert_eq!(interpret(&program.instructions, 0xc000_00b7, 0, [0; 6]), KILL_PROCESS);
    for number in [0x3fff_ffff, 0x4000_0000 | 700, 0x7fff_ffff, 0xffff_ffff] {
        assert_eq!(interpret(&program.instructions, ARCH_X86_64, number, [0; 6]), MISSING, "{number:#x}");
    }
}

/// `usual.rs`, as it has to be.
fn usual_source() -> String {
    let program = docker::compile(USUAL);
    let count = program.len();
    let rows: Vec<String> = program
        .instructions
        .iter()
        .map(|i| format!("({:#04x}, {}, {}, {:#x})", i.code, i.jump_true, i.jump_false, i.operand))
        .collect();
    let rows: String = rows.chunks(6).map(|row| format!("    {},\n", row.join(", "))).collect();
    format!(
        "//! The default profile for the default capabilities, compiled: a start with those compiles nothing.\n\
         //!\n\
         //! Made by the test `the_usual_program_is_that_of_the_profile`, which says how.\n\n\
         use sys::seccomp::Instruction;\n\n\
         pub static INSTRUCTIONS: [Instruction; {count}] = {{\n    \
             let mut all = [Instruction {{ code: 0, jump_true: 0, jump_false: 0, operand: 0 }}; {count}];\n    \
             let mut at = 0;\n    \
             while at < {count} {{\n        \
                 let (code, jump_true, jump_false, operand) = ROWS[at];\n        \
                 all[at] = Instruction {{ code, jump_true, jump_false, operand }};\n        \
                 at += 1;\n    \
             }}\n    \
             all\n\
         }};\n\n\
         #[rustfmt::skip]\n\
         const ROWS: [(u16, u8, u8, u32); {count}] = [\n{rows}];\n"
    )
}

#[test]
fn the_usual_program_is_that_of_the_profile() {
    if std::env::var_os("HULL_UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/usual.rs");
        return std::fs::write(path, usual_source()).expect("the source can be written");
    }
    let hint = "HULL_UPDATE=1 cargo test -p runtime --lib usual_program";
    assert!(include_str!("usual.rs") == usual_source(), "make it anew: {hint}");
    assert_eq!(docker::program(USUAL), docker::compile(USUAL));
}

#[test]
fn the_default_profile_is_small() {
    // Installing costs by the instruction: 85 us were measured for 367.
    let length = docker::compile(USUAL).len();
    assert!(length < 300, "{length} instructions");
}

fn profile(json: &str) -> Result<Program, SeccompError> {
    let profile = super::Profile::parse(json.as_bytes())?;
    let program = Seccomp::Profile(Box::new(profile)).compile(USUAL)?;
    Ok(program.expect("a profile gives a program"))
}

#[test]
fn a_profile_file_is_honoured_whole() {
    let program = profile(
        r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
        ],
        "syscalls": [
            {"names": ["read", "write", "arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "args": null},
            {"name": "getpid", "action": "SCMP_ACT_TRACE", "errnoRet": 7},
            {"names": ["chown"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}},
            {"names": ["chmod"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}},
            {"names": ["link"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
            {"names": ["symlink"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8", "arches": ["amd64"]}},
            {"names": ["sync"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["reboot"], "action": "SCMP_ACT_KILL"}
        ]}"#,
    )
    .expect("the profile is valid");
    for abi in [Abi::X86_64, Abi::I386] {
        for (name, expected) in [
            ("read", ALLOW),
            ("write", ALLOW),
            ("getpid", TRACE | 7),
            ("chown", ALLOW),
            ("mount", ERRNO | 13),
            ("chmod", ERRNO | 13),
            ("link", ERRNO | 13),
            ("symlink", ALLOW),
            ("sync", ERRNO | 13),
            ("reboot", KILL_THREAD),
            ("clone3", MISSING),
        ] {
            assert_eq!(program.answer_to(abi, name, 0), expected, "{name} by {abi:?}");
        }
    }
    assert_eq!(program.answer_to(Abi::X32, "read", 0), KILL_PROCESS, "x32 is not listed");
}

fn check_refused(json: &str, expected: &str) {
    assert_eq!(profile(json).expect_err(json).to_string(), expected);
}

#[test]
fn profiles_that_cannot_be_honoured_are_refused() {
    let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    check_refused("{", "the seccomp profile is not valid JSON for a profile");
    check_refused(
        r#"{"defaultAction": "SCMP_ACT_NONE"}"#,
        "the seccomp profile is not valid JSON for a profile",
    );
    check_refused(
        r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
        "the seccomp profile has SCMP_ACT_NOTIFY but no listenerPath, so nobody could answer",
    );
    check_refused(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#,
        "the seccomp profile gives an errno to SCMP_ACT_ALLOW, which returns none",
    );
    check_refused(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}"#,
        "the seccomp profile names an unknown architecture: `SCMP_ARCH_VAX`",
    );
    check_refused(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#,
        "the seccomp profile names an unknown flag: `X`",
    );
    check_refused(
        &rule(r#"{"names": ["frobnicate"], "action": "SCMP_ACT_ERRNO"}"#),
        "the seccomp profile restricts `frobnicate`, a system call hull does not know",
    );
    check_refused(
        &rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}"#),
        "the seccomp profile has an impossible errno: 5000",
    );
    check_refused(
        &rule(
            r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
        ),
        "the seccomp profile has a rule on argument 6 of `read`; the last one is 5",
    );
    check_refused(
        &rule(r#"{"names": ["read"], "name": "write", "action": "SCMP_ACT_ERRNO"}"#),
        "the seccomp profile has both `name` and `names`",
    );
    check_refused(
        &rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_X"]}}"#),
        "the seccomp profile names an unknown capability: `CAP_X`",
    );
    check_refused(
        &rule(r#"{"action": "SCMP_ACT_ERRNO"}"#),
        "the seccomp profile has a rule for no system call",
    );
}

fn rule(name: &str, action: SeccompAction, args: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    LinuxSyscall { names: vec![name.to_string()], action, errno_ret: None, args }
}

fn arg(index: u32, op: SeccompOperator, value: u64, value_two: u64) -> LinuxSeccompArg {
    LinuxSeccompArg { index, value, op, value_two }
}

fn all_abis(default_action: SeccompAction, syscalls: Vec<LinuxSyscall>) -> LinuxSeccomp {
    LinuxSeccomp {
        default_action,
        default_errno_ret: None,
        architectures: vec!["SCMP_ARCH_X86".into(), "SCMP_ARCH_X32".into()],
        flags: vec![],
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

#[test]
fn every_operator_compares_whole_registers() {
    use SeccompOperator::*;
    let edges = [
        0u64,
        1,
        2,
        0x7fff_ffff,
        0xffff_fffe,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 1,
        (1 << 33) - 1,
        0x1_0000_0002,
        u64::MAX - 1,
        u64::MAX,
    ];
    for op in [NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual] {
        for value in edges {
            for value_two in if op == MaskedEqual { &edges[..] } else { &[0] } {
                // A second condition shows that failing skips the rest of the rule, not more and not less.
                let args = vec![arg(1, op, value, *value_two), arg(2, Equal, 5, 0)];
                let filter = all_abis(SeccompAction::Allow, vec![rule("read", SeccompAction::Errno, args)]);
                let program = filter::compile(&filter, Unknown::Skipped).expect("it compiles");
                for actual in edges {
                    let holds = match op {
                        NotEqual => actual != value,
                        Less => actual < value,
                        LessOrEqual => actual <= value,
                        Equal => actual == value,
                        GreaterOrEqual => actual >= value,
                        Greater => actual > value,
                        MaskedEqual => actual & value == *value_two,
                    };
                    let answer = |second| program.answer(Abi::X86_64, 0, [9, actual, second, 9, 9, 9]);
                    let expected = if holds { REFUSED } else { ALLOW };
                    assert_eq!(answer(5), expected, "{actual:#x} {op:?} {value:#x} {value_two:#x}");
                    assert_eq!(answer(6), ALLOW);
                }
            }
        }
    }
}

#[test]
fn every_action_has_its_value() {
    use SeccompAction::*;
    let answers = [
        (Kill, KILL_THREAD),
        (KillThread, KILL_THREAD),
        (KillProcess, KILL_PROCESS),
        (Trap, 0x0003_0000),
        (Errno, REFUSED),
        (Trace, TRACE | EPERM),
        (Allow, ALLOW),
        (Log, 0x7ffc_0000),
        (Notify, 0x7fc0_0000),
    ];
    for (action, expected) in answers {
        let as_rule =
            all_abis(if action == Allow { Errno } else { Allow }, vec![rule("read", action, vec![])]);
        let as_default =
            all_abis(action, vec![rule("swapon", if action == Allow { Errno } else { Allow }, vec![])]);
        for mut filter in [as_rule, as_default] {
            filter.listener_path = Some("/agent".into());
            let program = filter::compile(&filter, Unknown::Skipped).expect("it compiles");
            assert_eq!(program.answer_to(Abi::X86_64, "read", 0), expected, "{action:?}");
            assert_eq!(program.agent().is_some(), action == Notify);
        }
    }
    let with_errno = |action, errno| {
        let rule = LinuxSyscall { errno_ret: Some(errno), ..rule("read", action, vec![]) };
        let program = filter::compile(&all_abis(Allow, vec![rule]), Unknown::Skipped);
        program.map(|program| program.answer_to(Abi::I386, "read", 0)).map_err(|error| error.to_string())
    };
    assert_eq!(with_errno(Errno, 4095), Ok(ERRNO | 4095));
    assert_eq!(with_errno(Errno, 4096), Err("the seccomp profile has an impossible errno: 4096".into()));
    assert_eq!(with_errno(Trace, 0xffff), Ok(TRACE | 0xffff));
    assert_eq!(with_errno(Trace, 0x1_0000), Err("the seccomp profile has an impossible errno: 65536".into()));
    assert!(with_errno(Trap, 1).is_err());
}

#[test]
fn rules_on_calls_nobody_knows_are_skipped_in_a_bundle() {
    let filter = all_abis(SeccompAction::Allow, vec![rule("frobnicate", SeccompAction::Errno, vec![])]);
    assert!(filter::compile(&filter, Unknown::Skipped).is_ok());
    assert!(filter::compile(&filter, Unknown::Refused).is_err());
}

#[test]
fn conditions_on_one_argument_are_alternatives() {
    use SeccompOperator::Equal;
    let args = vec![arg(0, Equal, 1, 0), arg(0, Equal, 2, 0)];
    let filter = all_abis(SeccompAction::Errno, vec![rule("read", SeccompAction::Allow, args)]);
    let program = filter::compile(&filter, Unknown::Skipped).expect("it compiles");
    for (value, expected) in [(0, REFUSED), (1, ALLOW), (2, ALLOW), (3, REFUSED)] {
        assert_eq!(program.answer_to(Abi::X86_64, "read", value), expected, "{value}");
    }
}

#[test]
fn of_several_rules_the_first_that_holds_decides_and_the_unconditional_one_is_last() {
    use SeccompOperator::{Equal, Less};
    let filter = all_abis(
        SeccompAction::KillProcess,
        vec![
            rule("read", SeccompAction::Errno, vec![]),
            rule("read", SeccompAction::Allow, vec![arg(0, Less, 10, 0)]),
            rule("read", SeccompAction::Kill, vec![arg(0, Equal, 5, 0), arg(1, Equal, 0, 0)]),
            rule("read", SeccompAction::Kill, vec![arg(0, Equal, 50, 0), arg(1, Equal, 0, 0)]),
            rule("read", SeccompAction::Allow, vec![]),
        ],
    );
    let program = filter::compile(&filter, Unknown::Skipped).expect("it compiles");
    for (value, expected) in [(5, ALLOW), (50, KILL_THREAD), (60, REFUSED)] {
        assert_eq!(program.answer_to(Abi::X86_64, "read", value), expected, "{value}");
    }
    assert_eq!(program.answer_to(Abi::X86_64, "write", 0), MISSING, "newer than all the filter names");
}

#[test]
fn socketcall_and_ipc_follow_the_calls_they_stand_for() {
    use SeccompOperator::Equal;
    let denying = all_abis(
        SeccompAction::Allow,
        vec![
            rule("socket", SeccompAction::Errno, vec![arg(0, Equal, 38, 0)]),
            rule("shmat", SeccompAction::Errno, vec![]),
        ],
    );
    let program = filter::compile(&denying, Unknown::Skipped).expect("it compiles");
    assert_eq!(program.answer_to(Abi::I386, "socketcall", 1), REFUSED, "its family cannot be seen");
    assert_eq!(program.answer_to(Abi::I386, "socketcall", 2), ALLOW);
    assert_eq!(program.answer_to(Abi::I386, "ipc", 0x1_0015), REFUSED);
    assert_eq!(program.answer_to(Abi::I386, "ipc", 0x16), ALLOW);

    let allowing = all_abis(
        SeccompAction::Errno,
        vec![
            rule("bind", SeccompAction::Allow, vec![]),
            rule("recv", SeccompAction::Allow, vec![]),
            rule("socket", SeccompAction::Allow, vec![arg(0, Equal, 1, 0)]),
        ],
    );
    let program = filter::compile(&allowing, Unknown::Skipped).expect("it compiles");
    for (call, expected) in [(1, REFUSED), (2, ALLOW), (10, ALLOW), (9, REFUSED)] {
        assert_eq!(program.answer_to(Abi::I386, "socketcall", call), expected, "{call}");
    }
}

#[test]
fn long_filters_jump_far() {
    use SeccompOperator::MaskedEqual;
    // One condition for every call: no two ranges merge, and every part of the program is out of reach of a short jump.
    let condition = |at: usize| vec![arg(0, MaskedEqual, 0xffff, at as u64)];
    let syscalls = SYSCALLS.iter().enumerate();
    let syscalls =
        syscalls.map(|(at, syscall)| rule(syscall.0, SeccompAction::Errno, condition(at))).collect();
    let program =
        filter::compile(&all_abis(SeccompAction::Allow, syscalls), Unknown::Skipped).expect("it compiles");
    for (at, syscall) in SYSCALLS.iter().enumerate() {
        for abi in Abi::ALL {
            let Some(number) = abi.number(syscall) else { continue };
            let answer = |first: usize| program.answer(abi, number, [first as u64, 0, 0, 0, 0, 0]);
            assert_eq!(answer(at), REFUSED, "{abi:?} {syscall:?}");
            if !["socketcall", "ipc"].contains(&syscall.0) {
                assert_eq!(answer(at + 1), ALLOW, "{abi:?} {syscall:?}");
            }
        }
    }
}

#[test]
fn seccomp_is_stored_and_read_back() {
    for seccomp in [
        Seccomp::Default,
        Seccomp::Unconfined,
        Seccomp::Spec(Box::new(all_abis(SeccompAction::Allow, vec![]))),
    ] {
        let json = serde_json::to_string(&seccomp).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Seccomp>(&json).expect("it was just written"), seccomp);
    }
    assert_eq!(Seccomp::Unconfined.compile(USUAL).expect("nothing to do"), None);
}
