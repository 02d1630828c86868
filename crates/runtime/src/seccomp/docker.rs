//! Docker's default profile, from our own table.

use std::borrow::Cow;

use oci::runtime::SeccompOperator;
use sys::capability::{Capability, CapabilitySet};
use sys::seccomp::Flags;

use super::Program;
use super::abi::{Abi, Decisions};
use super::program::{ALLOW, Condition, Decision, ENOSYS, EPERM, ERRNO, Rule, Width};
use super::syscalls::{SYSCALLS, Verdict};
use super::usual;
use crate::DEFAULT_CAPABILITIES;

/// The newest call of the profile, `removexattrat`; newer ones look missing.
const NEWEST: u32 = 466;

/// The profile for a container with `capabilities`.
pub fn program(capabilities: CapabilitySet) -> Program {
    match capabilities == CapabilitySet::of(&DEFAULT_CAPABILITIES) {
        true => Program { instructions: Cow::Borrowed(&usual::INSTRUCTIONS), flags: FLAGS, agent: None },
        false => compile(capabilities),
    }
}

const FLAGS: Flags = Flags::SPEC_ALLOW;

/// Compiles the profile for a container with `capabilities`.
pub fn compile(capabilities: CapabilitySet) -> Program {
    let mut decisions = Decisions::new(ERRNO | EPERM, &Abi::ALL);
    let allowed = decisions.place(Decision::Return(ALLOW));
    for syscall in SYSCALLS {
        let place = match decision(syscall.3, capabilities) {
            Decision::Return(ALLOW) => allowed,
            Decision::Return(value) if value == ERRNO | EPERM => continue,
            other => decisions.place(other),
        };
        for abi in Abi::ALL {
            if let Some(number) = abi.number(syscall) {
                decisions.set(abi, number, place);
            }
        }
    }
    decisions.newer_are_missing(|abi, number| number <= NEWEST || (abi == Abi::X32 && number == 547));
    decisions.compile(FLAGS)
}

/// What `verdict` means for these capabilities.
fn decision(verdict: Verdict, capabilities: CapabilitySet) -> Decision {
    let denied = Decision::Return(ERRNO | EPERM);
    let unless_admin = |otherwise| match capabilities.contains(Capability::SYS_ADMIN) {
        true => Decision::Return(ALLOW),
        false => otherwise,
    };
    match verdict {
        Verdict::Allow => Decision::Return(ALLOW),
        Verdict::Deny => denied,
        Verdict::With(any) if any.intersection(capabilities).is_empty() => denied,
        Verdict::With(_) => Decision::Return(ALLOW),
        Verdict::Socket => socket(),
        Verdict::Personality => personality(),
        Verdict::Clone => unless_admin(clone()),
        Verdict::Clone3 => unless_admin(Decision::Return(ERRNO | ENOSYS)),
    }
}

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// Every address family but the kernel's crypto interface and the sockets of virtual machines.
///
/// The kernel reads the family as an `int`. A filter on the whole register, like Docker's, is passed with any bit of its upper
/// half set; this one looks at what the kernel looks at.
fn socket() -> Decision {
    let refuse = |family| Rule {
        conditions: vec![Condition { width: Width::Low, ..argument_0(SeccompOperator::Equal, family) }],
        action: ERRNO | EPERM,
    };
    Decision::Check(vec![refuse(AF_ALG), refuse(AF_VSOCK)], ALLOW)
}

/// Linux and Linux 32-bit, each also with `UNAME26`, and the question which one is set.
fn personality() -> Decision {
    const PER_LINUX32: u64 = 0x0008;
    const UNAME26: u64 = 0x0002_0000;
    const QUERY: u64 = 0xffff_ffff;
    let domains = [0, PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32, QUERY];
    let allow = |domain| Rule { conditions: vec![argument_0(SeccompOperator::Equal, domain)], action: ALLOW };
    Decision::Check(domains.into_iter().map(allow).collect(), ERRNO | EPERM)
}

/// No flag that makes a namespace.
fn clone() -> Decision {
    const NEWNS: u64 = 0x0002_0000;
    const NEWCGROUP: u64 = 0x0200_0000;
    const NEWUTS: u64 = 0x0400_0000;
    const NEWIPC: u64 = 0x0800_0000;
    const NEWUSER: u64 = 0x1000_0000;
    const NEWPID: u64 = 0x2000_0000;
    const NEWNET: u64 = 0x4000_0000;
    let namespaces = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET;
    let none = argument_0(SeccompOperator::MaskedEqual, namespaces);
    Decision::Check(vec![Rule { conditions: vec![none], action: ALLOW }], ERRNO | EPERM)
}

fn argument_0(operator: SeccompOperator, value: u64) -> Condition {
    Condition { argument: 0, width: Width::Full, operator, value, value_two: 0 }
}
