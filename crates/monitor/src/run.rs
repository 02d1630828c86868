//! One run of the container's process, from its launch to its end.

use std::os::fd::OwnedFd;
use std::time::Instant;

use diag::Failure;
use oci::runtime::NamespaceType;
use runtime::{Created, Launch, LaunchError, Lifetime};
use sys::namespace::Kind;

use crate::health::Checker;
use crate::plan::LaunchPlan;
use crate::process::MonitorError;
use crate::sandbox::Sandbox;
use crate::stdio::{self, Streams};
use crate::time::now_ns;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) process: runtime::Process,
    pub(crate) streams: Streams,
    pub(crate) checker: Option<Checker>,
    pub(crate) started: Instant,
    pub(crate) started_ns: i64,
    /// Holds the mounts of a container that goes away with its end. The last to let go of them unmounts them, which would
    /// delay the news of the end if that were the container's own process.
    pub(crate) mounts: Option<OwnedFd>,
    /// When a container that has been asked to stop is killed.
    pub(crate) kill_at: Option<Instant>,
}

impl Run {
    /// Launches the container in `sandbox`. Its network is realised, and `meanwhile` done, while its first process mounts.
    pub(crate) fn start<T>(
        plan: &LaunchPlan,
        sandbox: &mut Sandbox,
        meanwhile: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(Self, T), Failure> {
        sandbox.join(plan)?;
        let (created, mut streams) = match create(plan, sandbox) {
            Err(CreateError::Launch(error)) if sandbox.identity.may_give_up(plan.users, &error) => {
                sandbox.identity.give_up(&error);
                create(plan, sandbox)?
            }
            other => other?,
        };
        sandbox.identity.keep(|| created.userns_fd()).map_err(|source| MonitorError::Io {
            action: "open the user namespace of",
            what: plan.id.clone(),
            source,
        })?;
        // Unmounting a kept container's root syncs its file system, which is no work for a monitor.
        let mounts = plan.auto_remove.then(|| sys::namespace::open(created.pid(), Kind::Mount));
        let mounts = mounts.and_then(Result::ok);
        sandbox.connect(plan, || created.netns_fd())?;
        let done = meanwhile()?;
        let mut process = created.start()?;
        let (started, started_ns) = (Instant::now(), now_ns());
        if let Some(terminal) = process.take_terminal() {
            streams.add_terminal(terminal, plan.open_stdin).map_err(stream_error(plan))?;
        }
        let checker = plan.health.clone().zip(plan.spec.process.clone());
        let checker = checker.map(|(health, process)| Checker::new(health, process));
        Ok((Self { process, streams, checker, started, started_ns, mounts, kill_at: None }, done))
    }
}

/// Why the container's process could not be created.
enum CreateError {
    Launch(LaunchError),
    Other(MonitorError),
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Launch(error) => error.into(),
            CreateError::Other(error) => error.into(),
        }
    }
}

fn create(plan: &LaunchPlan, sandbox: &Sandbox) -> Result<(Created, Streams), CreateError> {
    let (stdio, streams) = stdio::pipes(plan.tty, plan.console_size, plan.open_stdin)
        .map_err(|source| CreateError::Other(stream_error(plan)(source)))?;
    for file in &plan.own_files {
        sandbox.identity.adopt(file).map_err(|source| {
            let what = file.display().to_string();
            CreateError::Other(MonitorError::Io { action: "give the container", what, source })
        })?;
    }
    plan.rootfs.forget_volatile_mount();
    let spec = sandbox.identity.apply(&plan.spec);
    let users = sandbox.identity.namespace().map(|users| (NamespaceType::User, users));
    let netns = sandbox.netns().map(|netns| (NamespaceType::Network, netns));
    let joined: Vec<_> = users.into_iter().chain(netns).collect();
    let created = runtime::create(Launch {
        id: &plan.id,
        spec: &spec,
        rootfs: &plan.rootfs,
        user: &plan.user,
        extra_groups: &plan.extra_groups,
        cgroup: Some(&sandbox.cgroup),
        seccomp: &plan.seccomp,
        stdio,
        join: &joined,
        init: plan.init,
        bundle: &plan.data_dir,
        lifetime: Lifetime::Caller,
        preserve_fds: 0,
        no_pivot: false,
    })
    .map_err(CreateError::Launch)?;
    Ok((created, streams))
}

fn stream_error(plan: &LaunchPlan) -> impl Fn(std::io::Error) -> MonitorError {
    |source| MonitorError::Io { action: "make the standard streams of", what: plan.id.clone(), source }
}
