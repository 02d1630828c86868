//! The end of a run, and the end of everything.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use diag::Failure;
use sys::event::{PollFd, PollFlags, poll};

use super::{Phase, Supervisor, Wish, deliver};
use crate::connection::{Connection, Incoming, Waiting};
use crate::plan::{LaunchPlan, RestartPolicy};
use crate::process::{Home, reap};
use crate::protocol::{Control, Reply};
use crate::run::Run;
use crate::state::{self, EXIT_FILE, STATE_FILE, State, Status};
use crate::time::now_ns;
use crate::usage::{self, Usage};

/// The exit code of a container that could not be started, when the failure dictates none; Docker's.
const EXIT_NOT_STARTED: i32 = 128;
/// How long a client that said it would remove the container has to say that it does.
const REAPING_PATIENCE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Looks whether the container's process has ended.
    pub(super) fn check_process(&mut self) {
        let Phase::Running(run) = &mut self.phase else { return };
        let exit = match run.process.try_wait() {
            Ok(None) => return,
            Ok(Some(exit)) => exit.status(),
            // Somebody else reaped it; what is sure is that it is gone.
            Err(_) => state::EXIT_KILLED,
        };
        self.drain();
        let Phase::Running(mut run) = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        if let Some(checker) = &mut run.checker {
            checker.abandon();
        }
        self.run_ended(*run, exit);
    }

    /// Takes what the container wrote last; its processes are gone, so the pipes hold all there will be.
    fn drain(&mut self) {
        let Phase::Running(run) = &mut self.phase else { return };
        for output in run.streams.outputs.drain(..) {
            output.drain(|bytes| deliver(self.log.as_mut(), &mut self.clients, output.stream, bytes));
        }
        if let Some(log) = &mut self.log {
            let _ = log.finish(now_ns());
        }
    }

    fn run_ended(&mut self, run: Run, exit_code: i32) {
        self.state.exit_code = exit_code;
        self.state.finished_at_ns = now_ns();
        self.state.pid = 0;
        self.state.oom_killed = self.sandbox.take_oom();
        if self.state.oom_killed {
            self.event("oom", &[]);
        }
        let delay = match self.wish {
            Wish::Stop | Wish::Kill => None,
            Wish::Restart => Some(Duration::ZERO),
            Wish::None => {
                let (ran, count) = (run.started.elapsed(), self.state.restart_count);
                self.backoff.next(self.plan.restart, exit_code, ran, count)
            }
        };
        self.state.status = if delay.is_some() { Status::Restarting } else { Status::Exited };
        usage::tell(&self.plan, self.sandbox.endpoints(), Usage::ends);
        let duration = self.elapsed_since(run.started_ns).to_string();
        self.change("die", &[("exitCode", exit_code.to_string()), ("execDuration", duration)]);
        let ended = self.ended(delay.is_some());
        for client in self.clients.iter_mut().filter(|client| client.attached.is_some()) {
            client.control(&Control::Exited(ended.clone()));
        }
        // Unmounts what the container saw, before anybody hears that everything is gone.
        drop(run.mounts);
        match delay {
            None => {}
            Some(delay) => {
                self.close_attached();
                self.answer(Waiting::Exit, &Reply::Exited(ended));
                if self.wish == Wish::Restart {
                    self.event("stop", &[]);
                    self.relaunch(false);
                } else {
                    self.phase = Phase::Waiting(Instant::now() + delay);
                }
            }
        }
    }

    /// Launches the container again, by the restart policy or because the user asked.
    pub(super) fn relaunch(&mut self, by_policy: bool) {
        let launched = LaunchPlan::read(&self.home.run_dir)
            .map_err(|source| {
                let what = self.plan.id.clone();
                crate::process::MonitorError::Io { action: "read the plan of", what, source }.into()
            })
            .and_then(|plan| Run::start(&plan, &mut self.sandbox, || Ok(())));
        match launched {
            Ok((run, ())) => {
                self.state.restart_count += u32::from(by_policy);
                self.started(run);
                if !by_policy {
                    self.event("restart", &[]);
                }
                let reply = self.started_reply();
                self.answer(Waiting::Restart, &reply);
                self.state.save_durably(&self.plan, false);
            }
            Err(failure) => {
                note_failure(&mut self.state, &failure);
                self.state.status = Status::Exited;
                self.phase = Phase::Over;
                let remote = crate::failure::Remote::new(&failure);
                self.answer(Waiting::Restart, &Reply::Failed(remote));
            }
        }
    }

    /// Takes everything down, records the end, and tells everybody who waits for it.
    pub(super) fn finish(self: Box<Self>) -> ExitCode {
        if self.wish == Wish::Stop {
            self.event("stop", &[]);
        }
        let reply = Reply::Exited(self.ended(false));
        let Self { home, plan, mut state, sandbox, mut clients, listener, .. } = *self;
        let notes = sandbox.take_down();
        // A client that removes the container may be at it: no file may appear in its directories any more.
        let reaped_by_client = plan.auto_remove && await_reaper(&mut clients);
        if !reaped_by_client {
            record_end(&home, &plan, &mut state, &notes);
        }
        // Who connected too late for an answer is told by the end of the connection, not left waiting for a slow client's.
        drop(listener);
        for client in &mut clients {
            if client.waiting.take().is_some() {
                client.reply(&reply);
            }
        }
        home.leave();
        say_goodbye(clients);
        if plan.auto_remove && !reaped_by_client { reap(&plan.reap) } else { ExitCode::SUCCESS }
    }

    /// Lets attached clients go: their run is over.
    fn close_attached(&mut self) {
        self.clients.iter_mut().filter(|client| client.attached.is_some()).for_each(Connection::close);
    }
}

fn record_end(home: &Home, plan: &LaunchPlan, state: &mut State, notes: &[Failure]) {
    state.ports.clear();
    state.endpoints.clear();
    state.monitor_pid = 0;
    // What could not be undone is left to the next recovery.
    state.occupied = !notes.is_empty();
    let _ = home.save(state);
    // That the user wanted it down must hold over a power loss, where a policy would start it again.
    let sync = state.stopped_by_user && plan.restart == RestartPolicy::UnlessStopped;
    state.save_durably(plan, sync);
}

/// Waits until an attached client that said it would remove the container says that it does, or is gone.
fn await_reaper(clients: &mut [Connection]) -> bool {
    let patience = Instant::now() + REAPING_PATIENCE;
    loop {
        let Some(client) = clients.iter_mut().find(|client| client.will_remove()) else { return false };
        if client.reaping {
            return true;
        }
        let left = patience.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let flags = client.interest(false);
        if poll(&mut [PollFd::from_borrowed_fd(client.as_fd(), flags)], Some(left)).is_err() {
            return false;
        }
        client.flush();
        client.receive();
        while let Some(said) = client.next() {
            client.reaping |= matches!(said, Incoming::Control(Control::Reaping));
        }
    }
}

/// Sends every client the rest of what it has to be told; a slow one is waited for as a pipe's writer would.
fn say_goodbye(mut clients: Vec<Connection>) {
    clients.iter_mut().for_each(Connection::close);
    loop {
        clients.retain(|client| !client.is_over());
        if clients.is_empty() {
            return;
        }
        let mut fds: Vec<_> =
            clients.iter().map(|client| PollFd::from_borrowed_fd(client.as_fd(), PollFlags::OUT)).collect();
        if poll(&mut fds, None).is_err() {
            return;
        }
        clients.iter_mut().for_each(Connection::flush);
    }
}

/// What is known of the container before this launch.
pub(super) fn previous_state(home: &Home, plan: &LaunchPlan) -> State {
    let of = |directory: &Path, name| state::load(&directory.join(name)).ok().flatten();
    let recorded = of(&home.run_dir, STATE_FILE).or_else(|| of(&plan.data_dir, EXIT_FILE));
    let mut state = recorded.unwrap_or_default();
    if state.status.is_active() {
        state = state.ended_by(state::EXIT_LOST_AT_BOOT);
    }
    state
}

/// Records a launch that failed, and that nothing of it is left.
pub(super) fn record_failed_launch(home: &Home, plan: &LaunchPlan, mut state: State, failure: &Failure) {
    note_failure(&mut state, failure);
    state.occupied = false;
    let _ = home.save(&state);
    state.save_durably(plan, false);
}

fn note_failure(state: &mut State, failure: &Failure) {
    state.exit_code = failure.exit_status().map_or(EXIT_NOT_STARTED, i32::from);
    state.error = Some(diag::with_sources(failure.error()));
}
