//! Starting a helper program without copying this process: posix_spawn, which is vfork and exec in one careful place.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// How [`spawn`] arranges the new program.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The file to execute; not searched on the PATH.
    pub program: &'a Path,
    /// Its whole argument vector, name included.
    pub args: &'a [&'a OsStr],
    /// Descriptors it gets, each under the number beside it. Standard streams not named here are `/dev/null`; everything
    /// else is closed because hull opens all descriptors close-on-exec.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Whether it leads a session of its own, out of reach of the terminal's signals.
    pub new_session: bool,
}

/// Starts a program with this process's environment, an empty signal mask and default signal actions; returns its pid.
///
/// The caller is its parent and owes a wait when it lives long enough for the child's end to matter.
pub fn spawn(request: &Spawn<'_>) -> io::Result<i32> {
    let program = c_string(request.program.as_os_str())?;
    let args = request.args.iter().map(|a| c_string(a)).collect::<io::Result<Vec<_>>>()?;
    let mut argv: Vec<*mut libc::c_char> = args.iter().map(|a| a.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let actions = Actions::new(request.fds)?;
    let attributes = Attributes::new(request.new_session)?;
    let mut pid = 0;
    // SAFETY: the C strings, the null-terminated argv, the initialised actions and attributes all outlive the call, and
    // `environ` is the process's own environment, which nobody changes while hull runs (std::env::set_var is unsafe).
    let result = unsafe {
        libc::posix_spawn(&raw mut pid, program.as_ptr(), &actions.0, &attributes.0, argv.as_ptr(), environ)
    };
    errno(result).map(|()| pid)
}

/// The children that [`spawn_forgotten`] has still to reap.
static FORGOTTEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// As [`spawn`], for a program whose end does not matter to its parent, however long that lives: it is reaped by a later call of this
/// function, so that those that have ended and still have a pid are never more than since the last one.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_forgotten(request: &Spawn<'_>) -> io::Result<i32> {
    let pid = spawn(request)?;
    let mut forgotten = FORGOTTEN.lock().unwrap_or_else(PoisonError::into_inner);
    forgotten.retain(|pid| {
        let pid = rustix::process::Pid::from_raw(*pid);
        // An error says that there is no such child: somebody else has reaped it.
        matches!(rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG), Ok(None))
    });
    forgotten.push(pid);
    Ok(pid)
}

/// Has `command` lead a session of its own, where no terminal is to ask at, make files that others may read, and end with the thread
/// that starts it.
pub fn set_apart(command: &mut Command) {
    let prepare = || {
        crate::process::new_session()?;
        crate::process::set_umask(0o022);
        crate::process::die_with_parent()
    };
    // SAFETY: what runs between fork and exec is three system calls: nothing allocates or takes a lock (signal-safety(7)).
    unsafe { command.pre_exec(prepare) };
}

/// Another descriptor of the same open file, close-on-exec and numbered `least` or higher.
///
/// For what must stay open while [`Spawn::fds`] renumbers others, such as the program itself.
pub fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, least)?)
}

/// Takes ownership of a descriptor this process was started with; see [`Spawn::fds`]. It becomes close-on-exec.
///
/// The first thing a program does: before it has opened anything, a number above 2 can only belong to what was inherited.
///
/// # Errors
/// When there is no such descriptor, or the number is a standard stream's.
pub fn claim_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_SETFD only changes a flag, and says so when `fd` is not open.
    if fd <= 2 || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the descriptor is open (checked above), and by this function's contract nobody in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

/// posix_spawn's functions return the errno instead of setting it.
fn errno(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(fds: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: init makes the structure it is given valid; it is only assumed so after success.
        let mut actions = unsafe {
            errno(libc::posix_spawn_file_actions_init(raw.as_mut_ptr()))?;
            Self(raw.assume_init())
        };
        for stream in 0..=2 {
            if fds.iter().any(|(_, target)| *target == stream) {
                continue;
            }
            // SAFETY: `actions` is initialised; addopen copies the path, a static C string.
            errno(unsafe {
                libc::posix_spawn_file_actions_addopen(
                    &raw mut actions.0,
                    stream,
                    c"/dev/null".as_ptr(),
                    libc::O_RDWR,
                    0,
                )
            })?;
        }
        for (fd, target) in fds {
            // A dup2 onto itself clears close-on-exec, by POSIX and glibc since 2.29.
            // SAFETY: `actions` is initialised, and the borrow keeps `fd` open until the spawn that uses it has returned.
            errno(unsafe {
                libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, fd.as_raw_fd(), *target)
            })?;
        }
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(new_session: bool) -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        let mut mask = MaybeUninit::uninit();
        let mut all = MaybeUninit::uninit();
        let mut flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        if new_session {
            flags |= libc::POSIX_SPAWN_SETSID as libc::c_int;
        }
        let flags = libc::c_short::try_from(flags).expect("the flags are below 256");
        // SAFETY: each init or fill call makes the structure it is given valid before anything reads it; the setters
        // copy the signal sets, which live over the calls.
        unsafe {
            errno(libc::posix_spawnattr_init(raw.as_mut_ptr()))?;
            let mut attributes = Self(raw.assume_init());
            libc::sigemptyset(mask.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            errno(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
            errno(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, mask.as_ptr()))?;
            errno(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, all.as_ptr()))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn gives_the_named_descriptors_and_a_session() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let pid = spawn(&Spawn {
            program: Path::new("/bin/sh"),
            args: &[
                "sh",
                "-c",
                "echo out >&5; cut -d' ' -f1,6 /proc/$$/stat >&5; readlink /proc/$$/fd/0 >&5",
            ]
            .map(OsStr::new),
            fds: &[(writer.as_fd(), 5)],
            new_session: true,
        })
        .unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("out\n{pid} {pid}\n/dev/null\n"));
        rustix::process::waitpid(rustix::process::Pid::from_raw(pid), rustix::process::WaitOptions::empty())
            .unwrap();
    }

    #[test]
    fn a_missing_program_is_an_error_here() {
        let request = Spawn { program: Path::new("/no/such"), args: &[], fds: &[], new_session: false };
        assert_eq!(spawn(&request).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
