//! `hull build-step <bundle>`: one RUN, in a process of its own.
//!
//! The builder has threads and may not clone into a container; this process has one. It gets the container's output as its own
//! standard output and error, the builder's socket as descriptor 3 and, unless the step uses the host's network, the namespace
//! to join as descriptor 4, with the user namespace that belongs to as 5. It answers one line of JSON on the socket. When the builder closes its side, for whatever reason,
//! the container is killed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cgroup::{Cgroup, CgroupError, Hierarchy, Place};
use oci::runtime::{LinuxResources, NamespaceType, Spec};
use runtime::ids::{Identity, Users};
use runtime::{Launch, LaunchError, Lifetime, Rootfs, Stdio, UserSpec};
use serde::{Deserialize, Serialize};
use sys::event::{PollFd, PollFlags};

/// The numbers under which the step finds what the builder gives it.
pub(crate) const CONTROL_FD: RawFd = 3;
pub(crate) const NETNS_FD: RawFd = 4;

pub(crate) const USERS_FD: RawFd = 5;

/// The argument before the first id of a range for which namespaces are to be made, instead of a step.
const NAMESPACES: &str = "namespaces";

/// The argument that announces [`NETNS_FD`].
pub(crate) const JOIN: &str = "netns";

/// The file of the bundle that says what to run.
pub(crate) const PLAN_FILE: &str = "step.json";

const SIGKILL: i32 = 9;

/// What to run.
#[derive(Serialize, Deserialize)]
pub(crate) struct StepPlan {
    pub id: String,
    pub spec: Spec,
    pub users: Users,
    /// The first id of the user namespace that is given as [`USERS_FD`], when one is.
    pub first_id: Option<u32>,
    pub rootfs: Rootfs,
    pub user: String,
    /// The control group to make; see [`find_group`].
    pub group: PathBuf,
}

/// The control group `name` of hull's own, parent first, or the one at an absolute path, which somebody else wants there.
pub(crate) fn find_group(hierarchy: &Hierarchy, name: &Path) -> Result<Cgroup, CgroupError> {
    match name.is_absolute() {
        true => Cgroup::at(hierarchy, name),
        false => Cgroup::open(hierarchy, &name.to_string_lossy()),
    }
}

fn create_group(
    hierarchy: &Hierarchy,
    name: &Path,
    resources: &LinuxResources,
) -> Result<Cgroup, CgroupError> {
    match name.is_absolute() {
        true => {
            let place = Place::Path(name.to_owned());
            place.create(hierarchy, resources, &BTreeMap::new()).map(|made| made.group)
        }
        false => Cgroup::create(hierarchy, &name.to_string_lossy(), resources),
    }
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    Exit {
        code: i32,
    },
    /// It could not be started; an exit status is what a shell would say (126, 127).
    Failed {
        text: String,
        status: Option<u8>,
    },
}

/// Runs the hidden command `build-step`; `args` are those after its name: the bundle, and `netns` when there is one to join.
pub fn step_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (bundle, joins) = match args.as_slice() {
        [bundle] => (bundle, false),
        [bundle, word] if word == JOIN => (bundle, true),
        [word, first] if word == NAMESPACES => return namespaces_main(first),
        _ => return ExitCode::from(diag::EXIT_USAGE),
    };
    let Ok(control) = sys::spawn::claim_inherited(CONTROL_FD) else {
        return ExitCode::from(diag::EXIT_USAGE);
    };
    let netns = if joins { sys::spawn::claim_inherited(NETNS_FD).ok() } else { None };
    if joins && netns.is_none() {
        return ExitCode::from(diag::EXIT_USAGE);
    }
    let control = UnixStream::from(control);
    let report = match run(Path::new(bundle), &control, netns) {
        Ok(code) => Report::Exit { code },
        Err(failure) => {
            Report::Failed { text: diag::with_sources(failure.error()), status: failure.exit_status() }
        }
    };
    // A builder that is gone does not want to know.
    let _ = answer(&control, &report);
    ExitCode::SUCCESS
}

/// Makes the namespaces of a stage's steps; see [`runtime::ids::open_namespaces`]. For the builder, which may not clone.
pub(crate) fn make_namespaces(first: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let program = runtime::seal::program()?;
    let path = PathBuf::from(sys::fs::fd_path(&program));
    let first = OsString::from(first.to_string());
    let args = [OsStr::new("hull"), OsStr::new("build-step"), OsStr::new(NAMESPACES), &first];
    let fds = [(theirs.as_fd(), CONTROL_FD)];
    let pid =
        sys::spawn::spawn(&sys::spawn::Spawn { program: &path, args: &args, fds: &fds, new_session: true })?;
    drop(theirs);
    let helper = sys::process::open(pid)?;
    let received = sys::socket::recv_with_fds(ours.as_fd(), &mut [0]);
    sys::process::wait(helper.as_fd())?;
    let mut fds = received?.1.into_iter();
    fds.next().zip(fds.next()).ok_or_else(|| io::Error::other("no namespaces were made"))
}

fn namespaces_main(first: &OsStr) -> ExitCode {
    let made = || -> io::Result<()> {
        let control = sys::spawn::claim_inherited(CONTROL_FD)?;
        let first = first.to_str().and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
        let [users, netns] = runtime::ids::open_namespaces(first)?;
        sys::socket::send_with_fds(control.as_fd(), &[0], &[users.as_fd(), netns.as_fd()]).map(drop)
    };
    if made().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn answer(mut control: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

/// A control group that goes when the step is over.
struct Group(Cgroup);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

fn run(bundle: &Path, control: &UnixStream, netns: Option<OwnedFd>) -> Result<i32, diag::Failure> {
    let path = bundle.join(PLAN_FILE);
    let plan = read(&path).map_err(|source| PlanError { path, source })?;
    let hierarchy = Hierarchy::usable()?;
    let resources = plan.spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    let group = Group(create_group(&hierarchy, &plan.group, &resources)?);
    let ids = |source| PlanError { path: PathBuf::from("a range of user ids"), source };
    let mut identity = match plan.first_id {
        Some(first) => Identity::shared(sys::spawn::claim_inherited(USERS_FD).map_err(ids)?, first),
        None => Identity::establish(plan.users).map_err(ids)?,
    };
    let started = match start(&plan, bundle, &group.0, netns.as_ref(), &identity) {
        Err(StartError::Launch(error)) if identity.may_give_up(plan.users, &error) => {
            identity.give_up(&error);
            start(&plan, bundle, &group.0, netns.as_ref(), &identity)
        }
        other => other,
    };
    if let Some(warning) = &identity.warning {
        // Standard error is the step's output.
        let _ = writeln!(io::stderr(), "WARNING: {warning}");
    }
    let process = started?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
        ];
        let io = |source| PlanError { path: PathBuf::from("the container's process"), source };
        sys::event::poll(&mut fds, None).map_err(io)?;
        let ended = !fds[0].revents().is_empty();
        if !ended && !fds[1].revents().is_empty() {
            // The builder never sends anything: its side is closed.
            let _ = process.kill(SIGKILL);
        }
        if ended || !fds[1].revents().is_empty() {
            return Ok(process.wait().map_err(io)?.status());
        }
    }
}

/// Why the step's process could not be started.
enum StartError {
    Launch(LaunchError),
    Files(PlanError),
}

impl From<StartError> for diag::Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Launch(error) => error.into(),
            StartError::Files(error) => error.into(),
        }
    }
}

fn start(
    plan: &StepPlan,
    bundle: &Path,
    group: &Cgroup,
    netns: Option<&OwnedFd>,
    identity: &Identity,
) -> Result<runtime::Process, StartError> {
    let users = identity.namespace().map(|users| (NamespaceType::User, users));
    let join: Vec<(NamespaceType, BorrowedFd<'_>)> =
        users.into_iter().chain(netns.map(|fd| (NamespaceType::Network, fd.as_fd()))).collect();
    for source in plan.spec.mounts.iter().filter_map(|mount| mount.source.as_deref()) {
        if source.starts_with(bundle) {
            let path = || source.to_owned();
            identity.adopt(source).map_err(|source| StartError::Files(PlanError { path: path(), source }))?;
        }
    }
    plan.rootfs.forget_volatile_mount();
    let spec = identity.apply(&plan.spec);
    runtime::create(Launch {
        id: &plan.id,
        spec: &spec,
        rootfs: &plan.rootfs,
        user: &UserSpec::Named(plan.user.clone()),
        extra_groups: &[],
        cgroup: Some(group),
        seccomp: &runtime::seccomp::Seccomp::Default,
        stdio: Stdio::Inherit,
        join: &join,
        init: false,
        bundle,
        lifetime: Lifetime::Caller,
        preserve_fds: 0,
        no_pivot: false,
    })
    .and_then(runtime::Created::start)
    .map_err(StartError::Launch)
}

pub(crate) fn read(path: &Path) -> io::Result<StepPlan> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}", path = path.display())]
struct PlanError {
    path: PathBuf,
    source: io::Error,
}

impl diag::Diagnose for PlanError {
    fn class(&self) -> diag::Class {
        diag::Class::Internal
    }
}
