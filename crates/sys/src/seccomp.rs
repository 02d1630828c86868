//! Installing seccomp programs; see seccomp(2).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF, laid out as `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation and addressing mode (`BPF_LD | BPF_W | BPF_ABS`, ...).
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// How many instructions to skip when it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

#[repr(C)]
struct FilterProgram {
    length: u16,
    filter: *const Instruction,
}

/// Flags of `SECCOMP_SET_MODE_FILTER`, combined by `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Applies to every thread of the process.
    pub const TSYNC: Self = Self(1);
    /// Logs what the program answers, except allowed calls.
    pub const LOG: Self = Self(1 << 1);
    /// Leaves speculative store bypass on, which older kernels turn off for filtered processes at a price.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// A supervised call waits for the supervisor's answer even when a signal arrives.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// Answers with a descriptor of the calls that wait for a supervisor; see [`install_listening`].
    const NEW_LISTENER: Self = Self(1 << 3);
    /// Lets a failed [`Self::TSYNC`] be told from a descriptor.
    const TSYNC_ESRCH: Self = Self(1 << 4);

    /// Without what the kernel takes only together with a listener.
    pub const fn without_listener(self) -> Self {
        Self(self.0 & !Self::WAIT_KILLABLE_RECV.0)
    }

    /// The bits as seccomp(2) takes them.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The longest program the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Installs `program` for the calling thread and all its future children; it cannot be taken back.
///
/// Needs [`set_no_new_privileges`] first or `CAP_SYS_ADMIN`. The call allocates nothing, so a child may use it before its exec.
///
/// # Errors
/// `EINVAL` when the program does not verify, `EACCES` without the privilege named above.
pub fn install(program: &[Instruction], flags: Flags) -> io::Result<()> {
    match set_filter(program, flags)? {
        0 => Ok(()),
        // With TSYNC a positive answer is the id of a thread that has filters of its own.
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// As [`install`], for a program with `SECCOMP_RET_USER_NOTIF`: calls with that answer wait for whoever has the descriptor
/// (close-on-exec, and the lowest one that is free).
pub fn install_listening(program: &[Instruction], flags: Flags) -> io::Result<OwnedFd> {
    let synced = if flags.0 & Flags::TSYNC.0 == 0 { Flags::NONE } else { Flags::TSYNC_ESRCH };
    let listener = set_filter(program, flags | Flags::NEW_LISTENER | synced)?;
    // SAFETY: with this flag the answer is a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

fn set_filter(program: &[Instruction], flags: Flags) -> io::Result<libc::c_long> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = FilterProgram { length, filter: program.as_ptr() };
    // SAFETY: the kernel copies `length` instructions from `filter` during the call; `program` is that long, its elements
    // have the layout of `struct sock_filter`, and the borrow outlives the call.
    match unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, &raw const filter)
    } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// Whether the kernel knows each of `flags`.
pub fn flags_are_supported(flags: Flags) -> bool {
    // What needs a listener is refused without.
    let asked = flags | Flags::NEW_LISTENER | Flags::TSYNC_ESRCH;
    let no_program = std::ptr::null::<FilterProgram>();
    // SAFETY: the kernel looks at the flags first; then it finds that there is no program to read and changes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, asked.0, no_program) };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Forbids the calling thread and its future children to gain privileges by exec; see prctl(2), `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privileges() -> io::Result<()> {
    // SAFETY: this option takes integers only and writes no memory.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1u64, 0u64, 0u64, 0u64) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel has seccomp with filters.
pub fn is_supported() -> bool {
    action_is_supported(libc::SECCOMP_RET_ALLOW)
}

/// Whether the kernel knows this `SECCOMP_RET_*` action.
pub fn action_is_supported(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 from the pointer, which is a live local.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Version and patch level of the running kernel, `(6, 18)` for `6.18.44-x`; zeros when it cannot be read.
pub fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name
        .release()
        .to_str()
        .unwrap_or("")
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked() {
        assert!(is_supported());
        assert!(!action_is_supported(0x1234_0000));
        assert!(flags_are_supported(Flags::TSYNC | Flags::LOG | Flags::SPEC_ALLOW));
        assert!(!flags_are_supported(Flags(1 << 30)));
        assert!(kernel_version() >= (4, 14));
    }

    #[test]
    fn a_program_that_does_not_verify_is_an_error() {
        let error = install(&[], Flags::NONE).expect_err("an empty program is refused");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
