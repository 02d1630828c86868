//! The last steps of every process: who it is, where it is, what it may do, and its program.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use sys::capability::ThreadSets;
use sys::fs::{FileType, OFlags};
use sys::mount::PIPE_MAGIC;
use sys::process::Vectors;

use super::account::{self, Account};
use super::terminal::Terminal;
use super::{Never, labels, lookup, reaper};
use crate::Stdio;
use crate::channel::{At, Child, Fault, GO, GO_ON};
use crate::error::Step;
use crate::listener::Listener;
use crate::plan::{ProcessPlan, Rights};
use crate::seccomp::Program;

/// Turns this process, already inside the container, into the program; does what is `before_start` once it may.
pub fn finish(
    plan: &ProcessPlan<'_>,
    terminal: Option<Terminal>,
    channel: &Child,
    before_start: impl FnOnce() -> Result<(), Fault>,
) -> Result<Never, Fault> {
    let process = plan.process;
    let root =
        sys::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, 0).at(Step::Root, || plan.id.to_owned())?;
    let account = account::resolve(root.as_fd(), plan.user, &process.user, plan.extra_groups)?;
    let call = Call::new(plan, &account)?;
    let controller = connect(plan, terminal, &account)?;
    enter_working_directory(plan, root.as_fd())?;
    for limit in &plan.limits {
        sys::process::set_limit(limit.resource, limit.soft, limit.hard)
            .at(Step::Limit, || format!("{} to {}:{}", limit.name, limit.soft, limit.hard))?;
    }
    sys::process::set_umask(process.user.umask.unwrap_or(0o022));
    become_account(&account)?;
    if plan.bound {
        // After the change of user, which would take it back. A caller that is gone already is noticed at `expect`.
        sys::process::die_with_parent().at(Step::Isolate, || plan.id.to_owned())?;
    }
    let path = lookup::find(&process.args[0], call.search.as_deref())?;
    if plan.init {
        reaper::split(plan, account.uid, controller.is_some())?;
    }
    channel.ready(controller)?;
    match &plan.gate {
        None => {
            channel.expect(GO)?;
            before_start()?;
            conclude(plan, channel, &path, &call.vectors)
        }
        Some(gate) => wait_and_conclude(plan, gate, before_start, &path, &call.vectors),
    }
}

/// Waits to be started by whoever comes, perhaps for days: nothing of who created the container is held open meanwhile.
fn wait_and_conclude(
    plan: &ProcessPlan<'_>,
    gate: &UnixListener,
    before_start: impl FnOnce() -> Result<(), Fault>,
    path: &CString,
    vectors: &Vectors,
) -> ! {
    if sys::process::close_all_but(gate.as_fd(), 3 + plan.preserve_fds).is_err() {
        sys::process::exit(1);
    }
    let Ok(starter) = wait_at(gate, plan.id) else { sys::process::exit(1) };
    if let Err(fault) = before_start() {
        starter.report(fault);
        sys::process::exit(1);
    }
    conclude(plan, &starter, path, vectors)
}

/// Waits for somebody who says to start; whoever connects and says nothing changes nothing.
fn wait_at(gate: &UnixListener, id: &str) -> Result<Child, Fault> {
    loop {
        let (stream, _) = gate.accept().at(Step::Channel, || id.to_owned())?;
        let starter = Child::from(stream);
        if starter.expect(GO).is_ok() {
            return Ok(starter);
        }
    }
}

/// The argument and environment vectors.
struct Call {
    vectors: Vectors,
    search: Option<String>,
}

impl Call {
    fn new(plan: &ProcessPlan<'_>, account: &Account) -> Result<Self, Fault> {
        let mut env: Vec<&str> = plan.process.env.iter().map(String::as_str).collect();
        let home = format!("HOME={}", account.home);
        if !env.iter().any(|variable| variable.starts_with("HOME=")) {
            env.push(&home);
        }
        let args: Vec<&str> = plan.process.args.iter().map(String::as_str).collect();
        let search = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        Ok(Self {
            search: search.map(str::to_owned),
            vectors: Vectors::new(&args, &env).at(Step::Exec, || plan.process.args[0].clone())?,
        })
    }
}

/// Makes the standard streams what was asked for; returns the controlling side of a terminal.
fn connect(
    plan: &ProcessPlan<'_>,
    terminal: Option<Terminal>,
    account: &Account,
) -> Result<Option<OwnedFd>, Fault> {
    let object = |number: i32| move || format!("standard stream {number}");
    let put = |fd: BorrowedFd<'_>, number: i32| {
        sys::process::set_standard_stream(fd, number).at(Step::Stdio, object(number))
    };
    match (&plan.stdio, terminal) {
        (_, Some(terminal)) => {
            let peer = terminal.peer.as_fd();
            give(peer, account, Step::Terminal)?;
            sys::terminal::set_controlling(peer).at(Step::Terminal, || "control of it".to_owned())?;
            (0..=2).try_for_each(|number| put(peer, number))?;
            return Ok(Some(terminal.controller));
        }
        (Stdio::Fds { stdin, stdout, stderr }, None) => {
            for (number, fd) in [stdin, stdout, stderr].into_iter().enumerate() {
                match fd {
                    Some(fd) => {
                        give(fd.as_fd(), account, Step::Stdio)?;
                        put(fd.as_fd(), number as i32)?;
                    }
                    None => put(plan.null.as_fd(), number as i32)?,
                }
            }
        }
        (Stdio::Inherit, None) => {}
        (Stdio::Null | Stdio::Terminal { .. }, None) => {
            (0..=2).try_for_each(|number| put(plan.null.as_fd(), number))?;
        }
    }
    Ok(None)
}

/// Lets the user reopen the stream, as `/dev/stdout`; for pipes and terminals that we made for this process.
fn give(fd: BorrowedFd<'_>, account: &Account, step: Step) -> Result<(), Fault> {
    let object = || "its stream".to_owned();
    let stat = sys::fs::stat(fd).at(step, object)?;
    let ours = step == Step::Terminal || is_nameless_pipe(fd).at(step, object)?;
    if ours && stat.st_uid != account.uid {
        match sys::fs::chown(fd, account.uid, stat.st_gid) {
            // The caller was given it by another user, and without root only its owner could pass it on.
            Err(error)
                if error.kind() == std::io::ErrorKind::PermissionDenied
                    && sys::user::is_in_subordinate_namespace() => {}
            other => other.at(step, object)?,
        }
    }
    Ok(())
}

/// Whether `fd` is a pipe of pipe(2), not a FIFO with a name, which is a file of the host's.
pub fn is_nameless_pipe(fd: BorrowedFd<'_>) -> std::io::Result<bool> {
    let kind = FileType::from_raw_mode(sys::fs::stat(fd)?.st_mode);
    Ok(kind == FileType::Fifo && sys::mount::file_system_magic(fd)? == PIPE_MAGIC)
}

/// CVE-2024-21626: opened without magic links, so that no descriptor of ours (`/proc/self/fd/N`) can lead outside; and what
/// the kernel calls it afterwards must lie below the root.
fn enter_working_directory(plan: &ProcessPlan<'_>, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let cwd = &plan.process.cwd;
    let object = || format!("({:?}) set in config.json", cwd.display().to_string());
    let directory = sys::fs::open_in_root(root, cwd.as_path(), OFlags::PATH | OFlags::DIRECTORY, 0)
        .at(Step::ChangeDir, object)?;
    sys::process::change_directory(&directory).at(Step::ChangeDir, object)?;
    match sys::process::is_working_directory_reachable().at(Step::ChangeDir, object)? {
        true => Ok(()),
        false => Err(Fault::new(Step::ChangeDir, object(), &std::io::ErrorKind::PermissionDenied.into())),
    }
}

fn become_account(account: &Account) -> Result<(), Fault> {
    let object = || format!("user {} group {}", account.uid, account.gid);
    // The capabilities are needed until the filter is installed; `drop_rights` takes them away.
    sys::capability::keep_over_setuid(true).at(Step::Identity, object)?;
    // CVE-2022-36109: always exactly these supplementary groups, none of the caller's.
    sys::process::set_identity(account.uid, account.gid, &account.groups).at(Step::Identity, object)?;
    // A change of user makes the kernel look at fs.suid_dumpable instead.
    sys::process::set_dumpable(false).at(Step::Rights, || "dumpable flag".to_owned())
}

/// Executes the program. Every descriptor but the channel is closed before, so there is no way back to the caller.
fn conclude(plan: &ProcessPlan<'_>, channel: &Child, path: &CString, vectors: &Vectors) -> ! {
    let failed = |fault| -> ! {
        channel.report(fault);
        sys::process::exit(1)
    };
    // CVE-2024-21626: nothing of the host's stays open, not even for the moment of the exec.
    if let Err(error) = sys::process::close_all_but(channel.as_fd(), 3 + plan.preserve_fds) {
        failed(Fault::new(Step::Stdio, "nothing but the standard streams", &error));
    }
    let install = || match (&plan.filter, &plan.listener) {
        (None, _) => Ok(()),
        (Some(filter), None) => install(filter),
        (Some(filter), Some(listener)) => install_listening(filter, listener, channel),
    };
    if let Err(fault) = tune(plan).and_then(|()| drop_rights(&plan.rights, install)) {
        failed(fault);
    }
    let error = sys::process::exec(path, vectors);
    failed(lookup::exec_fault(&path.to_string_lossy(), &error))
}

/// Only now: a process with a deadline may not fork, and hooks and the init process are forks.
fn tune(plan: &ProcessPlan<'_>) -> Result<(), Fault> {
    if plan.tuning.is_scheduled() && !plan.other_users {
        // The change of user has taken the capabilities away that this takes.
        let object = || "capabilities".to_owned();
        let own = sys::capability::get().at(Step::Rights, object)?;
        sys::capability::set(ThreadSets { effective: own.permitted, ..own }).at(Step::Rights, object)?;
        plan.tuning.schedule(0)?;
    }
    plan.tuning.adapt()?;
    labels::apply(&plan.labels)
}

/// Leaves exactly `rights`.
///
/// Without no-new-privileges the filter needs CAP_SYS_ADMIN and comes first; with it, the filter comes last, and may then
/// forbid what the steps before it use.
pub fn drop_rights(rights: &Rights, install: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    let object = || "capabilities".to_owned();
    let (early, late) = if rights.no_new_privileges { (None, Some(install)) } else { (Some(install), None) };
    let own = sys::capability::get().at(Step::Rights, object)?;
    sys::capability::set(ThreadSets { effective: own.permitted, ..own }).at(Step::Rights, object)?;
    if let Some(install) = early {
        install()?;
    }
    // A caller without all capabilities gives what it has; the specification wants that to be no failure.
    let rights = rights.within(own.permitted);
    sys::capability::limit_bounding(rights.bounding).at(Step::Rights, object)?;
    sys::capability::set(ThreadSets {
        effective: rights.effective,
        permitted: rights.permitted,
        inheritable: rights.inheritable,
    })
    .at(Step::Rights, object)?;
    sys::capability::set_ambient(rights.ambient).at(Step::Rights, object)?;
    if let Some(install) = late {
        sys::seccomp::set_no_new_privileges().at(Step::Rights, || "no-new-privileges flag".to_owned())?;
        install()?;
    }
    Ok(())
}

/// Puts `filter` in force for this process.
pub fn install(filter: &Program) -> Result<(), Fault> {
    filter.install().at(Step::Seccomp, || "the process".to_owned())
}

/// Puts `filter` in force and returns when the agent of `listener` has it; see [`Listener`] for the order.
fn install_listening(filter: &Program, listener: &Listener, channel: &Child) -> Result<(), Fault> {
    let object = || "the process".to_owned();
    // Kept open until the exec closes it: the number after it is the listener's.
    let own = sys::process::open(std::process::id() as i32).at(Step::Listener, object)?;
    let number = sys::process::next_fd().at(Step::Listener, object)?;
    channel.announce(listener, number, own.as_fd()).at(Step::Listener, object)?;
    let installed = filter.install_listening().at(Step::Seccomp, object)?;
    assert_eq!(installed.as_raw_fd(), number, "nobody else opens descriptors in this process");
    let told = channel.expect(GO_ON);
    // Both are closed by the exec. Closing them here would be two more calls under the filter.
    let _ = (own.into_raw_fd(), installed.into_raw_fd());
    told
}
