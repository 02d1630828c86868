//! Our programs against those that libseccomp compiles of the same filters, which is what runc and crun install.
//!
//! Left out is where we mean to differ: calls newer than all that a filter names, rules that libseccomp has no table for, and
//! whole registers, where libseccomp compares the lower half for ABIs with 32-bit pointers.

use std::io::Write;
use std::process::{Command, Stdio};

use oci::runtime::{LinuxSeccomp, SeccompAction, SeccompOperator};
use serde::Deserialize;
use sys::capability::CapabilitySet;
use sys::seccomp::Instruction;

use super::super::filter::{self, Unknown};
use super::super::profile::Profile;
use super::{ARCH_I386, ARCH_X86_64, Abi, MISSING, SYSCALLS, USUAL, X32_BIT, all_abis, arg, interpret, rule};

const SCRIPT: &str = include_str!("libseccomp.py");

#[derive(Deserialize)]
struct Compiled {
    unknown: Vec<String>,
    program: String,
}

impl Compiled {
    fn instructions(&self) -> Vec<Instruction> {
        let byte = |at: usize| u8::from_str_radix(&self.program[at..at + 2], 16).expect("it is hexadecimal");
        let bytes: Vec<u8> = (0..self.program.len()).step_by(2).map(byte).collect();
        let instruction = |b: &[u8]| Instruction {
            code: u16::from_le_bytes([b[0], b[1]]),
            jump_true: b[2],
            jump_false: b[3],
            operand: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        };
        bytes.chunks_exact(8).map(instruction).collect()
    }
}

/// What libseccomp makes of `filters`; `None` where python or the library is missing.
fn compile(filters: &[LinuxSeccomp]) -> Option<Vec<Compiled>> {
    let python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut python = python.ok()?;
    let lines: Vec<String> =
        filters.iter().map(|f| serde_json::to_string(f).expect("plain data") + "\n").collect();
    // Where it fails, its standard error says why.
    let _ = python.stdin.take().expect("it is piped").write_all(lines.concat().as_bytes());
    let output = python.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("libseccomp.so.2: cannot open") {
        return None;
    }
    assert!(output.status.success(), "{errors}");
    let parse = |line: &[u8]| serde_json::from_slice(line).expect("a line for each");
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(parse).collect())
}

/// Calls of x86_64 that x32 does not have.
const NOT_IN_X32: &[&str] = &[
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "map_shadow_stack",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uretprobe",
    "uselib",
    "vserver",
];

/// Compares the answers to every call of `abis` with each of `values` in its arguments.
fn compare(filter: &LinuxSeccomp, theirs: &Compiled, abis: &[Abi], values: &[u64]) {
    let ours = filter::compile(filter, Unknown::Skipped).expect("it compiles");
    let their_program = theirs.instructions();
    let mut compared = 0;
    for abi in abis {
        let (arch, bit) = match abi {
            Abi::X86_64 => (ARCH_X86_64, 0),
            Abi::X32 => (ARCH_X86_64, X32_BIT),
            Abi::I386 => (ARCH_I386, 0),
        };
        for call in SYSCALLS.iter().filter(|call| !theirs.unknown.iter().any(|name| *name == call.0)) {
            let Some(number) = abi.number(call) else { continue };
            // What is reached only through these has rules of ours on their first argument.
            if *abi == Abi::I386 && ["socketcall", "ipc"].contains(&call.0) {
                continue;
            }
            // For numbers that mean nothing any answer will do.
            if *abi == Abi::X32 && NOT_IN_X32.contains(&call.0) {
                continue;
            }
            let conditional = filter
                .syscalls
                .iter()
                .any(|rule| !rule.args.is_empty() && rule.names.iter().any(|name| name == call.0));
            // The others have one answer for all arguments.
            for (at, value) in values.iter().enumerate().take(if conditional { values.len() } else { 1 }) {
                let args = [0, 1, 2, 3, 4, 5].map(|shift| values[(at + shift * 7) % values.len()]);
                let args = [[*value; 6], args, [*value, 0, 0, 0, 0, 0]];
                for args in args {
                    let answer = ours.answer(*abi, number, args);
                    if answer == MISSING {
                        continue;
                    }
                    let expected = interpret(&their_program, arch, number | bit, args);
                    assert_eq!(
                        answer,
                        expected,
                        "{} by {abi:?} {args:x?} in {:x?}",
                        call.0,
                        filter
                            .syscalls
                            .iter()
                            .filter(|rule| rule.names.iter().any(|name| name == call.0))
                            .collect::<Vec<_>>()
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

/// Filters with rules of every kind; the same ones each time.
fn generated() -> Vec<LinuxSeccomp> {
    use SeccompOperator::*;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let actions = [SeccompAction::Errno, SeccompAction::Trap, SeccompAction::Log, SeccompAction::KillProcess];
    let operators = [NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual];
    let calls = ["read", "openat", "clone", "mmap", "ioctl", "prctl", "fcntl", "futex"];
    let filter = |_| {
        let mut rules = Vec::new();
        for name in calls {
            let action = actions[next(4) as usize];
            // One rule each: of several on different arguments libseccomp 2.5 loses some.
            let mut args = Vec::new();
            for index in 0..6 {
                if next(3) == 0 {
                    let operator = operators[next(7) as usize];
                    let value = VALUES[next(VALUES.len() as u64) as usize];
                    let two = VALUES[next(VALUES.len() as u64) as usize];
                    let two = if operator == MaskedEqual { value & two } else { 0 };
                    args.push(arg(index, operator, value, two));
                }
            }
            if !args.is_empty() {
                rules.push(rule(name, action, args));
            }
        }
        let architectures = vec!["SCMP_ARCH_X86".to_owned()];
        LinuxSeccomp { architectures, ..all_abis(SeccompAction::Allow, rules) }
    };
    (0..40).map(filter).collect()
}

const VALUES: &[u64] = &[
    0,
    1,
    2,
    38,
    0xffff,
    0x7e02_0000,
    0x7fff_ffff,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

#[test]
fn generated_filters_decide_as_libseccomp_s() {
    let filters = generated();
    let Some(compiled) = compile(&filters) else { return };
    assert_eq!(compiled.len(), filters.len());
    for (filter, theirs) in filters.iter().zip(&compiled) {
        compare(filter, theirs, &[Abi::X86_64], VALUES);
        // What a register of 32 bits can hold.
        let small: Vec<u64> = VALUES.iter().copied().filter(|value| *value <= u32::MAX.into()).collect();
        compare(filter, theirs, &[Abi::I386], &small);
    }
}

#[test]
fn docker_s_profile_decides_as_libseccomp_s() {
    let profile = Profile::parse(super::docker_file::DOCKER.as_bytes()).expect("it is a profile");
    let resolve = |capabilities| profile.resolve(capabilities, (6, 12)).expect("it resolves");
    let filters = [CapabilitySet::EMPTY, USUAL, CapabilitySet::ALL].map(resolve);
    let Some(compiled) = compile(&filters) else { return };
    let small: Vec<u64> = VALUES.iter().copied().filter(|value| *value <= u32::MAX.into()).collect();
    for (filter, theirs) in filters.iter().zip(&compiled) {
        compare(filter, theirs, &Abi::ALL, &small);
    }
}
