//! A filter of the runtime-spec, compiled.

use oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompOperator};
use sys::seccomp::Flags;

use super::abi::{Abi, Decisions};
use super::program::{self, ALLOW, Condition, Decision, ENOSYS, EPERM, ERRNO, Rule, Width};
use super::syscalls::{FOREIGN, IPC, SOCKETCALL, find};
use super::{Agent, Program, SeccompError};

/// What becomes of a rule that would restrict a call nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is an error: whoever wrote it is told of the misspelling.
    Refused,
    /// Nothing, as with libseccomp, whose table is older or newer than the engine's that wrote the rule.
    Skipped,
}

/// Compiles `filter` for this machine.
pub fn compile(filter: &LinuxSeccomp, unknown: Unknown) -> Result<Program, SeccompError> {
    let default = action(filter.default_action, filter.default_errno_ret)?;
    let abis = abis(&filter.architectures)?;
    let mut rules = Rules { calls: Vec::new(), unknown };
    for syscall in &filter.syscalls {
        rules.add(syscall, default)?;
    }
    let mut decisions = Decisions::new(default, &abis);
    for (abi, number, call) in &rules.calls {
        let place = decisions.place(call.decision(default));
        decisions.set(*abi, *number, place);
    }
    if answers_newer_with_enosys(filter.default_action, default) {
        decisions.newer_are_missing(|abi, number| rules.position(abi, number).is_ok());
    }
    let program = decisions.compile(flags(&filter.flags)?);
    Ok(Program { agent: agent(filter)?, ..program })
}

/// The agent, when some rule leaves calls to one.
fn agent(filter: &LinuxSeccomp) -> Result<Option<Agent>, SeccompError> {
    let mut actions = filter.syscalls.iter().map(|rule| rule.action).chain([filter.default_action]);
    if !actions.any(|action| action == SeccompAction::Notify) {
        return Ok(None);
    }
    let path =
        filter.listener_path.as_ref().filter(|path| !path.is_empty()).ok_or(SeccompError::NoListener)?;
    Ok(Some(Agent { path: path.into(), metadata: filter.listener_metadata.clone() }))
}

/// The value the kernel is given for an action.
fn action(action: SeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    use SeccompAction::*;
    let (value, name) = match action {
        Errno | Trace => {
            // MAX_ERRNO, to which the kernel would cut a higher one; a tracer gets 16 bits.
            let (most, value) = if action == Errno { (4095, ERRNO) } else { (0xffff, program::TRACE) };
            return match errno.unwrap_or(EPERM) {
                errno if errno > most => Err(SeccompError::Errno { errno }),
                errno => Ok(value | errno),
            };
        }
        Kill | KillThread => (program::KILL_THREAD, "SCMP_ACT_KILL"),
        KillProcess => (program::KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"),
        Trap => (program::TRAP, "SCMP_ACT_TRAP"),
        Allow => (ALLOW, "SCMP_ACT_ALLOW"),
        Log => (program::LOG, "SCMP_ACT_LOG"),
        Notify => (program::NOTIFY, "SCMP_ACT_NOTIFY"),
    };
    match errno {
        None => Ok(value),
        Some(_) => Err(SeccompError::NeedlessErrno { action: name }),
    }
}

/// Whether calls newer than the profile look missing: not where they would be let through anyway.
fn answers_newer_with_enosys(action: SeccompAction, value: u32) -> bool {
    use SeccompAction::*;
    !matches!(action, Allow | Log | Trace | Notify) && value != ERRNO | ENOSYS
}

/// The ABIs of this machine that `names` has; the native one is always there.
fn abis(names: &[String]) -> Result<Vec<Abi>, SeccompError> {
    const OTHERS: &[&str] = &[
        "AARCH64",
        "ARM",
        "LOONGARCH64",
        "M68K",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PARISC",
        "PARISC64",
        "PPC",
        "PPC64",
        "PPC64LE",
        "RISCV64",
        "S390",
        "S390X",
        "SH",
        "SHEB",
    ];
    let mut abis = vec![Abi::X86_64];
    for name in names {
        match name.strip_prefix("SCMP_ARCH_") {
            Some("X86_64") => {}
            Some("X86") => abis.push(Abi::I386),
            Some("X32") => abis.push(Abi::X32),
            Some(other) if OTHERS.contains(&other) => {}
            _ => return Err(SeccompError::Unknown { kind: "architecture", name: name.clone() }),
        }
    }
    Ok(abis)
}

/// The flags of the specification.
pub const FLAGS: [(&str, Flags); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", Flags::TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", Flags::LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flags::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", Flags::WAIT_KILLABLE_RECV),
];

fn flags(names: &[String]) -> Result<Flags, SeccompError> {
    if names.is_empty() {
        // As runc: containers are not slowed down against speculative store bypass unless asked for.
        return Ok(Flags::SPEC_ALLOW);
    }
    names.iter().try_fold(Flags::NONE, |flags, name| {
        let Some((_, flag)) = FLAGS.iter().find(|(known, _)| known == name) else {
            return Err(SeccompError::Unknown { kind: "flag", name: name.clone() });
        };
        let flag = *flag;
        match sys::seccomp::flags_are_supported(flag) {
            true => Ok(flags | flag),
            false => Err(SeccompError::Unsupported { what: name.clone() }),
        }
    })
}

/// The rules of every call a filter names.
struct Rules {
    /// In order of ABI and number.
    calls: Vec<(Abi, u32, Call)>,
    unknown: Unknown,
}

/// The rules of one call, in their order.
#[derive(Default)]
struct Call {
    conditional: Vec<Rule>,
    always: Option<u32>,
}

impl Call {
    fn decision(&self, default: u32) -> Decision {
        let otherwise = self.always.unwrap_or(default);
        match self.conditional.iter().all(|rule| rule.action == otherwise) {
            true => Decision::Return(otherwise),
            false => Decision::Check(self.conditional.clone(), otherwise),
        }
    }
}

impl Rules {
    fn position(&self, abi: Abi, number: u32) -> Result<usize, usize> {
        self.calls.binary_search_by_key(&(abi as u8, number), |(abi, number, _)| (*abi as u8, *number))
    }

    fn call(&mut self, abi: Abi, number: u32) -> &mut Call {
        let at = self.position(abi, number).unwrap_or_else(|at| {
            self.calls.insert(at, (abi, number, Call::default()));
            at
        });
        &mut self.calls[at].2
    }

    /// Adds one rule of the profile, which may name many calls.
    ///
    /// Of several for a call the first whose conditions hold decides, and one without conditions only after all others.
    fn add(&mut self, syscall: &LinuxSyscall, default: u32) -> Result<(), SeccompError> {
        let action = action(syscall.action, syscall.errno_ret)?;
        if syscall.names.is_empty() {
            return Err(SeccompError::Nameless);
        }
        for name in &syscall.names {
            let conditions = conditions(name, &syscall.args)?;
            let multiplexed = self.add_multiplexed(name, action, &conditions);
            let Some(known) = find(name) else {
                // Allowing what nobody knows grants nothing. Any other rule must not be lost.
                let harmless = action == ALLOW || action == default;
                if harmless
                    || self.unknown == Unknown::Skipped
                    || multiplexed
                    || FOREIGN.contains(&name.as_str())
                {
                    continue;
                }
                return Err(SeccompError::UnknownSyscall { name: name.clone() });
            };
            for abi in Abi::ALL {
                if let Some(number) = abi.number(known) {
                    self.call(abi, number).add(action, &as_seen(abi, &conditions));
                }
            }
        }
        Ok(())
    }

    /// Lets a rule for a call that i386 makes through `socketcall` or `ipc` hold there too.
    ///
    /// The arguments proper are behind a pointer then. So conditions on them cannot be checked, and a rule that has some counts
    /// only when it restricts.
    fn add_multiplexed(&mut self, name: &str, action: u32, conditions: &[Vec<Condition>]) -> bool {
        let through =
            [("socketcall", SOCKETCALL), ("ipc", IPC)].into_iter().find_map(|(multiplexer, calls)| {
                let (_, selector) = calls.iter().find(|(known, _)| *known == name)?;
                Some((find(multiplexer)?, *selector))
            });
        let Some((multiplexer, selector)) = through else { return false };
        if let Some(number) = Abi::I386.number(multiplexer)
            && (conditions.is_empty() || action != ALLOW)
        {
            // `ipc` has a version in the upper half of its selector.
            let selected = Condition {
                argument: 0,
                width: Width::Low,
                operator: SeccompOperator::MaskedEqual,
                value: 0xffff,
                value_two: selector.into(),
            };
            self.call(Abi::I386, number).add(action, &[vec![selected]]);
        }
        true
    }
}

impl Call {
    /// Adds a rule for each list of conditions, or one without when there is none.
    fn add(&mut self, action: u32, conditions: &[Vec<Condition>]) {
        if conditions.is_empty() {
            self.always.get_or_insert(action);
        }
        for conditions in conditions {
            self.conditional.push(Rule { conditions: conditions.clone(), action });
        }
    }
}

/// The conditions as they apply to the registers of `abi`.
///
/// Those of i386 are 32 bits wide: there -1 is the same value whether a profile writes it with 32 or with 64 bits.
fn as_seen(abi: Abi, conditions: &[Vec<Condition>]) -> Vec<Vec<Condition>> {
    let mut conditions = conditions.to_vec();
    if abi == Abi::I386 {
        conditions.iter_mut().flatten().for_each(|condition| condition.width = Width::Low);
    }
    conditions
}

/// The conditions of a rule: each inner list must hold as a whole, and any of them is enough.
///
/// One condition for an argument each: all must hold. Two for the same argument: any one of the rule's conditions is enough, as
/// in runc, whose users rely on it for "one of these values".
fn conditions(name: &str, args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Condition>>, SeccompError> {
    let mut seen = [false; 6];
    let mut repeated = false;
    let mut all = Vec::with_capacity(args.len());
    for arg in args {
        let Some(seen) = seen.get_mut(arg.index as usize) else {
            return Err(SeccompError::Argument { name: name.to_string(), index: arg.index });
        };
        repeated |= std::mem::replace(seen, true);
        all.push(Condition {
            argument: arg.index as u8,
            width: Width::Full,
            operator: arg.op,
            value: arg.value,
            value_two: arg.value_two,
        });
    }
    Ok(match repeated {
        _ if all.is_empty() => vec![],
        true => all.into_iter().map(|condition| vec![condition]).collect(),
        false => vec![all],
    })
}
