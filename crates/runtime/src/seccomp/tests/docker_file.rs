//! Our default profile against Docker's own file, call by call.
//!
//! `docker-default.json` is moby's `profiles/seccomp/default.json`, unmodified (Apache-2.0). What it says is worked out here from
//! its text, not by the compiler: a call is allowed when any rule that applies allows it.

use std::collections::BTreeMap;

use oci::runtime::{LinuxSeccompArg, SeccompAction, SeccompOperator};
use sys::capability::{Capability, CapabilitySet};

use super::super::profile::{Conditions, Profile, ProfileRule};
use super::{ALLOW, Abi, ERRNO, MISSING, REFUSED, SYSCALLS, USUAL, docker};

pub const DOCKER: &str = include_str!("docker-default.json");

/// The rules that apply to a container here, by call.
fn rules(profile: &Profile, capabilities: CapabilitySet) -> BTreeMap<&str, Vec<&ProfileRule>> {
    let held = |name: &String| capabilities.contains(Capability::from_name(name).expect("it exists"));
    let here = |conditions: &Conditions| {
        conditions.arches.as_ref().is_none_or(|arches| arches.iter().any(|arch| arch == "amd64"))
    };
    let mut by_name: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for rule in profile.syscalls.iter().flatten() {
        let included = rule.includes.as_ref().is_none_or(|c| here(c) && c.caps.iter().flatten().all(held));
        let excluded = rule
            .excludes
            .as_ref()
            .is_some_and(|c| (c.arches.is_some() && here(c)) || c.caps.iter().flatten().any(held));
        if included && !excluded {
            for name in rule.names.iter().flatten() {
                by_name.entry(name).or_default().push(rule);
            }
        }
    }
    by_name
}

fn holds(arg: &LinuxSeccompArg, args: [u64; 6]) -> bool {
    use SeccompOperator::*;
    let actual = args[arg.index as usize];
    match arg.op {
        NotEqual => actual != arg.value,
        Less => actual < arg.value,
        LessOrEqual => actual <= arg.value,
        Equal => actual == arg.value,
        GreaterOrEqual => actual >= arg.value,
        Greater => actual > arg.value,
        MaskedEqual => actual & arg.value == arg.value_two,
    }
}

fn decide(rules: &[&ProfileRule], args: [u64; 6]) -> u32 {
    let mut decision = REFUSED;
    for rule in rules {
        if rule.args.iter().flatten().all(|arg| holds(arg, args)) {
            match rule.action {
                SeccompAction::Allow => return ALLOW,
                SeccompAction::Errno => decision = ERRNO | rule.errno_ret.unwrap_or(1),
                other => panic!("{other:?} is new in the file"),
            }
        }
    }
    decision
}

/// Values around those that some rule compares with, each also with a bit of the upper half.
fn interesting(profile: &Profile) -> Vec<u64> {
    let compared = profile.syscalls.iter().flatten().flat_map(|rule| rule.args.iter().flatten());
    let mut values: Vec<u64> = compared
        .flat_map(|arg| [arg.value.wrapping_sub(1), arg.value, arg.value + 1])
        .chain((0..64).map(|bit| 1 << bit))
        .chain([0, u64::MAX])
        .flat_map(|value| [value, value | 1 << 32])
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn check(profile: &Profile, values: &[u64], capabilities: CapabilitySet) {
    let program = docker::compile(capabilities);
    let rules = rules(profile, capabilities);
    let none = Vec::new();
    for abi in Abi::ALL {
        // The calls of an ABI that has own numbers for some: what is not among those has the common ones.
        let calls: BTreeMap<u32, &str> =
            SYSCALLS.iter().filter_map(|call| Some((abi.number(call)?, call.0))).collect();
        // x32 has two sequences of numbers, the common one and its own from 512 on.
        let last = |own: bool| {
            let named =
                calls.iter().filter(|(number, name)| (**number >= 512) == own && rules.contains_key(*name));
            named.map(|(number, _)| *number).max()
        };
        let last = [last(false), last(true)];
        for number in 0..600 {
            let Some(name) = calls.get(&number) else {
                let answer = program.answer(abi, number, [0; 6]);
                assert!([REFUSED, MISSING, ALLOW].contains(&answer));
                // No call at all; x32 may allow what has a meaning only in the other numbering.
                assert!(answer != ALLOW || abi == Abi::X32, "{abi:?} {number}");
                continue;
            };
            let rules = rules.get(name).unwrap_or(&none);
            let looked_at = rules.iter().any(|rule| rule.args.as_ref().is_some_and(|args| !args.is_empty()));
            for value in if looked_at { values } else { &[0] } {
                let args = [*value, 0, 0, 0, 0, 0];
                let expected = match decide(rules, args) {
                    _ if Some(number) > last[usize::from(number >= 512)] => MISSING,
                    // Tighter: the kernel reads the family as an int, and so do we.
                    ALLOW if *name == "socket" => decide(rules, [*value as u32 as u64, 0, 0, 0, 0, 0]),
                    decision => decision,
                };
                let answer = program.answer(abi, number, args);
                assert_eq!(answer, expected, "{name}({value:#x}) by {abi:?} with {capabilities:?}");
            }
        }
    }
}

#[test]
fn our_profile_decides_as_docker_s_file() {
    let profile = Profile::parse(DOCKER.as_bytes()).expect("it is a profile");
    assert_eq!((profile.default_action, profile.default_errno_ret), (SeccompAction::Errno, Some(1)));
    let values = interesting(&profile);
    let each = (0..41).map(|number| CapabilitySet::from_bits(1 << number));
    let all_but_each =
        each.clone().map(|one| CapabilitySet::from_bits(CapabilitySet::ALL.bits() & !one.bits()));
    for capabilities in
        [CapabilitySet::EMPTY, USUAL, CapabilitySet::ALL].into_iter().chain(each).chain(all_but_each)
    {
        check(&profile, &values, capabilities);
    }
}

#[test]
fn the_file_names_no_call_that_our_table_lacks() {
    let profile = Profile::parse(DOCKER.as_bytes()).expect("it is a profile");
    for name in rules(&profile, CapabilitySet::ALL).into_keys() {
        let known = super::find(name).is_some() || ["recv", "send"].contains(&name);
        assert!(known || super::FOREIGN.contains(&name), "{name}");
    }
}
