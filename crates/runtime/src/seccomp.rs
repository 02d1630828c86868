//! System call filters: what a profile says, compiled to the program the kernel runs.
//!
//! [`Seccomp::compile`] goes from the profile and the container's capabilities to a [`Program`], before anything is cloned;
//! [`Program::install`] allocates nothing and is the child's. The default profile is a table of ours with Docker's verdicts
//! ([`syscalls`]), compiled in advance for the usual capabilities ([`usual`]); a profile file in Docker's format ([`Profile`]) is resolved to a filter of the
//! runtime-spec first, as Docker does.
//!
//! Invariants:
//! - A rule that restricts is compiled or refused, never skipped. A rule that allows a call nobody knows is skipped, and in a
//!   filter of the runtime-spec every rule about such a call: engines write theirs for kernels newer than any table.
//! - A call through an ABI the filter does not name kills the process, so that no second numbering is a way around.
//! - Calls newer than every call a filter names get `ENOSYS`, as in runc, because libraries then use the older call.

mod abi;
mod docker;
mod filter;
mod profile;
mod program;
mod syscalls;
#[cfg(test)]
mod tests;
mod usual;

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use diag::{Class, Diagnose};
use oci::runtime::{LinuxSeccomp, Spec};
use serde::{Deserialize, Serialize};
use sys::capability::CapabilitySet;
use sys::seccomp::{Flags, Instruction, MAX_INSTRUCTIONS};

pub(crate) use filter::FLAGS;
use filter::Unknown;
pub use profile::{Conditions, Profile, ProfileRule};

/// Which filter a container gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Docker's default profile, for the container's capabilities.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's format, from `--security-opt seccomp=<file>`.
    Profile(Box<Profile>),
    /// A filter of the runtime-spec, from a bundle's `config.json`.
    Spec(Box<LinuxSeccomp>),
}

impl Seccomp {
    /// What `spec` says: its filter, or none.
    pub fn of(spec: &Spec) -> Self {
        match spec.linux.as_ref().and_then(|linux| linux.seccomp.clone()) {
            Some(filter) => Self::Spec(Box::new(filter)),
            None => Self::Unconfined,
        }
    }

    /// Compiles the filter for a container whose bounding set is `capabilities`; `None` when there is none to install.
    ///
    /// # Errors
    /// A profile that contradicts itself, or asks for what hull cannot do.
    pub fn compile(&self, capabilities: CapabilitySet) -> Result<Option<Program>, SeccompError> {
        let program = match self {
            Self::Unconfined => return Ok(None),
            Self::Default => docker::program(capabilities),
            Self::Profile(profile) => {
                let filter = profile.resolve(capabilities, sys::seccomp::kernel_version())?;
                filter::compile(&filter, Unknown::Refused)?
            }
            Self::Spec(filter) => filter::compile(filter, Unknown::Skipped)?,
        };
        match program.instructions.len() {
            length if length > MAX_INSTRUCTIONS => Err(SeccompError::TooLong { length }),
            _ => Ok(Some(program)),
        }
    }
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Cow<'static, [Instruction]>,
    flags: Flags,
    agent: Option<Agent>,
}

/// Who answers for the calls that a filter leaves to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Where it listens.
    pub path: PathBuf,
    /// Passed on to it.
    pub metadata: Option<String>,
}

impl Program {
    /// Installs the filter for the calling thread and what it forks and executes.
    ///
    /// Needs `no_new_privs` or `CAP_SYS_ADMIN`: without the former it must come before capabilities are dropped, and what the
    /// child still has to do after it must be allowed by the profile. It allocates nothing.
    pub fn install(&self) -> io::Result<()> {
        sys::seccomp::install(&self.instructions, self.flags.without_listener())
    }

    /// As [`Self::install`]; returns the descriptor that the program's agent answers through.
    pub(crate) fn install_listening(&self) -> io::Result<OwnedFd> {
        sys::seccomp::install_listening(&self.instructions, self.flags)
    }

    /// The agent, when a call may wait for one.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether it has no instruction, which the kernel would refuse.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SeccompError {
    #[error("the seccomp profile is not valid JSON for a profile")]
    Parse { source: serde_json::Error },
    #[error("the seccomp profile has both `{one}` and `{other}`")]
    Both { one: &'static str, other: &'static str },
    #[error("the seccomp profile names an unknown {kind}: `{name}`")]
    Unknown { kind: &'static str, name: String },
    #[error("the seccomp profile restricts `{name}`, a system call hull does not know")]
    UnknownSyscall { name: String },
    #[error("the seccomp profile has a rule for no system call")]
    Nameless,
    #[error("the seccomp profile gives an errno to {action}, which returns none")]
    NeedlessErrno { action: &'static str },
    #[error("the seccomp profile has an impossible errno: {errno}")]
    Errno { errno: u32 },
    #[error("the seccomp profile has a rule on argument {index} of `{name}`; the last one is 5")]
    Argument { name: String, index: u32 },
    #[error("the seccomp profile has SCMP_ACT_NOTIFY but no listenerPath, so nobody could answer")]
    NoListener,
    #[error("this kernel does not have {what}, which the seccomp profile asks for")]
    Unsupported { what: String },
    #[error("the seccomp profile is too long: {length} of at most {MAX_INSTRUCTIONS} instructions")]
    TooLong { length: usize },
}

impl Diagnose for SeccompError {
    fn class(&self) -> Class {
        match self {
            Self::Unsupported { .. } => Class::Unsupported,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownSyscall { .. } => "check its spelling, or leave the rule out",
            Self::TooLong { .. } => "merge rules on arguments of the same call",
            Self::Parse { .. } => "see https://docs.docker.com/engine/security/seccomp/ for the format",
            _ => return None,
        };
        Some(hint.to_string())
    }
}
