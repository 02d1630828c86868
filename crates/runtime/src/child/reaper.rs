//! PID 1 for programs that are no init: passes signals on and collects orphans (`--init`).

use std::os::fd::AsFd;

use sys::process::{Clone, Cloned, Ended};

use super::finish::{drop_rights, install};
use crate::channel::{At, Fault};
use crate::error::Step;
use crate::plan::{ProcessPlan, Rights};
use crate::seccomp::Program;

const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

/// Forks; the child returns and becomes the program, this process stays as its init and never returns.
pub fn split(plan: &ProcessPlan<'_>, uid: u32, terminal: bool) -> Result<(), Fault> {
    let id = || plan.id.to_owned();
    // Before the fork: a signal that arrives early waits for the loop instead of being lost.
    sys::signal::block_all().at(Step::Reaper, id)?;
    match sys::process::clone(Clone::default()).at(Step::Reaper, id)? {
        Cloned::Child => {
            sys::process::new_group().at(Step::Reaper, id)?;
            if terminal {
                // All signals are blocked here, SIGTTOU too, so a background group may do this.
                sys::terminal::set_foreground(std::io::stdin().as_fd()).at(Step::Reaper, id)?;
            }
            sys::process::set_dumpable(false).at(Step::Reaper, id)?;
            sys::signal::reset().at(Step::Reaper, id)
        }
        Cloned::Parent { pid, .. } => supervise(&rights(plan, uid), plan.filter.as_ref(), pid),
    }
}

/// What an exec would leave the init process: only root turns its capabilities into permitted ones.
fn rights(plan: &ProcessPlan<'_>, uid: u32) -> Rights {
    match uid {
        0 => plan.rights,
        _ => Rights { effective: plan.rights.ambient, permitted: plan.rights.ambient, ..plan.rights },
    }
}

/// Ends as the program ends. What else still runs in the container ends with PID 1.
fn supervise(rights: &Rights, filter: Option<&Program>, program: i32) -> ! {
    // The channel too: its end in the program alone tells the caller that the exec went well.
    if sys::process::close_from(3).is_err() || drop_rights(rights, || filter.map_or(Ok(()), install)).is_err()
    {
        sys::process::exit(1);
    }
    // CVE-2019-5736: this is hull's own program, which nobody in the container may reach through /proc/1.
    let _ = sys::process::set_dumpable(false);
    let _ = sys::process::set_name(c"hull-init");
    loop {
        match sys::signal::wait().map(|taken| taken.signal) {
            Ok(SIGCHLD) => {}
            // The terminal stops background readers; this process reads nothing.
            Ok(SIGTTIN | SIGTTOU) => continue,
            Ok(signal) => {
                let _ = sys::process::kill(program, signal);
                continue;
            }
            Err(_) => sys::process::exit(1),
        }
        while let Ok(Some((pid, ended))) = sys::process::reap_any() {
            if pid == program {
                sys::process::exit(match ended {
                    Ended::Exited(code) => code,
                    Ended::Signaled(signal) => 128 + signal as u8,
                });
            }
        }
    }
}
