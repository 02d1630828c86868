//! What `create`, `run` and `exec` share: streams, terminals, descriptors, the pid file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::Stdio;

use super::error::OciError;
use super::flags::Parsed;
use crate::session;
use crate::session::process::Ends;

/// Our ends of a foreground process's streams.
pub type Streams = Ends;

/// The socket that gets the terminal of a process in the background.
pub struct Console {
    path: PathBuf,
}

impl Console {
    /// The socket of the flags, which is there exactly when it is needed.
    pub fn new(flags: &Parsed, terminal: bool, detach: bool) -> Result<Option<Self>, OciError> {
        let program = "hull-oci";
        match (flags.one("console-socket").filter(|path| !path.is_empty()), terminal && detach) {
            (Some(path), true) => Ok(Some(Self { path: path.into() })),
            (None, false) => Ok(None),
            (None, true) => Err(OciError::NoConsole { program }),
            (Some(_), false) => Err(OciError::NeedlessConsole { program }),
        }
    }

    /// Sends the controlling side of the terminal. The message is the name of the file, as runc sends it.
    pub fn send(&self, terminal: Option<OwnedFd>) -> Result<(), OciError> {
        let send = || {
            let terminal = terminal.ok_or(io::ErrorKind::NotFound)?;
            let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty());
            let directory = sys::fs::open_dir(directory.unwrap_or(Path::new(".")))?;
            let name =
                self.path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
            let socket = sys::socket::connect_in(directory.as_fd(), name)?;
            sys::socket::send_with_fds(socket.as_fd(), b"/dev/ptmx", &[terminal.as_fd()]).map(drop)
        };
        send().map_err(|source| OciError::Console { path: self.path.clone(), source })
    }
}

/// The descriptors after the standard streams that the process inherits.
pub struct Inherited {
    pub count: u32,
    /// How many of them are sockets in systemd's way of passing them.
    listening: u32,
}

impl Inherited {
    /// The variables that tell the process of listening sockets; sd_listen_fds(3).
    pub fn variables(&self) -> Vec<String> {
        match self.listening {
            0 => Vec::new(),
            count => vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
        }
    }
}

/// Makes sure that what is to be inherited is open, which it can only be by the caller's doing while we opened nothing.
pub fn inherited(flags: &Parsed) -> Result<Inherited, OciError> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let ours = variable("LISTEN_PID") == Some(std::process::id());
    let listening = variable("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let asked: u32 = flags.number("preserve-fds")?.unwrap_or(0);
    let count = asked.saturating_add(listening);
    match (3..3 + u64::from(count))
        .find(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err())
    {
        Some(fd) => Err(OciError::NotOpen { fd: u32::try_from(fd).unwrap_or(u32::MAX) }),
        None => Ok(Inherited { count, listening }),
    }
}

/// Refuses what a switch asks for.
pub fn refuse_switch(flags: &Parsed, name: &'static str) -> Result<(), OciError> {
    match flags.is_set(name)? {
        true => Err(OciError::Unsupported { what: format!("--{name}") }),
        false => Ok(()),
    }
}

/// CVE-2019-5736: from here on this program cannot be written to by what it starts; the first time it starts itself over.
pub fn seal() -> Result<(), OciError> {
    runtime::seal::ensure().map_err(|source| OciError::Seal { source })
}

/// The streams of a process.
///
/// In the background it gets ours as they are. In the foreground, where ours are a terminal, a pipe goes between: a container
/// must not hold the host's terminal.
pub fn streams(id: &str, terminal: bool, detach: bool) -> Result<(Stdio, Streams), OciError> {
    let failed = |source| OciError::Session { id: id.to_owned(), source };
    if terminal {
        let size = if detach { None } else { session::terminal_size() };
        return Ok((Stdio::Terminal { size }, Streams::default()));
    }
    if !detach {
        return session::process::streams(true).map_err(failed);
    }
    // As copies, which the runtime gives the container's user where they are pipes made for it.
    let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(Some).map_err(failed);
    let stdio = Stdio::Fds {
        stdin: copy(io::stdin().as_fd())?,
        stdout: copy(io::stdout().as_fd())?,
        stderr: copy(io::stderr().as_fd())?,
    };
    Ok((stdio, Streams::default()))
}

/// Writes the file that --pid-file names, complete when it has its name.
pub fn write_pid(flags: &Parsed, pid: i32) -> Result<(), OciError> {
    let Some(path) = flags.one("pid-file").filter(|path| !path.is_empty()) else { return Ok(()) };
    let path = std::path::absolute(path).map_err(|source| OciError::PidFile { path: path.into(), source })?;
    sys::fs::write_atomic(&path, pid.to_string().as_bytes(), 0o644, false)
        .map_err(|source| OciError::PidFile { path, source })
}
