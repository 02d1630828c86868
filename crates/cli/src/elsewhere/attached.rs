//! A session with a container of another engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use api::stream::Output;
use engine::model::ExecSpec;
use monitor::client::Frame;
use monitor::logs::Stream;
use remote::frames::Frames;
use remote::{Awaited, Client, Hijacked, RemoteError};
use serde_json::{Value, json};
use sys::event::{PollFd, PollFlags, SignalFd, poll};

use crate::commands::container::foreground::{Foreground, ForegroundError, exit_code};
use crate::commands::{Ended, Outcome};
use crate::session::{self, DetachKeys, End, Options, Peer};

/// The connection to a container's input and output.
pub struct Attached<'a> {
    client: &'a Client,
    /// `containers` or `exec`, and the id.
    place: [&'a str; 2],
    connection: Hijacked,
    frames: Frames,
    tty: bool,
    queue: Vec<u8>,
    /// There is no more input than what is queued.
    is_closing: bool,
}

impl<'a> Attached<'a> {
    pub fn new(client: &'a Client, place: [&'a str; 2], mut connection: Hijacked, tty: bool) -> Self {
        let mut frames = Frames::of(tty);
        frames.push(&std::mem::take(&mut connection.read));
        Self { client, place, connection, frames, tty, queue: Vec::new(), is_closing: false }
    }
}

impl Peer for Attached<'_> {
    fn is_tty(&self) -> bool {
        self.tty
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 32 << 10];
        match io::Read::read(&mut self.connection.socket, &mut chunk) {
            Ok(read) => {
                self.frames.push(&chunk[..read]);
                Ok(read > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn buffered(&mut self) -> io::Result<Option<Frame>> {
        let piece = self.frames.next_piece()?;
        Ok(piece.map(|(output, bytes)| match output {
            Output::Stdout => Frame::Output(Stream::Stdout, bytes),
            Output::Stderr => Frame::Output(Stream::Stderr, bytes),
        }))
    }

    fn stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queue.extend_from_slice(bytes);
        self.flush()
    }

    fn close_stdin(&mut self) -> io::Result<()> {
        self.is_closing = true;
        self.flush()
    }

    fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        let [kind, id] = self.place;
        // What has ended meanwhile has no size, and the session is about to see that.
        let _ = self.client.post(&[kind, id, "resize"]).query("h", rows).query("w", columns).json();
        Ok(())
    }

    fn pending(&self) -> usize {
        self.queue.len()
    }

    fn flush(&mut self) -> io::Result<()> {
        // What ends the session is the end of the output.
        sys::socket::send_queued(self.connection.socket.as_fd(), &mut self.queue)?;
        match self.is_closing && self.queue.is_empty() {
            true => sys::socket::finish_writing(&self.connection.socket),
            false => Ok(()),
        }
    }
}

impl AsFd for Attached<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.socket.as_fd()
    }
}

/// A container in the foreground that another engine runs.
pub struct Session<'a> {
    client: &'a Client,
    id: String,
    foreground: Foreground,
    /// As typed.
    keys: Option<&'a str>,
    signals: SignalFd,
}

impl<'a> Session<'a> {
    /// From here on a signal waits until the container can be told of it.
    pub fn new(
        client: &'a Client,
        id: &str,
        foreground: Foreground,
        keys: Option<&'a str>,
    ) -> Result<Self, ForegroundError> {
        let signals = foreground.block_signals()?;
        Ok(Self { client, id: id.to_owned(), foreground, keys, signals })
    }

    /// With the streams of `container`, an inspection: its input only when `stdin`.
    pub fn with(
        client: &'a Client,
        container: &Value,
        stdin: bool,
        keys: Option<&'a str>,
        sig_proxy: bool,
    ) -> Result<Self, Ended> {
        let config = &container["Config"];
        let streams = [stdin && config["OpenStdin"] == true, true, true];
        let foreground =
            Foreground::new(streams, config["Tty"] == true, DetachKeys::from_flag(keys)?, sig_proxy)?;
        Ok(Self::new(client, container["Id"].as_str().unwrap_or_default(), foreground, keys)?)
    }

    /// Attaches, starts the container when `starts`, and ends as it ends; `condition` says which end is waited for.
    pub fn run(&self, condition: &str, starts: bool) -> Outcome {
        let (client, id) = (self.client, self.id.as_str());
        let [stdin, stdout, stderr] = self.foreground.streams;
        let attach = client.post(&["containers", id, "attach"]).flag("stream", true);
        let attach = attach.flag("stdin", stdin).flag("stdout", stdout).flag("stderr", stderr);
        let connection = attach.maybe("detachKeys", self.keys).hijack()?;
        let wait =
            client.post(&["containers", id, "wait"]).query("condition", condition).stream()?.awaited()?;
        if starts {
            client.post(&["containers", id, "start"]).done()?;
        }
        let stream = Attached::new(client, ["containers", id], connection, self.foreground.tty);
        match self.connect(stream)? {
            // Its output has ended, and so will it.
            End::Lost | End::Exited(_) => {}
            End::Detached => return Ok(ExitCode::SUCCESS),
            End::Abandoned => return Err(Ended::Reported(1)),
        }
        self.linger(&wait)?;
        let document = wait.document()?;
        match document["Error"]["Message"].as_str().filter(|message| !message.is_empty()) {
            Some(message) => Err(RemoteError::Refused { status: 500, message: message.to_owned() }.into()),
            None => Ok(exit_code(document["StatusCode"].as_i64().unwrap_or(-1) as i32)),
        }
    }

    fn failed(&self) -> impl Fn(io::Error) -> ForegroundError {
        move |source| ForegroundError::Session { id: self.id.clone(), source }
    }

    fn forward(&self, signal: i32) {
        // The container may have ended meanwhile; the session is about to see that.
        let _ = self.client.post(&["containers", &self.id, "kill"]).query("signal", signal).json();
    }

    fn connect(&self, stream: Attached<'_>) -> Result<End, Ended> {
        let forward = |signal: i32| self.forward(signal);
        let options = self.foreground.options(&forward, None);
        Ok(session::run(stream, &self.signals, &options).map_err(self.failed())?)
    }

    /// Passes signals on to a container that has closed its output, until it ends.
    fn linger(&self, wait: &Awaited<'_>) -> Result<(), Ended> {
        loop {
            let mut fds =
                [wait.as_fd(), self.signals.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            poll(&mut fds, None).map_err(self.failed())?;
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            while let Some(signal) = self.signals.take().map_err(self.failed())? {
                // Those of the terminal's size are held back in any case; the others only to be passed on.
                if signal != session::WINCH {
                    self.forward(signal);
                }
            }
        }
    }
}

/// Runs a process in a container and ends as it ends.
pub fn exec(
    client: &Client,
    container: &str,
    spec: &ExecSpec,
    detach: bool,
    interactive: bool,
    keys: Option<&str>,
) -> Outcome {
    let signals = session::watch_signals(false).map_err(|source| ForegroundError::Signals { source })?;
    let size = session::terminal_size().filter(|_| spec.tty && !detach);
    let size = size.map(|size| json!([size.rows, size.columns]));
    let attached = !detach;
    let mut body = json!({
        "AttachStdin": interactive && attached, "AttachStdout": attached, "AttachStderr": attached,
        "Cmd": spec.command, "Env": spec.env, "Privileged": spec.privileged, "Tty": spec.tty,
        "User": spec.user.clone().unwrap_or_default(), "WorkingDir": spec.working_dir.clone().unwrap_or_default(),
        "DetachKeys": keys.unwrap_or_default(),
    });
    let mut start = json!({"Detach": detach, "Tty": spec.tty});
    if let Some(size) = size {
        body["ConsoleSize"] = size.clone();
        start["ConsoleSize"] = size;
    }
    let created = client.post(&["containers", container, "exec"]).body(&body).json()?;
    let id = created["Id"].as_str().unwrap_or_default();
    let call = client.post(&["exec", id, "start"]).body(&start);
    if detach {
        call.done()?;
        return Ok(ExitCode::SUCCESS);
    }
    let stream = Attached::new(client, ["exec", id], call.hijack()?, spec.tty);
    let options = Options {
        stdin: interactive,
        stdout: true,
        stderr: true,
        detach_keys: DetachKeys::from_flag(keys)?,
        forward: None,
        reap: None,
    };
    let failed = |source| ForegroundError::Session { id: container.to_owned(), source };
    match session::run(stream, &signals, &options).map_err(failed)? {
        End::Lost | End::Exited(_) => {}
        End::Detached => return Ok(ExitCode::SUCCESS),
        End::Abandoned => return Err(Ended::Reported(1)),
    }
    let process = client.get(&["exec", id, "json"]).json()?;
    match process["ExitCode"].as_i64() {
        Some(code) => Ok(exit_code(code as i32)),
        // Its output is closed, and it goes on.
        None => Ok(ExitCode::SUCCESS),
    }
}
