//! Creating a container: clone, let the child build its world, let it execute.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use cgroup::Cgroup;
use sys::namespace::Kind;
use sys::process::Cloned;

use crate::channel::{self, Answer, Caller};
use crate::plan::ContainerPlan;
use crate::{Launch, LaunchError, Process, birth, child, outside, seal};

/// A container whose first process exists and is setting itself up.
///
/// Dropping it without [`start`](Self::start) ends that process.
#[derive(Debug)]
pub struct Created {
    id: String,
    process: Option<Process>,
    channel: Caller,
}

/// Creates the container's namespaces and first process, a child of the caller that ends with it, and returns while that one mounts and configures.
pub fn create(launch: Launch<'_>) -> Result<Created, LaunchError> {
    let id = launch.id.to_owned();
    let failed = |source| LaunchError::Clone { id: id.clone(), source };
    seal::check(&id)?;
    let group = group_fd(launch.cgroup)?;
    let plan = ContainerPlan::new(launch)?;
    let (caller, callee) = channel::pair().map_err(failed)?;
    match birth::give_birth(&plan, group.as_ref().map(AsFd::as_fd)).map_err(failed)? {
        Cloned::Child => {
            drop(caller);
            child::run(plan, &callee)
        }
        Cloned::Parent { pid, pidfd } => {
            // The child's end, or the end of the stream would never come.
            drop(callee);
            let process = Some(Process { pid, pidfd, terminal: None });
            let created = Created { id, process, channel: caller };
            if plan.waits_for_caller() {
                created.share(&plan)?;
            }
            Ok(created)
        }
    }
}

/// Checks all of `launch` that can be checked before anything is made; [`create`] does so too.
pub fn check(launch: Launch<'_>) -> Result<(), LaunchError> {
    ContainerPlan::new(launch).map(drop)
}

/// The directory to be born in, which cgroup v2 has.
pub(crate) fn group_fd(cgroup: Option<&Cgroup>) -> Result<Option<OwnedFd>, LaunchError> {
    let Some(group) = cgroup else { return Ok(None) };
    group.join_fd().map_err(|source| LaunchError::Cgroup { id: group.name().to_owned(), source })
}

impl Created {
    pub(crate) fn new(id: &str, pid: i32, pidfd: OwnedFd, channel: Caller) -> Self {
        Self { id: id.to_owned(), process: Some(Process { pid, pidfd, terminal: None }), channel }
    }

    /// Does the caller's share of the set-up, for which the child waits first of all.
    fn share(&self, plan: &ContainerPlan<'_>) -> Result<(), LaunchError> {
        match self.hear()? {
            Answer::Born => Ok(outside::prepare(plan, self.pid(), &self.channel)?),
            Answer::Failed(error) => Err(error),
            Answer::Ended | Answer::Ready { .. } | Answer::Listening { .. } => {
                Err(LaunchError::died(&self.id, self.process().wait()))
            }
        }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("only `take` takes it, and consumes self")
    }

    /// The process id of the container's first process.
    pub fn pid(&self) -> i32 {
        self.process().pid()
    }

    /// The descriptor of that process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process().pidfd()
    }

    /// Opens the container's network namespace.
    pub fn netns_fd(&self) -> io::Result<OwnedFd> {
        sys::namespace::open(self.pid(), Kind::Network)
    }

    /// Opens the container's user namespace.
    pub fn userns_fd(&self) -> io::Result<OwnedFd> {
        sys::namespace::open(self.pid(), Kind::User)
    }

    /// Waits until the container is ready and lets it execute its program.
    ///
    /// The process may have ended again when this returns; an exec that failed is the error.
    pub fn start(self) -> Result<Process, LaunchError> {
        let ready = self.ready()?;
        ready.go()?;
        Ok(ready.take())
    }

    /// Waits until the container is ready and leaves it alone, for somebody else to [`start`](start()).
    ///
    /// For a [`Lifetime::Own`](crate::Lifetime::Own); any other ends with its caller.
    pub fn leave(self) -> Result<Process, LaunchError> {
        self.ready().map(Self::take)
    }

    fn ready(mut self) -> Result<Self, LaunchError> {
        match self.hear()? {
            Answer::Ready { terminal } => {
                self.process.as_mut().expect("only `take` takes it, and consumes self").terminal = terminal;
                Ok(self)
            }
            Answer::Failed(error) => Err(error),
            Answer::Ended | Answer::Born | Answer::Listening { .. } => {
                Err(LaunchError::died(&self.id, self.process().wait()))
            }
        }
    }

    fn take(mut self) -> Process {
        self.process.take().expect("only this takes it, and consumes self")
    }

    fn go(&self) -> Result<(), LaunchError> {
        start_through(&self.channel, &self.id)
    }

    fn hear(&self) -> Result<Answer, LaunchError> {
        self.channel.hear().map_err(|source| cannot_talk(&self.id, source))
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = process.kill(SIGKILL);
            let _ = process.wait();
        }
    }
}

/// Lets the container `id` execute its program, through a connection to the socket of its
/// [`Lifetime::Own`](crate::Lifetime::Own).
///
/// # Errors
/// What kept the program from being executed; the container's process has ended then.
pub fn start(gate: UnixStream, id: &str) -> Result<(), LaunchError> {
    start_through(&Caller::from(gate), id)
}

fn start_through(channel: &Caller, id: &str) -> Result<(), LaunchError> {
    match channel.start().map_err(|source| cannot_talk(id, source))? {
        Answer::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

fn cannot_talk(id: &str, source: io::Error) -> LaunchError {
    LaunchError::Setup { step: crate::Step::Channel, object: id.to_owned(), source }
}

const SIGKILL: i32 = 9;
