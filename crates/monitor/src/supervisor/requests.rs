//! What clients ask, and what is done about it.

use std::time::{Duration, Instant};

use diag::Failure;
use oci::runtime::LinuxResources;

use super::{Phase, SIGKILL, Supervisor, Wish};
use crate::connection::{Incoming, Waiting};
use crate::plan::{LaunchPlan, Networking};
use crate::process::MonitorError;
use crate::protocol::{AttachOptions, Control, Ended, Reply, Request, StopOptions};
use crate::state::Status;

/// Makes `new` the limits of later launches; rules for devices stay.
fn limit(plan: &mut LaunchPlan, new: LinuxResources) {
    let linux = plan.spec.linux.get_or_insert_default();
    let devices = linux.resources.take().map(|old| old.devices).unwrap_or_default();
    linux.resources = Some(LinuxResources { devices, ..new });
}

impl Supervisor {
    /// Reads what client `index` says and does it.
    pub(super) fn talk(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.flush();
        client.receive();
        while let Some(incoming) = self.clients[index].next() {
            match incoming {
                Incoming::Request(request) => {
                    let reply = match self.fulfil(index, request) {
                        Ok(Some(reply)) => reply,
                        Ok(None) => continue,
                        Err(failure) => Reply::Failed(crate::failure::Remote::new(&failure)),
                    };
                    self.clients[index].reply(&reply);
                }
                Incoming::Stdin(bytes) => {
                    let takes_part = self.clients[index].attached.is_some_and(|options| options.stdin);
                    if let (true, Phase::Running(run)) = (takes_part, &mut self.phase) {
                        run.streams.write_input(&bytes);
                    }
                }
                Incoming::Control(control) => self.control(index, &control),
            }
        }
    }

    fn control(&mut self, index: usize, control: &Control) {
        match control {
            Control::Resize { rows, columns } => {
                if let Phase::Running(run) = &self.phase {
                    run.streams.resize(*rows, *columns);
                }
            }
            Control::CloseStdin => {
                let takes_part = self.clients[index].attached.is_some_and(|options| options.stdin);
                if let (true, true, Phase::Running(run)) = (takes_part, self.plan.stdin_once, &mut self.phase)
                {
                    run.streams.close_input();
                }
            }
            Control::Reaping => self.clients[index].reaping = true,
            Control::Exited(_) => {}
        }
    }

    /// Does what was asked; `None` when the answer comes later or has been given.
    fn fulfil(&mut self, index: usize, request: Request) -> Result<Option<Reply>, Failure> {
        match request {
            Request::Launch { .. } => return Err(MonitorError::Unexpected.into()),
            Request::Attach(options) => return self.attach(index, options).map(|()| None),
            Request::Stop(options) => {
                self.clients[index].waiting = Some(Waiting::Stop);
                self.state.stopped_by_user = true;
                self.begin_stop(options);
                return Ok(None);
            }
            Request::Restart(options) => {
                self.clients[index].waiting = Some(Waiting::Restart);
                self.begin_restart(options);
                return Ok(None);
            }
            Request::Wait => {
                self.clients[index].waiting = Some(Waiting::Exit);
                return Ok(None);
            }
            Request::Kill { signal } => self.kill(signal)?,
            Request::Pause => self.pause()?,
            Request::Unpause => self.unpause()?,
            Request::Resize { rows, columns } => self.resize(rows, columns)?,
            Request::ConnectNetwork { endpoint } => {
                self.sandbox.add_endpoint(*endpoint)?;
                self.network_changed()?;
            }
            Request::DisconnectNetwork { network } => {
                self.sandbox.remove_endpoint(&network)?;
                self.network_changed()?;
            }
            Request::Rename { name } => self.rename(&name)?,
            Request::Update { restart, resources } => {
                if let Some(resources) = resources {
                    self.sandbox.cgroup.update(&resources)?;
                    self.amend_plan(|plan| limit(plan, *resources))?;
                }
                if let Some(restart) = restart {
                    self.plan.restart = restart;
                    self.amend_plan(|plan| plan.restart = restart)?;
                }
            }
        }
        Ok(Some(Reply::Done))
    }

    pub(super) fn attach(&mut self, index: usize, options: AttachOptions) -> Result<(), Failure> {
        let id = || self.plan.id.clone();
        match self.state.status {
            Status::Paused => return Err(MonitorError::Paused { id: id(), action: "attach" }.into()),
            Status::Restarting => return Err(MonitorError::Restarting { id: id() }.into()),
            _ => {}
        }
        let Phase::Running(run) = &self.phase else {
            return Err(MonitorError::NotRunning { id: id() }.into());
        };
        if let Some((rows, columns)) = options.size {
            run.streams.resize(rows, columns);
        }
        let client = &mut self.clients[index];
        client.reply(&Reply::Attached { tty: self.plan.tty });
        client.attached = Some(options);
        self.event("attach", &[]);
        Ok(())
    }

    /// Asks the container to stop and to stay down; it is killed when it has not by the timeout.
    pub(super) fn begin_stop(&mut self, options: StopOptions) {
        self.wish = Wish::Stop;
        match &mut self.phase {
            Phase::Running(run) => {
                let signal = options.signal.unwrap_or(self.plan.stop_signal);
                let timeout = options.timeout_s.unwrap_or(self.plan.stop_timeout_s);
                let _ = run.process.kill(signal);
                // A second request may shorten the time, or lengthen it. Nothing needs killing twice.
                let timeout = u64::try_from(timeout).ok().filter(|_| signal != SIGKILL);
                let timeout = timeout.map(Duration::from_secs);
                run.kill_at = timeout.map(|timeout| Instant::now() + timeout);
                // A frozen container gets no signal until it thaws.
                if self.state.status == Status::Paused {
                    let _ = self.unpause();
                }
                self.event("kill", &[("signal", signal.to_string())]);
            }
            Phase::Waiting(_) => {
                self.state.status = Status::Exited;
                self.phase = Phase::Over;
            }
            Phase::Over => {}
        }
    }

    fn begin_restart(&mut self, options: StopOptions) {
        self.state.restart_count = 0;
        match self.phase {
            Phase::Waiting(_) => self.relaunch(false),
            _ => {
                self.begin_stop(options);
                self.wish = Wish::Restart;
            }
        }
    }

    fn kill(&mut self, signal: i32) -> Result<(), Failure> {
        let Phase::Running(run) = &self.phase else {
            return Err(MonitorError::NotRunning { id: self.plan.id.clone() }.into());
        };
        run.process.kill(signal).map_err(|source| MonitorError::Io {
            action: "signal",
            what: self.plan.id.clone(),
            source,
        })?;
        // As in Docker: who kills a container does not want it back.
        if signal == SIGKILL || signal == self.plan.stop_signal {
            if self.wish != Wish::Stop {
                self.wish = Wish::Kill;
            }
            self.state.stopped_by_user = true;
            if self.state.status == Status::Paused {
                self.unpause()?;
            }
        }
        self.event("kill", &[("signal", signal.to_string())]);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failure> {
        let id = || self.plan.id.clone();
        match self.state.status {
            Status::Running => {}
            Status::Paused => return Err(MonitorError::AlreadyPaused { id: id() }.into()),
            Status::Restarting => return Err(MonitorError::Restarting { id: id() }.into()),
            _ => return Err(MonitorError::NotRunning { id: id() }.into()),
        }
        self.sandbox.cgroup.freeze()?;
        self.state.status = Status::Paused;
        self.change("pause", &[]);
        Ok(())
    }

    fn unpause(&mut self) -> Result<(), Failure> {
        if self.state.status != Status::Paused {
            return Err(MonitorError::NotPaused { id: self.plan.id.clone() }.into());
        }
        self.sandbox.cgroup.thaw()?;
        self.state.status = Status::Running;
        if let Phase::Running(run) = &mut self.phase
            && let Some(checker) = &mut run.checker
        {
            checker.resume();
        }
        self.change("unpause", &[]);
        Ok(())
    }

    fn resize(&mut self, rows: u16, columns: u16) -> Result<(), Failure> {
        let id = || self.plan.id.clone();
        let Phase::Running(run) = &self.phase else {
            return Err(MonitorError::NotRunning { id: id() }.into());
        };
        match run.streams.resize(rows, columns) {
            None => Err(MonitorError::NoTerminal { id: id() }.into()),
            Some(result) => Ok(result.map_err(|source| MonitorError::Io {
                action: "resize the terminal of",
                what: id(),
                source,
            })?),
        }
    }

    fn rename(&mut self, name: &str) -> Result<(), Failure> {
        let old = std::mem::replace(&mut self.plan.name, name.to_owned());
        self.sandbox.rename(&old, name)?;
        self.amend_plan(|plan| name.clone_into(&mut plan.name))?;
        self.network_changed()
    }

    /// Records endpoints and ports after they changed, so that a restart or a recovery knows them.
    fn network_changed(&mut self) -> Result<(), Failure> {
        self.state.ports = self.sandbox.ports();
        self.state.endpoints = self.sandbox.endpoint_ids();
        self.save();
        let endpoints_now = self.sandbox.endpoints().to_vec();
        self.amend_plan(|plan| {
            if let Networking::Private { endpoints, .. } = &mut plan.network {
                *endpoints = endpoints_now;
            }
        })
    }

    fn amend_plan(&self, change: impl FnOnce(&mut LaunchPlan)) -> Result<(), Failure> {
        let run_dir = &self.home.run_dir;
        let amended = LaunchPlan::read(run_dir).and_then(|mut plan| {
            change(&mut plan);
            plan.save(run_dir)
        });
        Ok(amended.map_err(|source| MonitorError::Io {
            action: "record a change in the plan of",
            what: self.plan.id.clone(),
            source,
        })?)
    }

    /// How the container ended last.
    pub(super) fn ended(&self, restarting: bool) -> Ended {
        Ended {
            code: self.state.exit_code,
            oom_killed: self.state.oom_killed,
            finished_at_ns: self.state.finished_at_ns,
            restarting,
            error: self.state.error.clone(),
        }
    }
}
