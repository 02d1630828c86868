//! Signal numbers, names and masks.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// The highest signal number.
pub const MAX: i32 = 64;

const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal given as `TERM`, `SIGTERM`, `15`, `RTMIN+3` or `RTMAX-1`, in any case.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=MAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // glibc keeps the first two real-time signals for itself.
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(34),
        (_, Some("")) => Some(MAX),
        (Some(plus), _) => plus.strip_prefix('+').and_then(|n| n.parse::<i32>().ok()).map(|n| 34 + n),
        (_, Some(minus)) => minus.strip_prefix('-').and_then(|n| n.parse::<i32>().ok()).map(|n| MAX - n),
        _ => None,
    };
    if let Some(number) = real_time {
        return (34..=MAX).contains(&number).then_some(number);
    }
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        other => other,
    };
    NAMES.iter().position(|known| *known == name).map(|at| at as i32 + 1)
}

/// The name of a signal, as `SIGTERM`.
pub fn name(number: i32) -> String {
    match number {
        1..=31 => format!("SIG{}", NAMES[number as usize - 1]),
        34 => "SIGRTMIN".to_owned(),
        64 => "SIGRTMAX".to_owned(),
        35..=49 => format!("SIGRTMIN+{}", number - 34),
        50..=63 => format!("SIGRTMAX-{}", MAX - number),
        _ => format!("signal {number}"),
    }
}

/// Gives every signal its default action and blocks none: what a program may expect when it starts.
pub fn reset() -> io::Result<()> {
    for number in 1..=MAX {
        if matches!(number, libc::SIGKILL | libc::SIGSTOP | 32 | 33) {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler, so no code of ours runs in a signal's context.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    mask(libc::SIG_SETMASK, empty())
}

/// Blocks every signal that can be, for a process that takes them with [`wait`].
pub fn block_all() -> io::Result<()> {
    mask(libc::SIG_SETMASK, full())
}

/// A signal taken from the queue of blocked ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub signal: i32,
    /// The process that sent it, 0 when that is outside this pid namespace or the kernel.
    pub sender: i32,
}

/// Waits for any signal; all must be [blocked](block_all).
pub fn wait() -> io::Result<Taken> {
    let set = full();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `set` is initialised and the kernel writes one siginfo_t to `info`; both outlive the call.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, info.as_mut_ptr()) };
        if signal > 0 {
            // SAFETY: zeroed siginfo_t is valid and the kernel filled it; si_pid is read of a union of plain integers.
            let sender = unsafe { info.assume_init_ref().si_pid() };
            return Ok(Taken { signal, sender });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn mask(how: libc::c_int, set: libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialised and outlives the call; nothing is written through the null pointer.
    let result = unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn full() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_found_in_every_spelling() {
        let check = |text: &str, expected: Option<i32>| assert_eq!(parse(text), expected, "{text}");
        check("TERM", Some(15));
        check("sigterm", Some(15));
        check("9", Some(9));
        check("SIGRTMIN+3", Some(37));
        check("rtmax-1", Some(63));
        check("CLD", Some(17));
        for bad in ["", "0", "65", "-1", "SIG", "NOPE", "RTMIN+40", "RTMAX+1"] {
            check(bad, None);
        }
        for number in (1..=31).chain(34..=64) {
            assert_eq!(parse(&name(number)), Some(number));
        }
    }
}
