//! The healthcheck: when to probe, what a probe's end means, and the probe's process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use oci::runtime::Process as ProcessSpec;
use runtime::{Exec, Stdio, UserSpec};

use crate::plan::HealthPlan;
use crate::process::MonitorError;
use crate::state::{Health, HealthStatus, Probe};
use crate::time::now_ns;

/// Bytes of a probe's output that are kept; what follows is read and thrown away.
const MAX_OUTPUT: usize = 4096;
/// Probes that are kept.
const MAX_LOG: usize = 5;
/// The exit code of a probe that did not run to its end.
const NO_RESULT: i32 = -1;

/// What probes of one run of a container need.
#[derive(Debug)]
pub(crate) struct Checker {
    plan: HealthPlan,
    process: ProcessSpec,
    user: UserSpec,
    groups: Vec<String>,
    started: Instant,
    next: Instant,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: runtime::Process,
    output: OwnedFd,
    captured: Vec<u8>,
    started_ns: i64,
    deadline: Instant,
}

impl Checker {
    /// A checker for a container that has just started with `process`.
    pub(crate) fn new(
        plan: HealthPlan,
        mut process: ProcessSpec,
        user: UserSpec,
        groups: Vec<String>,
    ) -> Self {
        process.args = plan.command.clone();
        process.terminal = false;
        let started = Instant::now();
        let mut checker = Self { plan, process, user, groups, started, next: started, running: None };
        checker.schedule(HealthStatus::Starting);
        checker
    }

    /// When [`Checker::act`] has something to do without any descriptor being ready.
    pub(crate) fn deadline(&self) -> Instant {
        self.running.as_ref().map_or(self.next, |probe| probe.deadline)
    }

    /// What to poll for reading while a probe runs: its process and its output.
    pub(crate) fn descriptors(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        self.running.as_ref().map(|probe| (probe.process.pidfd(), probe.output.as_fd()))
    }

    /// Starts a probe that is due, or ends one; true when `health` changed.
    pub(crate) fn act(&mut self, id: &str, container: BorrowedFd<'_>, health: &mut Health) -> bool {
        let now = Instant::now();
        if let Some(probe) = &mut self.running {
            let exit = probe.process.try_wait().ok().flatten();
            probe.read();
            let result = match exit {
                Some(exit) => (exit.status(), String::from_utf8_lossy(&probe.captured).into_owned()),
                None if now >= probe.deadline => {
                    let _ = probe.process.kill(9);
                    let _ = probe.process.wait();
                    let timeout = Duration::from_nanos(self.plan.timeout_ns);
                    (NO_RESULT, format!("Health check exceeded timeout ({timeout:?})"))
                }
                None => return false,
            };
            let started_ns = probe.started_ns;
            self.running = None;
            self.record(health, started_ns, result);
            return true;
        }
        if now < self.next {
            return false;
        }
        let started_ns = now_ns();
        match self.start(id, container, started_ns) {
            Ok(probe) => {
                self.running = Some(probe);
                false
            }
            Err(error) => {
                self.record(health, started_ns, (NO_RESULT, crate::failure::one_line(&error)));
                true
            }
        }
    }

    /// Gives the container a whole interval, and a probe under way its whole time, after a pause.
    pub(crate) fn resume(&mut self) {
        let now = Instant::now();
        self.next = now + Duration::from_nanos(self.plan.interval_ns);
        if let Some(probe) = &mut self.running {
            probe.deadline = now + Duration::from_nanos(self.plan.timeout_ns);
        }
    }

    fn start(&self, id: &str, container: BorrowedFd<'_>, started_ns: i64) -> Result<Running, diag::Failure> {
        let pipe = |source| MonitorError::Io { action: "create a pipe for", what: "a probe".into(), source };
        let (output, theirs) = io::pipe().map_err(pipe)?;
        let output = OwnedFd::from(output);
        sys::event::set_nonblocking(output.as_fd(), true).map_err(pipe)?;
        let stderr = theirs.try_clone().map_err(pipe)?;
        let process = runtime::exec(Exec {
            id,
            container,
            process: &self.process,
            user: &self.user,
            extra_groups: &self.groups,
            stdio: Stdio::Fds { stdin: None, stdout: Some(theirs.into()), stderr: Some(stderr.into()) },
        })?;
        let deadline = Instant::now() + Duration::from_nanos(self.plan.timeout_ns);
        Ok(Running { process, output, captured: Vec::new(), started_ns, deadline })
    }

    fn record(&mut self, health: &mut Health, start_ns: i64, (exit_code, output): (i32, String)) {
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
