//! Attaching to a container that does not run yet.
//!
//! Whoever wants to see the very first byte leaves a socket in the container's run directory. A monitor that launches the container
//! connects to every such socket before it reads any output, and hears there what its clients otherwise say on `monitor.sock`.
//! Nobody has to know who starts the container.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AttachStream, RequestError, receive_line};
use crate::protocol::{AttachOptions, Request};

/// What the names of such sockets begin with.
const PREFIX: &str = "attach-";
/// How long a launch waits for somebody who left a socket and does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket at which a monitor is awaited; dropped, nobody waits there any more.
#[derive(Debug)]
pub struct Rendezvous {
    listener: UnixListener,
    path: PathBuf,
}

/// Leaves a socket in `run_dir`, under a name made from `token`, which nobody else may use.
///
/// A container that is found to run *after* this call may have been launched without noticing it.
pub fn rendezvous(run_dir: &Path, token: &str) -> io::Result<Rendezvous> {
    let directory = fs::File::open(run_dir)?;
    let name = format!("{PREFIX}{token}");
    let listener = sys::socket::listen_in(directory.as_fd(), &name)?;
    Ok(Rendezvous { listener, path: run_dir.join(name) })
}

impl Rendezvous {
    /// The socket a monitor connects to.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Whether a monitor may still come: the socket goes with the container's run directory.
    pub fn is_awaited(&self) -> bool {
        self.path.exists()
    }

    /// Tells a monitor that has come what its new client wants.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn attach(&self, monitor: UnixStream, options: AttachOptions) -> Result<AttachStream, RequestError> {
        super::attach_over(monitor, options)
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Connects to everybody who waits in `run_dir`, on the monitor's side: their sockets, and what they want to take part in.
pub(crate) fn keep(run_dir: &Path) -> Vec<(UnixStream, AttachOptions)> {
    let Ok(entries) = fs::read_dir(run_dir) else { return Vec::new() };
    let waiting = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    waiting.filter_map(|entry| meet(run_dir, &entry.path()).ok().flatten()).collect()
}

fn meet(run_dir: &Path, path: &Path) -> io::Result<Option<(UnixStream, AttachOptions)>> {
    let directory = fs::File::open(run_dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut socket = match sys::socket::connect_in(directory.as_fd(), &name) {
        Ok(socket) => socket,
        Err(error) => {
            // Whoever waited there was killed.
            let _ = fs::remove_file(path);
            return Err(error);
        }
    };
    socket.set_read_timeout(Some(PATIENCE))?;
    let request = receive_line(&mut socket)?;
    socket.set_read_timeout(None)?;
    Ok(match request {
        Some(Request::Attach(options)) => Some((socket, options)),
        _ => None,
    })
}
