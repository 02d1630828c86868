//! What this kernel is, and which of the system calls that hull cannot do without it refuses to know.

use std::io;

/// What each is called in error messages, its number, and arguments that no kernel which has it accepts.
const NEEDED: [(&str, libc::c_long, [libc::c_long; 5]); 13] = [
    ("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0]),
    ("close_range", libc::SYS_close_range, [1, 0, 0, 0, 0]),
    ("fsconfig", libc::SYS_fsconfig, [-1, -1, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [-1, -1, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0, -1, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0, 0, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [-1, 0, -1, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [-1, 0, -1, 0, -1]),
    ("open_tree", libc::SYS_open_tree, [-1, 0, -1, 0, 0]),
    ("openat2", libc::SYS_openat2, [-1, 0, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [0, 0, 0, 0, 0]),
    ("seccomp", libc::SYS_seccomp, [-1, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
];

/// The system calls hull needs that this kernel, or a sandbox around hull, answers with `ENOSYS`.
pub fn missing_system_calls() -> Vec<&'static str> {
    let missing = NEEDED.iter().filter(|(_, number, [a, b, c, d, e])| {
        // SAFETY: every pointer among the arguments is null and every descriptor or flag invalid, so that the kernel reads
        // and writes no memory of ours and changes nothing; all it can do is to say why it refuses.
        let result = unsafe { libc::syscall(*number, *a, *b, *c, *d, *e) };
        result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
    });
    missing.map(|(name, ..)| *name).collect()
}

/// The first two numbers of the kernel's release, for what it logs when it is tried in vain.
pub fn kernel_version() -> (u32, u32) {
    version(&rustix::system::uname().release().to_string_lossy())
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_begin_with_two_numbers() {
        assert_eq!(version("6.1.0-56-cloud-amd64"), (6, 1));
        assert_eq!(version("6.18-rc1"), (6, 18));
        assert_eq!(version("odd"), (0, 0));
    }

    #[test]
    fn this_kernel_has_them_all() {
        assert_eq!(super::missing_system_calls(), [""; 0]);
    }
}
