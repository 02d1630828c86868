//! System call filters as the specification writes them; `runtime::seccomp` compiles them.

use serde::{Deserialize, Serialize};

use super::object;

object! {
    /// A filter: what happens to every call, and the calls treated otherwise.
    LinuxSeccomp {
        default_action: SeccompAction,
        ;
        default_errno_ret: Option<u32>,
        architectures: Vec<String>,
        flags: Vec<String>,
        listener_path: Option<String>,
        listener_metadata: Option<String>,
        syscalls: Vec<LinuxSyscall>,
    }
}

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SeccompAction {
    #[serde(rename = "SCMP_ACT_KILL")]
    Kill,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

object! {
    /// One rule of a filter.
    LinuxSyscall {
        names: Vec<String>,
        action: SeccompAction,
        ;
        errno_ret: Option<u32>,
        args: Vec<LinuxSeccompArg>,
    }
}

object! {
    /// A condition on one argument of a call.
    #[derive(Copy)]
    LinuxSeccompArg {
        index: u32,
        value: u64,
        op: SeccompOperator,
        ;
        value_two: u64,
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SeccompOperator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `argument & value == value_two`.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}
