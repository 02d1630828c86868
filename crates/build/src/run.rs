//! RUN: from the instruction to a process, its output and its layer.

pub mod output;
mod stubs;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::{Mount as SpecMount, NamespaceType, Spec};
use runtime::Rootfs;
use runtime::ids::Users;
use sys::event::{PollFd, PollFlags};

use crate::RunNetwork;
use crate::dockerfile::{Command, Run, heredoc};
use crate::error::StepError;
use crate::filesystem::Filesystem;
use crate::metadata::StageImage;
use crate::mounts::{Places, Planned, Realised, What};
use crate::network::Joined;
use crate::solve::Solve;
use crate::step::{CONTROL_FD, JOIN, NETNS_FD, PLAN_FILE, Report, StepPlan, USERS_FD, find_group};
use crate::tree::Tree;

pub use output::Output;

/// How long a step that was told to stop may take before its control group is killed from here.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a running step looks at the wish to stop.
pub const GLANCE: Duration = Duration::from_millis(50);

/// The name of the host that steps are on.
pub const HOSTNAME: &str = "build";

/// One RUN, resolved.
pub struct Invocation<'a> {
    pub argv: Vec<String>,
    /// Without what must not be in the key.
    pub env: Vec<String>,
    /// Predefined proxy arguments.
    pub hidden_env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub network: RunNetwork,
    pub mounts: Vec<Planned<'a>>,
}

impl Invocation<'_> {
    /// The command as errors and histories show it.
    pub fn command(&self) -> String {
        self.argv.join(" ")
    }
}

/// The argument vector of a RUN, and the script it needs mounted when its heredoc is one.
pub fn command(run: &Run, image: &StageImage) -> Result<(Vec<String>, Option<Planned<'static>>), StepError> {
    let Command::Shell(text) = &run.command else { return Ok((image.argv(&run.command), None)) };
    let [first, ..] = run.heredocs.as_slice() else { return Ok((image.argv(&run.command), None)) };
    if heredoc::announce(text.trim()).is_none() {
        // The shell knows heredocs itself; it gets the whole text back.
        let mut full = text.clone();
        for doc in &run.heredocs {
            full.push('\n');
            full.push_str(&doc.content);
            full.push_str(&doc.name);
        }
        return Ok((image.argv(&Command::Shell(full)), None));
    }
    let body = first.body();
    if !body.starts_with("#!") {
        return Ok((image.argv(&Command::Shell(body)), None));
    }
    if first.name.contains('/') {
        return Err(StepError::Invalid(format!("heredoc name {:?} cannot be a file name", first.name)));
    }
    let target = "/dev/pipes".to_owned();
    let argv = vec![format!("{target}/{}", first.name)];
    let what = What::Script { name: first.name.clone(), content: body };
    Ok((argv, Some(Planned { target, what })))
}

/// Where the step's files are.
pub struct Ground<'a> {
    /// Below the store's temporary directory: `upper` and `work`.
    pub scratch: &'a Path,
    /// On the run root.
    pub bundle: PathBuf,
    /// The name of the control group.
    pub group: String,
}

/// Runs the step over `below`; afterwards `scratch/upper` holds what it changed. Returns whether it changed anything.
///
/// # Errors
/// A step that could not start, failed or was stopped. Nothing of it runs any more then.
pub fn execute(
    solve: &Solve<'_>,
    invocation: &Invocation<'_>,
    below: &Filesystem,
    ground: &Ground<'_>,
    joined: Option<Joined<'_>>,
    output: &mut Output<'_>,
) -> Result<bool, StepError> {
    let lower = below.tree(solve.store)?;
    let places = Places { scratch: ground.scratch, bundle: &ground.bundle };
    let real = crate::mounts::realise(solve, &invocation.mounts, places)?;
    let (upper, work) = (ground.scratch.join("upper"), ground.scratch.join("work"));
    prepare_upper(&upper, &work, &lower).map_err(StepError::io("make", upper.display()))?;
    let spec = specification(solve, invocation, &real)?;
    let users = match invocation.network {
        // What is the host's is not theirs.
        RunNetwork::Host => Users::Given,
        _ => solve.options.users.into(),
    };
    let destinations: Vec<PathBuf> = spec.mounts.iter().map(|mount| mount.destination.clone()).collect();
    let (owner, name) = (solve.network_context.owner(), &ground.group);
    let plan = StepPlan {
        id: ground.group.clone(),
        spec,
        users,
        first_id: joined.and_then(|joined| joined.users).map(|(_, first)| first),
        rootfs: Rootfs::Overlay {
            lower: below.lower_dirs(solve.store),
            upper: upper.clone(),
            work,
            volatile: true,
        },
        user: invocation.user.clone(),
        group: match &solve.options.cgroup_parent {
            Some(parent) => parent.join(format!("{owner}-{name}")),
            None => Path::new(&owner).join(name),
        },
    };
    let path = ground.bundle.join(PLAN_FILE);
    let json = serde_json::to_vec(&plan).map_err(|error| StepError::Invalid(error.to_string()))?;
    fs::write(&path, json).map_err(StepError::io("write", path.display()))?;
    let report = supervise(solve, &ground.bundle, joined, &plan.group, output)?;
    match report {
        Report::Exit { code: 0 } => {}
        _ if solve.stop.is_set() => return Err(StepError::Cancelled),
        Report::Exit { code } => return Err(StepError::Exit { command: invocation.command(), code }),
        Report::Failed { text, .. } => {
            return Err(StepError::Start { command: invocation.command(), reason: text });
        }
    }
    let destinations = destinations.iter().map(PathBuf::as_path);
    stubs::remove(&upper, &lower, destinations).map_err(StepError::io("clean", upper.display()))?;
    stubs::has_changed(&upper, &lower).map_err(StepError::io("read", upper.display()))
}

fn prepare_upper(upper: &Path, work: &Path, lower: &Tree) -> io::Result<()> {
    fs::create_dir(upper)?;
    fs::create_dir(work)?;
    if let Some(root) = lower.root()? {
        let dir = sys::fs::open_dir(upper)?;
        sys::fs::chown(&dir, root.stat.st_uid, root.stat.st_gid)?;
        sys::fs::chmod(&dir, root.mode())?;
    }
    Ok(())
}

fn specification(solve: &Solve<'_>, invocation: &Invocation<'_>, real: &Realised) -> Result<Spec, StepError> {
    let mut spec = runtime::default_spec();
    spec.hostname = Some(solve.options.hostname.clone());
    let process = spec.process.get_or_insert_default();
    process.args.clone_from(&invocation.argv);
    process.cwd = PathBuf::from(&invocation.working_dir);
    process.env =
        [&invocation.env[..], &invocation.hidden_env, &real.env].into_iter().flatten().cloned().collect();
    for limit in &solve.options.rlimits {
        process.set_rlimit(limit.clone());
    }
    let resources = spec.linux.get_or_insert_default().resources.get_or_insert_default();
    resources.memory.clone_from(&solve.options.resources.memory);
    resources.cpu.clone_from(&solve.options.resources.cpu);
    if invocation.network == RunNetwork::Host {
        let linux = spec.linux.get_or_insert_default();
        linux.namespaces.retain(|namespace| namespace.r#type != NamespaceType::Network);
    }
    if let Some(size) = solve.options.shm_size_bytes {
        let shm = spec.mounts.iter_mut().find(|mount| mount.destination == Path::new("/dev/shm"));
        if let Some(shm) = shm {
            shm.options.retain(|option| !option.starts_with("size="));
            shm.options.push(format!("size={size}"));
        }
    }
    for (name, source) in solve.network_files(invocation.network)? {
        spec.mounts.push(SpecMount {
            destination: PathBuf::from(name),
            r#type: Some("bind".to_owned()),
            source: Some(source),
            options: vec!["bind".to_owned(), "ro".to_owned()],
            ..SpecMount::default()
        });
    }
    spec.mounts.extend(real.mounts.iter().cloned());
    Ok(spec)
}

/// Starts the step's process, hands its output on and waits for its report.
fn supervise(
    solve: &Solve<'_>,
    bundle: &Path,
    joined: Option<Joined<'_>>,
    group: &Path,
    output: &mut Output<'_>,
) -> Result<Report, StepError> {
    let io = || StepError::io("start", "build-step");
    let (ours, theirs) = UnixStream::pair().map_err(io())?;
    let (reader, writer) = io::pipe().map_err(io())?;
    let program = runtime::seal::program().map_err(io())?;
    let program = sys::spawn::duplicate_above(program.as_fd(), USERS_FD + 1).map_err(io())?;
    let program = PathBuf::from(sys::fs::fd_path(&program));
    let mut args = vec![OsStr::new("hull"), OsStr::new("build-step"), bundle.as_os_str()];
    let mut fds = vec![(writer.as_fd(), 1), (writer.as_fd(), 2), (theirs.as_fd(), CONTROL_FD)];
    // Not under a number that is given away before its turn.
    let mut copies = Vec::new();
    if let Some(joined) = joined {
        args.push(OsStr::new(JOIN));
        fds.push((joined.netns, NETNS_FD));
        fds.extend(joined.users.map(|(users, _)| (users, USERS_FD)));
    }
    for (fd, _) in &fds {
        copies.push(sys::spawn::duplicate_above(*fd, USERS_FD + 1).map_err(io())?);
    }
    let fds: Vec<_> = copies.iter().zip(&fds).map(|(copy, (_, number))| (copy.as_fd(), *number)).collect();
    let request = sys::spawn::Spawn { program: &program, args: &args, fds: &fds, new_session: true };
    let pid = sys::spawn::spawn(&request).map_err(io())?;
    drop((writer, theirs, copies));
    let child = Child { pidfd: sys::process::open(pid).map_err(io())? };
    sys::event::set_nonblocking(reader.as_fd(), true).map_err(io())?;
    let mut asked: Option<Instant> = None;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
        ];
        sys::event::poll(&mut fds, Some(GLANCE)).map_err(io())?;
        let answered = !fds[0].revents().is_empty();
        output.take(reader.as_fd()).map_err(io())?;
        if answered {
            break;
        }
        match asked {
            None if solve.stop.is_set() => {
                let _ = ours.shutdown(Shutdown::Write);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > PATIENCE => {
                child.kill_all(group);
                return Err(StepError::Cancelled);
            }
            _ => {}
        }
    }
    let mut line = String::new();
    BufReader::new(&ours).read_line(&mut line).map_err(io())?;
    // Whatever the container wrote is in the pipe by now: its processes ended before the report was sent.
    output.drain(reader.as_fd()).map_err(io())?;
    child.wait();
    serde_json::from_str(&line).map_err(|_| {
        let reason = "its helper process ended unexpectedly".to_owned();
        StepError::Start { command: "build-step".to_owned(), reason }
    })
}

/// The step's process; waited for in any case.
struct Child {
    pidfd: OwnedFd,
}

impl Child {
    fn wait(&self) {
        let _ = sys::process::wait(self.pidfd.as_fd());
    }

    fn kill_all(&self, group: &Path) {
        const SIGKILL: i32 = 9;
        let _ = sys::process::send_signal(self.pidfd.as_fd(), SIGKILL);
        if let Ok(group) = cgroup::Hierarchy::usable().and_then(|hierarchy| find_group(&hierarchy, group)) {
            let _ = group.kill_all();
            let _ = group.remove();
        }
        self.wait();
    }
}
