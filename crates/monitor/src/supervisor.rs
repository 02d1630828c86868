//! The monitor's loop: one container, its streams, its clients, its timers.
//!
//! ```text
//!            exit, policy says again           delay over
//!  Running ───────────────────────▶ Waiting ───────────────▶ Running
//!     │ exit, asked for a restart: straight to Running again    │
//!     │ exit, stays down              │ asked to stop           │ launch failed
//!     └──────────────▶ Over ◀─────────┘◀────────────────────────┘
//! ```
//! What comes in is handled in `requests`; what an end means, in `ending`.

mod ending;
mod requests;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Instant;

use diag::Failure;
use sys::event::{PollFd, PollFlags, SignalFd, poll};

use crate::client;
use crate::connection::{Connection, Waiting};
use crate::events::{self, Event};
use crate::health::{Checker, Target};
use crate::logs::{LogWriter, Stream};
use crate::plan::{LaunchPlan, LogPlan};
use crate::process::{Home, MonitorError};
use crate::protocol::{AttachOptions, Reply, StopOptions};
use crate::restart::Backoff;
use crate::run::Run;
use crate::sandbox::{Groundwork, Sandbox};
use crate::state::{Health, State, Status};
use crate::time::now_ns;
use crate::usage::{self, Usage};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[derive(Debug)]
pub(crate) struct Supervisor {
    home: Home,
    /// The plan, without the parts only a launch needs: `spec` is read again for a restart.
    plan: LaunchPlan,
    state: State,
    sandbox: Sandbox,
    phase: Phase,
    wish: Wish,
    backoff: Backoff,
    log: Option<LogWriter>,
    clients: Vec<Connection>,
    listener: UnixListener,
    signals: SignalFd,
}

#[derive(Debug)]
enum Phase {
    Running(Box<Run>),
    /// Until the restart policy's delay is over.
    Waiting(Instant),
    Over,
}

/// What was asked of a container that is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    /// To stay down; the restart policy does not apply.
    Stop,
    /// To stay down, by who killed it: nobody has it stopped.
    Kill,
    /// To be launched again at once.
    Restart,
}

/// What can become ready.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener,
    Process,
    Output(usize),
    Input,
    Probe,
    Names,
    Forwarder,
    Client(usize),
}

/// What the loop works with; made while the container's first process is setting itself up.
struct Tools {
    log: Option<LogWriter>,
    listener: UnixListener,
    signals: SignalFd,
}

impl Tools {
    fn make(home: &Home, plan: &LaunchPlan) -> Result<Self, Failure> {
        let log = match &plan.log {
            LogPlan::None => None,
            LogPlan::JsonFile { path, max_bytes, max_files } => {
                Some(LogWriter::open(path, *max_bytes, *max_files)?)
            }
        };
        let listener = home.listen()?;
        let signals = SignalFd::new(&[SIGTERM]).map_err(|source| MonitorError::Io {
            action: "take the signals of",
            what: plan.id.clone(),
            source,
        })?;
        Ok(Self { log, listener, signals })
    }
}

/// Makes everything a running container has, or leaves nothing.
fn start_all(
    home: &Home,
    plan: &LaunchPlan,
    groundwork: Groundwork,
) -> Result<(Sandbox, Run, Tools), Failure> {
    let mut sandbox = Sandbox::create(plan, groundwork)?;
    match Run::start(plan, &mut sandbox, || Tools::make(home, plan)) {
        Ok((run, tools)) => Ok((sandbox, run, tools)),
        Err(failure) => {
            sandbox.take_down();
            Err(failure)
        }
    }
}

impl Supervisor {
    /// Launches the container whose plan is in `home`, or leaves nothing.
    pub(crate) fn launch(home: Home, groundwork: Groundwork) -> Result<Box<Self>, Failure> {
        let plan = LaunchPlan::read(&home.run_dir).map_err(|source| MonitorError::Io {
            action: "read the plan in",
            what: home.run_dir.display().to_string(),
            source,
        })?;
        let mut state = ending::previous_state(&home, &plan);
        state.occupied = true;
        // From here on a killed monitor is noticed and what it made is undone.
        home.save(&state).map_err(|source| MonitorError::Io {
            action: "record the state of",
            what: plan.id.clone(),
            source,
        })?;
        let (sandbox, run, tools) = match start_all(&home, &plan, groundwork) {
            Ok(all) => all,
            Err(failure) => {
                ending::record_failed_launch(&home, &plan, state, &failure);
                return Err(failure);
            }
        };
        let mut supervisor = Box::new(Self {
            home,
            plan,
            state,
            sandbox,
            phase: Phase::Over,
            wish: Wish::None,
            backoff: Backoff::default(),
            log: tools.log,
            clients: Vec::new(),
            listener: tools.listener,
            signals: tools.signals,
        });
        supervisor.state.restart_count = 0;
        supervisor.started(run);
        Ok(supervisor)
    }

    /// Makes `run` the running one, and says so to everybody who reads files.
    fn started(&mut self, run: Run) {
        self.state = State {
            version: 1,
            status: Status::Running,
            pid: run.process.pid(),
            monitor_pid: std::process::id().cast_signed(),
            started_at_ns: run.started_ns,
            finished_at_ns: self.state.finished_at_ns,
            restart_count: self.state.restart_count,
            health: run.checker.as_ref().map(|_| Health::default()),
            first_id: self.sandbox.identity.first(),
            warnings: self.sandbox.identity.warning.iter().cloned().collect(),
            ports: self.sandbox.ports(),
            endpoints: self.sandbox.endpoint_ids(),
            occupied: true,
            ..State::default()
        };
        self.phase = Phase::Running(Box::new(run));
        self.wish = Wish::None;
        // Only a launch needs these, and they are most of what a monitor would keep in memory.
        self.plan.spec = oci::runtime::Spec::default();
        usage::tell(&self.plan, self.sandbox.endpoints(), Usage::begins);
        self.change("start", &[]);
    }

    fn started_reply(&self) -> Reply {
        Reply::Started {
            pid: self.state.pid,
            ports: self.state.ports.clone(),
            warnings: self.state.warnings.clone(),
        }
    }

    /// Tells the launcher; its channel becomes an attached client if it asked for that.
    pub(crate) fn report(
        &mut self,
        channel: io::Result<UnixStream>,
        attach: Option<AttachOptions>,
    ) -> Result<(), Failure> {
        let client = channel.and_then(Connection::new);
        let mut client = client.map_err(|source| MonitorError::Io {
            action: "answer the launcher of",
            what: self.plan.id.clone(),
            source,
        })?;
        client.reply(&self.started_reply());
        client.attached = attach;
        if attach.is_none() {
            client.close();
        }
        self.clients.push(client);
        self.keep_rendezvous();
        // Not on the launch's path: it only matters after a power loss.
        self.state.save_durably(&self.plan, false);
        Ok(())
    }

    /// Attaches everybody who waited for the container to be started.
    fn keep_rendezvous(&mut self) {
        for (socket, options) in client::keep_rendezvous(&self.home.run_dir) {
            // Who has gone meanwhile has no further interest.
            if let Ok(client) = Connection::new(socket) {
                self.clients.push(client);
                let _ = self.attach(self.clients.len() - 1, options);
            }
        }
    }

    /// Looks after the container until everything of it is gone.
    pub(crate) fn supervise(mut self: Box<Self>) -> ExitCode {
        while !matches!(self.phase, Phase::Over) {
            match self.wait() {
                Ok(ready) => ready.into_iter().for_each(|source| self.handle(source)),
                // Nothing that can be asked of poll here fails but for lack of memory, which passes.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
            }
            self.act_on_time();
            self.let_clients_go();
        }
        self.finish()
    }

    /// Waits for something to do.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Source::Signals, self.signals.as_fd(), PollFlags::IN);
        add(Source::Listener, self.listener.as_fd(), PollFlags::IN);
        let mut input_is_behind = false;
        if let Phase::Running(run) = &self.phase {
            add(Source::Process, run.process.pidfd(), PollFlags::IN);
            if !self.clients.iter().any(Connection::is_behind) {
                for (index, output) in run.streams.outputs.iter().enumerate() {
                    add(Source::Output(index), output.fd.as_fd(), PollFlags::IN);
                }
            }
            if let Some(input) = run.streams.input.as_ref().filter(|input| input.wants_write()) {
                add(Source::Input, input.fd.as_fd(), PollFlags::OUT);
            }
            if let Some((process, output)) = self.checker().and_then(Checker::descriptors) {
                add(Source::Probe, process, PollFlags::IN);
                add(Source::Probe, output, PollFlags::IN);
            }
            input_is_behind = run.streams.input_is_behind();
        }
        if let Some(server) = self.sandbox.dns() {
            add(Source::Names, server.as_fd(), PollFlags::IN);
        }
        if let Some(process) = self.sandbox.forwarder() {
            add(Source::Forwarder, process, PollFlags::IN);
        }
        for (index, client) in self.clients.iter().enumerate() {
            add(Source::Client(index), client.as_fd(), client.interest(input_is_behind));
        }
        let timeout = self.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        poll(&mut fds, timeout)?;
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    /// When there is something to do at the latest.
    fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Running(run) => {
                let probe = self.checker().and_then(Checker::deadline);
                [run.kill_at, probe].into_iter().flatten().min()
            }
            Phase::Waiting(until) => Some(*until),
            Phase::Over => None,
        };
        [phase, self.sandbox.deadline()].into_iter().flatten().min()
    }

    /// The healthcheck, unless the container is frozen and can neither be probed nor blamed.
    fn checker(&self) -> Option<&Checker> {
        match &self.phase {
            Phase::Running(run) if self.state.status == Status::Running => run.checker.as_ref(),
            _ => None,
        }
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => self.accept(),
            Source::Process => self.check_process(),
            Source::Output(index) => self.pump(index),
            Source::Input => {
                if let Phase::Running(run) = &mut self.phase {
                    run.streams.flush_input();
                }
            }
            Source::Probe => self.check_health(),
            Source::Names => self.sandbox.serve(true, Instant::now()),
            Source::Forwarder => self.sandbox.keep_forwarding(Instant::now()),
            Source::Client(index) => self.talk(index),
        }
    }

    fn act_on_time(&mut self) {
        let now = Instant::now();
        self.sandbox.serve(false, now);
        match &mut self.phase {
            Phase::Running(run) if run.kill_at.is_some_and(|at| now >= at) => {
                run.kill_at = None;
                let _ = run.process.kill(SIGKILL);
                self.event("kill", &[("signal", SIGKILL.to_string())]);
            }
            Phase::Waiting(until) if now >= *until => self.relaunch(true),
            _ => {}
        }
        self.check_health();
    }

    /// The machine is going down, most likely: stop in good order, but not as if the user had asked for it.
    fn take_signals(&mut self) {
        while let Ok(Some(_)) = self.signals.take() {
            self.begin_stop(StopOptions::default());
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            // The directory is closed to others already; this holds even when somebody opened it up.
            let peer = sys::socket::peer_credentials(socket.as_fd());
            let ours = peer.is_ok_and(|peer| peer.uid == 0 || peer.uid == sys::process::user_id());
            if let (true, Ok(client)) = (ours, Connection::new(socket)) {
                self.clients.push(client);
            }
        }
    }

    /// Passes on what the container wrote: to its log first.
    fn pump(&mut self, index: usize) {
        let Phase::Running(run) = &mut self.phase else { return };
        let Some(output) = run.streams.outputs.get(index) else { return };
        let mut buffer = [0; 16 * 1024];
        match output.read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(n)) if n > 0 => {
                deliver(self.log.as_mut(), &mut self.clients, output.stream, &buffer[..n]);
            }
            // Closed by the container, which may well live on without it. Indices stay as they are until the next wait.
            _ => drop(run.streams.outputs.swap_remove(index)),
        }
    }

    fn check_health(&mut self) {
        let Phase::Running(run) = &mut self.phase else { return };
        let (Some(checker), Some(health)) = (&mut run.checker, &mut self.state.health) else { return };
        if self.state.status == Status::Paused {
            return;
        }
        let before = health.status;
        let target =
            Target { plan: &self.plan, container: run.process.pidfd(), cgroup: &self.sandbox.cgroup };
        if checker.act(&target, health) {
            match health.status {
                after if after == before => self.save(),
                after => self.change(&format!("health_status: {}", after.as_str()), &[]),
            }
        }
    }

    /// Drops clients that are done or gone; the end of a client's input is the end of the container's when the plan says so.
    fn let_clients_go(&mut self) {
        let mut input_ends = false;
        self.clients.retain(|client| {
            let over = client.is_over();
            input_ends |= over && client.attached.is_some_and(|options| options.stdin);
            !over
        });
        if let (true, true, Phase::Running(run)) = (input_ends, self.plan.stdin_once, &mut self.phase) {
            run.streams.close_input();
        }
    }

    /// Tells of a change of the state and writes it: in this order, so that who sees the one finds the other.
    fn change(&self, action: &str, details: &[(&str, String)]) {
        self.home.change(|| {
            self.event(action, details);
            self.save();
        });
    }

    /// Writes the state.
    fn save(&self) {
        // The run directory is on tmpfs: this fails when memory is exhausted, and then the next change tries again.
        let _ = self.home.save(&self.state);
    }

    fn event(&self, action: &str, details: &[(&str, String)]) {
        let mut event = Event::new("container", action, &self.plan.id);
        event.attributes.clone_from(&self.plan.labels);
        event = event.with("name", &self.plan.name).with("image", &self.plan.image);
        for (key, value) in details {
            event = event.with(key, value);
        }
        let _ = events::append(&self.plan.events, &event);
    }

    /// Answers every client that waits for `what`.
    fn answer(&mut self, what: Waiting, reply: &Reply) {
        for client in self.clients.iter_mut().filter(|client| client.waiting == Some(what)) {
            client.waiting = None;
            client.reply(reply);
        }
    }

    fn elapsed_since(&self, start_ns: i64) -> i64 {
        (now_ns() - start_ns) / 1_000_000_000
    }
}

fn deliver(log: Option<&mut LogWriter>, clients: &mut [Connection], stream: Stream, bytes: &[u8]) {
    if let Some(log) = log {
        // A full disk must not stop the container; what could not be logged still reaches attached clients.
        let _ = log.write(stream, bytes, now_ns());
    }
    for client in clients {
        client.output(stream, bytes);
    }
}
