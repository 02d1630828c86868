//! The process that makes the home, keeps it, and ends it when nobody lives there.
//!
//! It stays in the host's namespaces: it is what starts the way out, and what binds published ports. A home is ended under the
//! lock that every command holds while it joins, so that none joins one that is about to go.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cgroup::Delegation;
use diag::Diagnose;
use sys::event::{PollFd, PollFlags, poll};
use sys::fs::{FileLock, LockKind};

use crate::HomeError;
use crate::home::{self, Anchor, SIGKILL};
use crate::outlet::{self, Outlet};
use crate::record::Record;
use crate::subids::Ids;

/// Where the starter of a keeper listens for how it went.
pub const STATUS_FD: i32 = 3;
/// Separates the message from the hint.
pub const SEPARATOR: char = '\u{1e}';
/// The file whose lock commands share while they join.
pub const LOCK: &str = "lock";

/// How long a home nobody lives in is kept for the next command.
const GRACE: Duration = Duration::from_secs(5);
/// How soon a way out that has ended is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Runs the keeper of the home in the directory that is the only argument.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(status) = sys::spawn::claim_inherited(STATUS_FD) else { return ExitCode::FAILURE };
    let mut status = UnixStream::from(status);
    let Some(directory) = args.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    match Keeper::start(directory) {
        Ok(mut keeper) => {
            // Nobody reads it when the command was killed; the home serves the next one then.
            let _ = status.write_all(b"+");
            drop(status);
            keeper.run()
        }
        Err(error) => {
            let message = diag::with_sources(&error);
            let hint = error.hint().unwrap_or_default();
            let _ = status.write_all(format!("-{message}{SEPARATOR}{hint}").as_bytes());
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    directory: PathBuf,
    anchor: Anchor,
    /// The control groups this user has been given.
    groups: Option<Delegation>,
    listener: UnixListener,
    outlet: Outlet,
    /// The running program, or when to try again.
    running: Result<(i32, OwnedFd), Instant>,
}

impl Keeper {
    fn start(directory: PathBuf) -> Result<Self, HomeError> {
        let failed = |action| {
            let path = directory.clone();
            move |source| HomeError::Place { action, path, source }
        };
        std::env::set_current_dir("/").map_err(failed("leave"))?;
        let outlet = Outlet::find()?;
        let (anchor, groups) = find_or_make(&directory, &outlet)?;
        let open = sys::fs::open_dir(directory.as_path()).map_err(failed("open"))?;
        let _ = std::fs::remove_file(directory.join(net::ports::SOCKET));
        let listener =
            sys::socket::listen_in(open.as_fd(), net::ports::SOCKET).map_err(failed("listen in"))?;
        let running = Err(Instant::now());
        let mut keeper = Self { directory: directory.clone(), anchor, groups, listener, outlet, running };
        keeper.open_outlet();
        keeper.save().map_err(failed("write in"))?;
        let pid = keeper.anchor.pid;
        outlet::wait_until_open(pid, || keeper.outlet_has_ended());
        Ok(keeper)
    }

    fn save(&self) -> io::Result<()> {
        self.record().save(&self.directory)
    }

    fn record(&self) -> Record {
        let outlet = self.running.as_ref().map_or(0, |(pid, _)| *pid);
        let group = self.groups.as_ref().map(|groups| groups.root().to_owned());
        Record { anchor: self.anchor.pid, users: self.anchor.users, outlet, group }
    }

    fn open_outlet(&mut self) {
        self.running =
            self.outlet.start(self.anchor.pid, &self.directory).map_err(|_| Instant::now() + RETRY);
    }

    fn outlet_has_ended(&self) -> bool {
        match &self.running {
            Ok((_, process)) => has_ended(process),
            Err(_) => true,
        }
    }

    fn run(&mut self) -> ExitCode {
        loop {
            let inhabitant = self.record().inhabitant();
            match self.wait(inhabitant.as_ref()) {
                Ok(Event::Something) => {}
                Ok(Event::Over) if self.end() => return ExitCode::SUCCESS,
                Ok(Event::Over) => {}
                Err(_) => return ExitCode::FAILURE,
            }
        }
    }

    /// Waits until somebody asks for something, or something has ended.
    fn wait(&mut self, inhabitant: Option<&OwnedFd>) -> io::Result<Event> {
        let now = Instant::now();
        let retry = self.running.as_ref().err().map(|at| at.saturating_duration_since(now));
        let grace = inhabitant.is_none().then_some(GRACE);
        let timeout = [retry, grace].into_iter().flatten().min();
        let idle = PollFlags::empty();
        let [port, anchor, outlet] = {
            let mut fds = vec![
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.anchor.process, PollFlags::IN),
            ];
            let program = self.running.as_ref().ok().map(|(_, process)| process);
            // Without a program its place is taken by one that says nothing.
            fds.push(
                program
                    .map_or_else(|| PollFd::new(&self.listener, idle), |fd| PollFd::new(fd, PollFlags::IN)),
            );
            fds.extend(inhabitant.map(|fd| PollFd::new(fd, PollFlags::IN)));
            if poll(&mut fds, timeout)? == 0
                && retry.is_none_or(|retry| grace.is_some_and(|grace| grace <= retry))
            {
                return Ok(Event::Over);
            }
            [0, 1, 2].map(|n| !fds[n].revents().is_empty())
        };
        if anchor {
            return Ok(self.replace_anchor());
        }
        if port && let Ok((stream, _)) = self.listener.accept() {
            net::ports::answer(&stream);
        }
        if outlet && let Ok((_, process)) = &self.running {
            let _ = sys::process::try_wait(process.as_fd());
            self.running = Err(Instant::now() + RETRY);
        }
        if self.running.as_ref().is_err_and(|at| *at <= Instant::now()) {
            self.open_outlet();
            let _ = self.save();
        }
        Ok(Event::Something)
    }

    /// Somebody killed the anchor: the home goes on with another, if anybody lives in it.
    fn replace_anchor(&mut self) -> Event {
        let _ = sys::process::try_wait(self.anchor.process.as_fd());
        let found = self.record().inhabitant().and_then(|process| home::adopt(process).ok());
        match found {
            Some(anchor) => {
                self.anchor = anchor;
                let _ = self.save();
                Event::Something
            }
            None => Event::Over,
        }
    }

    /// Ends the home if nobody lives in it any more.
    fn end(&mut self) -> bool {
        let lock = FileLock::try_acquire(self.directory.join(LOCK), LockKind::Exclusive);
        let Ok(Some(_lock)) = lock else { return false };
        if self.record().inhabitant().is_some() {
            return false;
        }
        Record::remove(&self.directory);
        for file in [net::ports::SOCKET, "resolv.conf", "network.log"] {
            let _ = std::fs::remove_file(self.directory.join(file));
        }
        let outlet = self.running.as_ref().ok().map(|(_, process)| process);
        for process in outlet.into_iter().chain([&self.anchor.process]) {
            let _ = sys::process::send_signal(process.as_fd(), SIGKILL);
            let _ = sys::process::wait(process.as_fd());
        }
        true
    }
}

enum Event {
    Something,
    /// Nobody has lived here for a while.
    Over,
}

/// The home that is recorded with its control groups, if a process lives in it, or else a new one.
///
/// From here on this process, and with it the anchor and the way out, is below those groups too.
fn find_or_make(directory: &Path, outlet: &Outlet) -> Result<(Anchor, Option<Delegation>), HomeError> {
    if let Some(record) = Record::load(directory) {
        // It was started by a keeper that was killed; its network would fight with another's.
        end_outlet(record.outlet);
        if let Some(inhabitant) = record.inhabitant() {
            let groups = record.group.map(Delegation::at);
            // Outside of them it works as well, but may be ended with the session it was started from.
            let _ = groups.as_ref().map(Delegation::enter);
            return Ok((home::adopt(inhabitant)?, groups));
        }
    }
    let resolv_conf = outlet.write_resolv_conf(directory);
    let resolv_conf = resolv_conf.map_err(|source| HomeError::Place {
        action: "write in",
        path: directory.to_owned(),
        source,
    })?;
    let ids = Ids::of_user()?;
    let groups = Delegation::obtain(&scope_of(directory));
    Ok((home::make(&ids, Some(resolv_conf))?, groups))
}

/// The scope to ask the user's systemd for: homes in other directories have others.
fn scope_of(directory: &Path) -> String {
    let inode = std::fs::metadata(directory).map_or(0, |metadata| metadata.ino());
    format!("hull-{inode}.scope")
}

/// Ends the program with this pid if that is what it still is.
fn end_outlet(pid: i32) {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if pid > 0
        && ["pasta", "passt", "slirp4netns"].iter().any(|known| name.starts_with(known))
        && let Ok(process) = sys::process::open(pid)
    {
        let _ = sys::process::send_signal(process.as_fd(), SIGKILL);
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let readable = sys::event::poll_one(process.as_fd(), PollFlags::IN, Some(Duration::ZERO));
    readable.unwrap_or(true)
}
