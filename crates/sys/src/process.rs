//! Cloning, waiting, pidfds, exec, credentials, limits, prctl.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::namespace::KindSet;

/// How to [`clone`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Clone<'a> {
    /// Namespaces to create for the child.
    pub namespaces: KindSet,
    /// The cgroup v2 directory the child starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether the new process is a child of the caller's parent, which alone may then wait for it.
    pub sibling: bool,
}

/// Which side of [`clone`] the caller is.
#[derive(Debug)]
pub enum Cloned {
    Parent {
        pid: i32,
        pidfd: OwnedFd,
    },
    /// The child; it must end in [`exit`] or an exec, never return into code that belongs to the parent.
    Child,
}

/// Copies this process, copy-on-write; signal handlers are reset in the child.
///
/// # Errors
/// `EDEADLK` when the process has more than one thread: the child could then meet locks nobody releases.
pub fn clone(how: Clone<'_>) -> io::Result<Cloned> {
    if !is_single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers, for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_PIDFD | how.namespaces.flags()) as u64 | CLONE_CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    if how.sibling {
        // The signal is the caller's own, and may not be given.
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = how.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child gets its own copy of memory and stack, so returning twice is sound; this process
    // has one thread (checked above), so no lock of the allocator or of std is held by a thread the child lacks.
    // `pidfd` and `args` live on this stack over the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel stored a new descriptor in `pidfd`, which nobody else owns.
        pid => Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

// From linux/sched.h: libc has them as c_int, where they do not fit.
/// Resets handled signals to their defaults in the child.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// Starts the child in the cgroup whose directory `clone_args.cgroup` is.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whether this process has one thread.
pub fn is_single_threaded() -> bool {
    // SAFETY: unshare(CLONE_THREAD) changes nothing; it fails when there is another thread (unshare(2)).
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Ends this process at once: no destructors, no flushing of what the parent may still flush.
pub fn exit(status: u8) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(status.into()) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(u8),
    Signaled(i32),
}

/// Waits for the child behind `pidfd` and releases it.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    loop {
        match waitid(pidfd, WaitIdOptions::EXITED) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Releases the child behind `pidfd` if it has ended.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn waitid(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<Ended>> {
    Ok(rustix::process::waitid(WaitId::PidFd(pidfd), options)?.map(ended))
}

fn ended(status: WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code as u8),
        (None, signal) => Ended::Signaled(signal.unwrap_or(0)),
    }
}

/// Reaps any ended child without waiting: its pid and how it ended; `None` when there is none now.
pub fn reap_any() -> io::Result<Option<(i32, Ended)>> {
    let found = match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
        Err(rustix::io::Errno::CHILD) => None,
        other => other?,
    };
    Ok(found.map(|(pid, status)| {
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Exited(code as u8),
            (None, signal) => Ended::Signaled(signal.unwrap_or(0)),
        };
        (pid.as_raw_nonzero().get(), ended)
    }))
}

/// Opens a pidfd of a process that need not be a child.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// The pid, as this process sees it, of the process behind `pidfd`.
///
/// # Errors
/// `ESRCH` when it has ended and been waited for, or is out of sight.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Copies the descriptor `number` of the process behind `pidfd`; see pidfd_getfd(2).
///
/// # Errors
/// `EBADF` when it has none of that number, `ESRCH` when it has ended.
pub fn copy_fd(pidfd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_getfd(pidfd, number, rustix::process::PidfdGetfdFlags::empty())?)
}

/// The number that the next descriptor opened by this thread, the only one of its process, will have.
pub fn next_fd() -> io::Result<RawFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)?.as_raw_fd())
}

/// Sends `signal` to the process behind `pidfd`; one that has ended is no error.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: pidfd_send_signal reads integers; a null siginfo lets the kernel fill it as kill(2) would.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match check(result) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// Sends `signal` to the process `pid`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill reads two integers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Argument and environment vectors, built before the moment nothing may fail.
#[derive(Debug)]
pub struct Vectors {
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Vectors {
    /// # Errors
    /// `InvalidInput` when a string contains a NUL byte.
    pub fn new<S: AsRef<[u8]>>(args: &[S], env: &[S]) -> io::Result<Self> {
        let list = |strings: &[S]| -> io::Result<Vec<CString>> {
            strings
                .iter()
                .map(|s| CString::new(s.as_ref()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e)))
                .collect()
        };
        Ok(Self { args: list(args)?, env: list(env)? })
    }
}

/// Replaces this program by the file at `path`; returns only the error.
pub fn exec(path: &std::ffi::CStr, vectors: &Vectors) -> io::Error {
    let (args, env) = (pointers(&vectors.args), pointers(&vectors.env));
    // SAFETY: both lists are null-terminated arrays of NUL-terminated strings that `vectors` keeps alive over the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this program by the open file `program`; returns only the error.
pub fn exec_fd(program: impl AsFd, vectors: &Vectors) -> io::Error {
    let (args, env) = (pointers(&vectors.args), pointers(&vectors.env));
    // SAFETY: as in `exec`; the empty path with AT_EMPTY_PATH names the borrowed, open descriptor.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// Names the host, as this uts namespace knows it.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Names the NIS domain, as this uts namespace knows it.
pub fn set_domainname(name: &str) -> io::Result<()> {
    Ok(rustix::system::setdomainname(name.as_bytes())?)
}

/// Changes the working directory to the one `directory` refers to.
pub fn change_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::fchdir(directory)?)
}

/// Whether the working directory lies below the root; the kernel marks one that does not (getcwd(2)).
pub fn is_working_directory_reachable() -> io::Result<bool> {
    Ok(rustix::process::getcwd(Vec::new())?.to_bytes().starts_with(b"/"))
}

/// Whether this process, by its effective ids, may execute the file at `path`.
pub fn may_execute(path: &std::path::Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD};
    Ok(rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Whether this process, by its effective ids, may write at `path`.
pub fn may_write(path: &std::path::Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD};
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Starts a session of its own and leads it.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Makes this process the leader of a process group of its own.
pub fn new_group() -> io::Result<()> {
    Ok(rustix::process::setpgid(None, None)?)
}

/// Whether others may trace this process and look at its memory and descriptors; exec makes it so again.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: prctl with PR_SET_DUMPABLE reads integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, u64::from(dumpable), 0u64, 0u64, 0u64) }.into())
        .map(drop)
}

/// This process's real user id.
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Gives memory nobody uses any more back to the kernel, for a process that idles from now on: free heap, and what deep calls
/// left of the main thread's stack. Only the main thread may call it.
pub fn release_free_memory() {
    // SAFETY: malloc_trim takes an integer and touches only free memory, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
    const PAGE: usize = 4096;
    const DEPTH: usize = 64 * PAGE;
    let here = 0u8;
    // A page is left for the frames of this function and of madvise.
    let end = ((&raw const here).addr() & !(PAGE - 1)) - PAGE;
    let start = std::ptr::without_provenance_mut::<libc::c_void>(end - DEPTH);
    // SAFETY: below the current frames a stack holds nothing alive. The kernel keeps everything else 256 pages away from the
    // main thread's stack (stack_guard_gap), so the range is stack or not mapped, which the call reports and is no matter.
    unsafe { libc::madvise(start, DEPTH, libc::MADV_DONTNEED) };
}

/// Has the kernel send SIGKILL to this process when its parent ends.
///
/// A change of user or a gain of capabilities takes it back, a fork does not inherit it (PR_SET_PDEATHSIG(2const)).
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// Names this thread, as `ps` and `/proc/self/comm` show it; cut after 15 bytes.
pub fn set_name(name: &std::ffi::CStr) -> io::Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Sets a resource limit by its number (`RLIMIT_*`); `u64::MAX` is unlimited.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    set_limit_of(0, resource, soft, hard)
}

/// Sets a resource limit of the process `pid`.
pub fn set_limit_of(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: prlimit64 reads the structure, which outlives the call, and writes nothing through the null pointer.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, ptr::null::<libc::rlimit64>())
    };
    check(result).map(drop)
}

/// The soft and the hard resource limit of this process by its number.
pub fn limit(resource: u32) -> io::Result<(u64, u64)> {
    limit_of(0, resource)
}

/// The soft and the hard resource limit of the process `pid`.
pub fn limit_of(pid: i32, resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: prlimit64 writes one structure, which outlives the call, and reads nothing through the null pointer.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, ptr::null::<libc::rlimit64>(), &raw mut limit)
    };
    check(result).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// The number of descriptors as a resource for [`limit`] and [`set_limit`].
pub const LIMIT_DESCRIPTORS: u32 = libc::RLIMIT_NOFILE;

/// Becomes `uid` and `gid` in every way a process has them, with exactly these supplementary groups.
///
/// The thread's ids only: the caller has one thread.
pub fn set_identity(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: setgroups reads `groups.len()` ids from a slice of as many; the others read integers. The raw calls skip
    // glibc's broadcast to other threads, of which there are none.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Lets this thread make and own files as `uid` and `gid`, with all its capabilities, until the guard is dropped.
///
/// # Errors
/// `EPERM` when the ids could not be taken.
pub fn own_files_as(uid: u32, gid: u32) -> io::Result<FileIds> {
    let guard = FileIds { uid: file_id(libc::SYS_setfsuid, uid), gid: file_id(libc::SYS_setfsgid, gid) };
    // A change that was not allowed is seen by asking again only; no id is -1.
    let now = (file_id(libc::SYS_setfsuid, u32::MAX), file_id(libc::SYS_setfsgid, u32::MAX));
    if now != (uid, gid) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // The kernel took the rights over files away with user 0 (capabilities(7)).
    let sets = crate::capability::get()?;
    crate::capability::set(crate::capability::ThreadSets { effective: sets.permitted, ..sets })?;
    Ok(guard)
}

/// What [`own_files_as`] puts back when dropped.
#[derive(Debug)]
pub struct FileIds {
    uid: u32,
    gid: u32,
}

impl Drop for FileIds {
    fn drop(&mut self) {
        file_id(libc::SYS_setfsgid, self.gid);
        file_id(libc::SYS_setfsuid, self.uid);
    }
}

/// Sets one of the file system ids and returns what it was.
fn file_id(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: setfsuid and setfsgid read an integer and cannot fail.
    unsafe { libc::syscall(call, id) as u32 }
}

/// Closes every descriptor from `first` on.
///
/// For a process that will only use descriptors it opens afterwards: owned descriptors of the caller above `first` are
/// gone, and it must not drop them, which only [`exit`] and exec guarantee.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, 0)
}

/// Closes every descriptor from `first` on but `keep`; the contract is that of [`close_from`].
pub fn close_all_but(keep: BorrowedFd<'_>, first: u32) -> io::Result<()> {
    let keep = keep.as_raw_fd() as u32;
    if keep > first {
        close_range(first, keep - 1, 0)?;
    }
    close_range((keep + 1).max(first), u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: close_range reads integers; who owns closed descriptors is the contract of `close_from`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Makes `to` (0, 1 or 2) another name of `from`, kept over exec.
pub fn set_standard_stream(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    assert!((0..=2).contains(&to), "a standard stream");
    // SAFETY: dup3 reads integers; nothing in Rust owns descriptors 0 to 2.
    check(unsafe { libc::syscall(libc::SYS_dup2, from.as_raw_fd(), to) })?;
    if from.as_raw_fd() == to {
        // dup2 onto itself leaves the flag.
        rustix::io::fcntl_setfd(from, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}

/// Leaves the session keyring for a new one without a name, which nobody else can join.
pub fn new_session_keyring() -> io::Result<()> {
    let no_name = ptr::null::<libc::c_char>();
    // SAFETY: keyctl takes a null pointer for the name of the keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, no_name) }).map(drop)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
