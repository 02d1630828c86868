//! The other side of a monitor: launching one, asking it, attaching to its container.

mod attach;
mod launch;
mod rendezvous;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use diag::{Class, Diagnose};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Remote;
use crate::plan::RestartPolicy;
use crate::protocol::{MAX_LINE, Reply, Request, SOCKET};

pub use crate::protocol::{AttachOptions, Ended, StopOptions};
pub use attach::{AttachReader, AttachStream, AttachWriter, Frame, encode_control, encode_stdin, next_frame};
pub(crate) use launch::CHANNEL_FD;
pub use launch::{LaunchFailure, Launched, Launching, NetworkHint, Prepared, launch, prepare};
pub(crate) use rendezvous::keep as keep_rendezvous;
pub use rendezvous::{Rendezvous, rendezvous};

/// A request a monitor did not fulfil.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no monitor, or it ended before it answered: the container does not run.
    #[error("container {id} is not running")]
    NotRunning { id: String },
    /// The monitor says no, and why.
    #[error(transparent)]
    Refused(Remote),
    #[error("cannot talk to the monitor of container {id}")]
    Talk { id: String, source: io::Error },
}

impl Diagnose for RequestError {
    fn class(&self) -> Class {
        match self {
            Self::NotRunning { .. } => Class::Conflict,
            Self::Refused(remote) => remote.class(),
            Self::Talk { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(remote) => remote.hint(),
            _ => None,
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::Refused(remote) => remote.exit_status(),
            _ => None,
        }
    }
}

/// A connection to a live monitor; several requests may be made on it, one after the other.
#[derive(Debug)]
pub struct Client {
    id: String,
    socket: UnixStream,
}

/// Connects to the monitor of the container with this run directory (whose name is the container's id).
pub fn connect(run_dir: &Path) -> Result<Client, RequestError> {
    connect_to(run_dir, SOCKET)
}

/// Connects to the socket `name` in `directory`, of whoever holds a process (whose id is the directory's name).
pub fn connect_to(directory: &Path, name: &str) -> Result<Client, RequestError> {
    let id = id_of(directory);
    let socket = File::open(directory).and_then(|dir| sys::socket::connect_in(dir.as_fd(), name));
    match socket {
        Ok(socket) => Ok(Client { id, socket }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Err(RequestError::NotRunning { id })
        }
        Err(source) => Err(RequestError::Talk { id, source }),
    }
}

/// Waits until no monitor holds the container: everything of its last run has been cleaned up by then. None takes it as long as
/// what is returned is kept.
pub fn wait_released(run_dir: &Path) -> io::Result<Option<File>> {
    match File::open(run_dir.join(crate::state::LOCK_FILE)) {
        Ok(lock) => lock.lock_shared().map(|()| Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// Stops the container and waits until everything of it is gone.
    pub fn stop(&mut self, options: StopOptions) -> Result<Ended, RequestError> {
        self.ended(&Request::Stop(options))
    }

    /// Stops it and launches it again, in its network namespace; returns the new pid and the published ports.
    pub fn restart(&mut self, options: StopOptions) -> Result<(i32, Vec<net::Published>), RequestError> {
        match self.ask(&Request::Restart(options))? {
            Reply::Started { pid, ports, .. } => Ok((pid, ports)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Sends a signal to the container's first process.
    pub fn kill(&mut self, signal: i32) -> Result<(), RequestError> {
        self.done(&Request::Kill { signal })
    }

    /// Freezes every process of the container.
    pub fn pause(&mut self) -> Result<(), RequestError> {
        self.done(&Request::Pause)
    }

    /// Undoes [`Client::pause`].
    pub fn unpause(&mut self) -> Result<(), RequestError> {
        self.done(&Request::Unpause)
    }

    /// Changes the size of the container's terminal.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<(), RequestError> {
        self.done(&Request::Resize { rows, columns })
    }

    /// Waits for the next end of the container, be it followed by a restart or not.
    pub fn wait(&mut self) -> Result<Ended, RequestError> {
        self.ended(&Request::Wait)
    }

    /// Attaches the running container to one more network.
    pub fn connect_network(&mut self, endpoint: net::EndpointPlan) -> Result<(), RequestError> {
        self.done(&Request::ConnectNetwork { endpoint: Box::new(endpoint) })
    }

    /// Takes the running container off the network with this id.
    pub fn disconnect_network(&mut self, network_id: &str) -> Result<(), RequestError> {
        self.done(&Request::DisconnectNetwork { network: network_id.to_owned() })
    }

    /// Tells the monitor the container's new name.
    pub fn rename(&mut self, name: &str) -> Result<(), RequestError> {
        self.done(&Request::Rename { name: name.to_owned() })
    }

    /// Changes the restart policy, the limits, or both.
    pub fn update(
        &mut self,
        restart: Option<RestartPolicy>,
        resources: Option<oci::runtime::LinuxResources>,
    ) -> Result<(), RequestError> {
        self.done(&Request::Update { restart, resources: resources.map(Box::new) })
    }

    /// Begins to wait as [`Client::wait`] does; the answer has come when the socket is readable.
    pub fn begin_wait(&mut self) -> Result<(), RequestError> {
        send_line(&mut self.socket, &Request::Wait).map_err(|error| self.failed(error))
    }

    /// What [`Client::begin_wait`] waited for.
    pub fn finish_wait(&mut self) -> Result<Ended, RequestError> {
        match self.answer()? {
            Reply::Exited(ended) => Ok(ended),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Turns the connection into a stream of the container's input and output.
    pub fn attach(mut self, options: AttachOptions) -> Result<AttachStream, RequestError> {
        match self.ask(&Request::Attach(options))? {
            Reply::Attached { tty } => Ok(AttachStream::new(self.socket, tty)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn done(&mut self, request: &Request) -> Result<(), RequestError> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn ended(&mut self, request: &Request) -> Result<Ended, RequestError> {
        send_line(&mut self.socket, request).map_err(|error| self.failed(error))?;
        self.finish_wait()
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, RequestError> {
        send_line(&mut self.socket, request).map_err(|error| self.failed(error))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Reply, RequestError> {
        match receive_line(&mut self.socket) {
            Ok(Some(Reply::Failed(remote))) => Err(RequestError::Refused(remote)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(RequestError::NotRunning { id: self.id.clone() }),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: io::Error) -> RequestError {
        let id = self.id.clone();
        match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => RequestError::NotRunning { id },
            _ => RequestError::Talk { id, source },
        }
    }

    fn unexpected(&self, reply: &Reply) -> RequestError {
        let source = io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {reply:?}"));
        RequestError::Talk { id: self.id.clone(), source }
    }
}

/// Asks whoever holds a process, on a connection of its own, to attach this client before the first byte.
///
/// # Errors
/// [`RequestError::Refused`] with the reason why the process was not started.
pub fn attach_over(socket: UnixStream, options: AttachOptions) -> Result<AttachStream, RequestError> {
    Client { id: String::new(), socket }.attach(options)
}

impl AsFd for Client {
    /// Readable when an answer has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(crate) fn id_of(run_dir: &Path) -> String {
    run_dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn send_line(socket: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Reads one line and nothing beyond it: frames may follow. `None` when the stream ended instead.
pub(crate) fn receive_line<T: DeserializeOwned>(socket: &mut UnixStream) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let mut chunk = [0; 512];
    loop {
        // Looking first and taking exactly up to the line's end: no byte of a frame is taken.
        let seen = sys::socket::peek(socket.as_fd(), &mut chunk)?;
        let end = chunk[..seen].iter().position(|&byte| byte == b'\n');
        let take = end.map_or(seen, |at| at + 1);
        socket.read_exact(&mut chunk[..take])?;
        line.extend_from_slice(&chunk[..take]);
        if end.is_some() {
            return Ok(Some(serde_json::from_slice(&line)?));
        }
        if seen == 0 {
            return Ok(None);
        }
        if line.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "endless line"));
        }
    }
}
