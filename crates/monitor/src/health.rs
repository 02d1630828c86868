//! The healthcheck: when to probe, what a probe's end means, and the probe's process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use cgroup::Cgroup;
use oci::runtime::Process as ProcessSpec;
use runtime::{Exec, Stdio};

use crate::plan::{HealthPlan, LaunchPlan};
use crate::process::MonitorError;
use crate::state::{Health, HealthStatus, Probe};
use crate::time::now_ns;

/// Bytes of a probe's output that are kept; what follows is read and thrown away.
const MAX_OUTPUT: usize = 4096;
/// Probes that are kept.
const MAX_LOG: usize = 5;
const SIGKILL: i32 = 9;
/// The exit code of a probe that did not run to its end.
const NO_RESULT: i32 = -1;

/// What probes of one run of a container need.
#[derive(Debug)]
pub(crate) struct Checker {
    plan: HealthPlan,
    process: ProcessSpec,
    started: Instant,
    next: Instant,
    running: Option<Running>,
}

/// Where probes run.
pub(crate) struct Target<'a> {
    pub(crate) plan: &'a LaunchPlan,
    /// The container's first process.
    pub(crate) container: BorrowedFd<'a>,
    pub(crate) cgroup: &'a Cgroup,
}

#[derive(Debug)]
struct Running {
    process: runtime::Process,
    output: OwnedFd,
    captured: Vec<u8>,
    started_ns: i64,
    /// When it is killed; `None` once it has been.
    deadline: Option<Instant>,
}

impl Checker {
    /// A checker for a container that has just started with `process`.
    pub(crate) fn new(plan: HealthPlan, mut process: ProcessSpec) -> Self {
        process.args = plan.command.clone();
        process.terminal = false;
        let started = Instant::now();
        let mut checker = Self { plan, process, started, next: started, running: None };
        checker.schedule(HealthStatus::Starting);
        checker
    }

    /// When [`Checker::act`] has something to do without any descriptor being ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map_or(Some(self.next), |probe| probe.deadline)
    }

    /// What to poll for reading while a probe runs: its process and its output.
    pub(crate) fn descriptors(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        self.running.as_ref().map(|probe| (probe.process.pidfd(), probe.output.as_fd()))
    }

    /// Starts a probe that is due, or ends one; true when `health` changed.
    pub(crate) fn act(&mut self, target: &Target<'_>, health: &mut Health) -> bool {
        if self.running.is_some() {
            return self.look_after(health);
        }
        if Instant::now() < self.next {
            return false;
        }
        let started_ns = now_ns();
        match self.start(target, started_ns) {
            Ok(probe) => {
                self.running = Some(probe);
                false
            }
            Err(error) => {
                self.record(health, started_ns, NO_RESULT, diag::with_sources(error.error()));
                true
            }
        }
    }

    /// Ends the probe under way when it is over, or when its time is.
    ///
    /// A probe that ran out of time is killed, reported, and then waited for like any other: as long as it is not reaped,
    /// its container's pid namespace cannot end.
    fn look_after(&mut self, health: &mut Health) -> bool {
        let Some(mut probe) = self.running.take() else { return false };
        let exit = probe.process.try_wait().ok().flatten();
        probe.read();
        let timed_out = probe.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        match exit {
            Some(_) if probe.deadline.is_none() => false,
            Some(exit) => {
                let output = String::from_utf8_lossy(&probe.captured).into_owned();
                self.record(health, probe.started_ns, exit.status(), output);
                true
            }
            None if timed_out => {
                let _ = probe.process.kill(SIGKILL);
                let timeout = Duration::from_nanos(self.plan.timeout_ns);
                let text = format!("Health check exceeded timeout ({timeout:?})");
                self.record(health, probe.started_ns, NO_RESULT, text);
                probe.deadline = None;
                self.running = Some(probe);
                true
            }
            None => {
                self.running = Some(probe);
                false
            }
        }
    }

    /// Lets go of the probe under way: its container has ended, and it with it unless it shares the host's pid namespace.
    pub(crate) fn abandon(&mut self) {
        if let Some(probe) = self.running.take() {
            let _ = probe.process.kill(SIGKILL);
            let _ = probe.process.try_wait();
        }
    }

    /// Gives the container a whole interval, and a probe under way its whole time, after a pause.
    pub(crate) fn resume(&mut self) {
        let now = Instant::now();
        self.next = now + Duration::from_nanos(self.plan.interval_ns);
        if let Some(deadline) = self.running.as_mut().and_then(|probe| probe.deadline.as_mut()) {
            *deadline = now + Duration::from_nanos(self.plan.timeout_ns);
        }
    }

    fn start(&self, target: &Target<'_>, started_ns: i64) -> Result<Running, diag::Failure> {
        let pipe = |source| MonitorError::Io { action: "create a pipe for", what: "a probe".into(), source };
        let (output, theirs) = io::pipe().map_err(pipe)?;
        let output = OwnedFd::from(output);
        sys::event::set_nonblocking(output.as_fd(), true).map_err(pipe)?;
        let stderr = theirs.try_clone().map_err(pipe)?;
        let pid = sys::process::pid_of(target.container).map_err(|source| MonitorError::Io {
            action: "find the first process of",
            what: "the container".into(),
            source,
        })?;
        let process = runtime::exec(Exec {
            id: &target.plan.id,
            container: target.container,
            cgroup: Some(target.cgroup),
            process: &self.process,
            linux: None,
            user: &target.plan.user,
            extra_groups: &target.plan.extra_groups,
            seccomp: &target.plan.seccomp,
            state: Some(&target.plan.state(pid)),
            stdio: Stdio::Fds { stdin: None, stdout: Some(theirs.into()), stderr: Some(stderr.into()) },
            preserve_fds: 0,
        })?;
        let deadline = Some(Instant::now() + Duration::from_nanos(self.plan.timeout_ns));
        Ok(Running { process, output, captured: Vec::new(), started_ns, deadline })
    }

    fn record(&mut self, health: &mut Health, start_ns: i64, exit_code: i32, output: String) {
        let in_start_period = self.started.elapsed() < Duration::from_nanos(self.plan.start_period_ns);
        judge(health, self.plan.retries, in_start_period, exit_code == 0);
        if health.log.len() == MAX_LOG {
            health.log.remove(0);
        }
        health.log.push(Probe { start_ns, end_ns: now_ns(), exit_code, output });
        self.schedule(health.status);
    }

    fn schedule(&mut self, status: HealthStatus) {
        let in_start_period = self.started.elapsed() < Duration::from_nanos(self.plan.start_period_ns);
        let interval = if status == HealthStatus::Starting && in_start_period {
            self.plan.start_interval_ns
        } else {
            self.plan.interval_ns
        };
        self.next = Instant::now() + Duration::from_nanos(interval);
    }
}

impl Running {
    /// Reads what the probe wrote; never waits, and bounded, because the probe may write without end.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..16 {
            match sys::event::read_now(self.output.as_fd(), &mut chunk) {
                Ok(Some(n)) if n > 0 => {
                    let room = MAX_OUTPUT - self.captured.len();
                    self.captured.extend_from_slice(&chunk[..n.min(room)]);
                }
                _ => return,
            }
        }
    }
}

/// What one probe's result makes of `health`: a success heals at once; `retries` failures in a row that count make ill.
///
/// Failures in the start period do not count until something has succeeded.
fn judge(health: &mut Health, retries: u32, in_start_period: bool, success: bool) {
    if success {
        health.status = HealthStatus::Healthy;
        health.failing_streak = 0;
        return;
    }
    if in_start_period && health.status == HealthStatus::Starting {
        return;
    }
    health.failing_streak += 1;
    if health.failing_streak >= retries.max(1) {
        health.status = HealthStatus::Unhealthy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds results (`+` success, `-` failure, small letters within the start period) and checks the status after each.
    fn check(results: &str, expected: &str) {
        let mut health = Health::default();
        let mut seen = String::new();
        for result in results.chars() {
            judge(&mut health, 2, matches!(result, 'p' | 'f'), matches!(result, 'p' | '+'));
            seen.push(match health.status {
                HealthStatus::Starting => 's',
                HealthStatus::Healthy => 'h',
                HealthStatus::Unhealthy => 'u',
            });
        }
        assert_eq!(seen, expected, "{results}");
    }

    #[test]
    fn results_become_states() {
        check("+--+", "hhuh");
        check("--", "su");
        // Failures in the start period do not count ...
        check("fff--+", "ssssuh");
        // ... until something has succeeded in it.
        check("pff", "hhu");
    }
}
