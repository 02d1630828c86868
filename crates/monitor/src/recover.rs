//! Putting right what a killed monitor left.
//!
//! The kernel kills the container's first process with its monitor, and with it every process of its pid namespace, unless
//! that process has changed its user since (which takes the parent-death signal back; `gosu` does that).
//! What stays is the control group with what may still live in it, entries of the packet filter, files of names, and a state
//! that says it runs.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use cgroup::Hierarchy;
use diag::Failure;
use net::Netns;

use crate::events::{self, Event};
use crate::plan::{LaunchPlan, Networking};
use crate::process::MonitorError;
use crate::sandbox::{publish_address, remove_cgroup};
use crate::state::{EXIT_KILLED, LOCK_FILE, STATE_FILE, State, Status, load};
use crate::time::now_ns;
use crate::usage::{self, Usage};

/// Undoes what the container in `run_dir` still occupies when its monitor is dead, and records that it was killed.
///
/// Does nothing when there is nothing to do: a monitor is alive, somebody else recovers it just now, or all is in order.
/// Returns whether something was done.
///
/// # Errors
/// The first thing that could not be undone; everything else has been tried, and the next recovery tries all of it again.
pub fn recover(run_dir: &Path) -> Result<bool, Failure> {
    let failed = |action, source| MonitorError::Io { action, what: run_dir.display().to_string(), source };
    let lock = match File::options().write(true).open(run_dir.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("open the lock in", error).into()),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(failed("lock", error).into()),
    }
    let Some(mut state) = load(&run_dir.join(STATE_FILE)).map_err(|e| failed("read the state in", e))? else {
        return Ok(false);
    };
    if !state.occupied {
        return Ok(false);
    }
    let plan = LaunchPlan::read(run_dir).map_err(|e| failed("read the plan in", e))?;
    let mut notes = Vec::new();
    undo_cgroup(&plan, &mut notes);
    undo_network(&plan, &state, &mut notes);
    let was_active = state.status.is_active();
    let ran = was_active && state.status != Status::Restarting;
    if was_active {
        state = state.ended_by(EXIT_KILLED);
        if ran {
            state.finished_at_ns = now_ns();
        }
        state.error = Some("its monitor was killed".to_owned());
    }
    state.ports.clear();
    state.endpoints.clear();
    state.occupied = !notes.is_empty();
    state.save(run_dir, STATE_FILE).map_err(|e| failed("record the state in", e))?;
    state.save_durably(&plan, false);
    if ran {
        report(&plan, &state);
    }
    notes.into_iter().next().map_or(Ok(true), Err)
}

fn undo_cgroup(plan: &LaunchPlan, notes: &mut Vec<Failure>) {
    let hierarchy = match Hierarchy::usable() {
        Ok(hierarchy) => hierarchy,
        Err(error) => return notes.push(error.into()),
    };
    match plan.group(&hierarchy) {
        Ok(cgroup) if cgroup.exists() => remove_cgroup(&cgroup, notes),
        Ok(_) => {}
        Err(error) => notes.push(error.into()),
    }
    cgroup::Supervisor::sweep(&hierarchy, plan.shared_cgroup());
}

fn undo_network(plan: &LaunchPlan, state: &State, notes: &mut Vec<Failure>) {
    let Networking::Private { context, endpoints, .. } = &plan.network else { return };
    if let Some(address) = publish_address(endpoints)
        && !state.ports.is_empty()
    {
        notes.extend(net::unpublish_stale(context, address, &state.ports).err().map(Failure::from));
    }
    for endpoint in endpoints {
        notes.extend(net::detach(context, endpoint, Netns::Ending).err().map(Failure::from));
    }
}

fn report(plan: &LaunchPlan, state: &State) {
    let networks = match &plan.network {
        Networking::Private { endpoints, .. } => &endpoints[..],
        _ => &[],
    };
    usage::tell(plan, networks, Usage::ends);
    let mut event = Event::new("container", "die", &plan.id);
    event.attributes.clone_from(&plan.labels);
    let event = event.with("name", &plan.name).with("image", &plan.image);
    let _ = events::append(&plan.events, &event.with("exitCode", state.exit_code.to_string()));
}
