//! What runs in the container and with which rights.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::object;

object! {
    /// The container's process, or one more started in it.
    #[derive(Default)]
    Process {
        cwd: PathBuf,
        /// Always written, as every runtime does: youki does not read a process without it.
        #[serde(default)]
        user: User,
        ;
        terminal: bool,
        console_size: Option<ConsoleSize>,
        args: Vec<String>,
        env: Vec<String>,
        capabilities: Option<LinuxCapabilities>,
        rlimits: Vec<Rlimit>,
        no_new_privileges: bool,
        apparmor_profile: Option<String>,
        oom_score_adj: Option<i32>,
        selinux_label: Option<String>,
        io_priority: Option<LinuxIoPriority>,
        scheduler: Option<LinuxScheduler>,
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<CpuAffinity>,
    }
}

impl Process {
    /// Sets a limit, in place of one of the same type.
    pub fn set_rlimit(&mut self, limit: Rlimit) {
        self.rlimits.retain(|other| other.r#type != limit.r#type);
        self.rlimits.push(limit);
    }
}

object! {
    /// The first size of the terminal, in characters.
    #[derive(Copy, Default)]
    ConsoleSize {
        height: u64,
        width: u64,
        ;
    }
}

object! {
    /// Numeric ids of the process inside the container.
    #[derive(Default)]
    User {
        #[serde(default)]
        uid: u32,
        #[serde(default)]
        gid: u32,
        ;
        umask: Option<u32>,
        additional_gids: Vec<u32>,
        username: Option<String>,
    }
}

object! {
    /// The five capability sets, by name (`CAP_CHOWN`).
    #[derive(Default)]
    LinuxCapabilities {
        ;
        bounding: Vec<String>,
        effective: Vec<String>,
        inheritable: Vec<String>,
        permitted: Vec<String>,
        ambient: Vec<String>,
    }
}

object! {
    /// A resource limit, `type` being `RLIMIT_NOFILE` and so on.
    #[derive(Default)]
    Rlimit {
        r#type: String,
        soft: u64,
        hard: u64,
        ;
    }
}

object! {
    /// I/O priority; see ioprio_set(2).
    #[derive(Copy)]
    LinuxIoPriority {
        class: IoPriorityClass,
        ;
        priority: i32,
    }
}

/// The scheduling class of [`LinuxIoPriority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum IoPriorityClass {
    #[serde(rename = "IOPRIO_CLASS_RT")]
    RealTime,
    #[serde(rename = "IOPRIO_CLASS_BE")]
    BestEffort,
    #[serde(rename = "IOPRIO_CLASS_IDLE")]
    Idle,
}

object! {
    /// Scheduling policy and its parameters; see sched_setattr(2).
    #[derive(Default)]
    LinuxScheduler {
        ;
        policy: Option<String>,
        nice: i32,
        priority: i32,
        flags: Vec<String>,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
}

object! {
    /// CPUs for an exec'd process before and after it enters the container's cgroup.
    #[derive(Default)]
    CpuAffinity {
        ;
        initial: Option<String>,
        r#final: Option<String>,
    }
}
