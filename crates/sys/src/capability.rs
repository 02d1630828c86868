//! Capability sets of the calling thread; see capabilities(7).

use std::fmt;
use std::io;

/// One Linux capability, by its number in `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

macro_rules! capabilities {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl Capability {
            $(#[doc = concat!("`CAP_", stringify!($name), "`.")] pub const $name: Capability = Capability($number);)*
        }
        /// Names without their `CAP_`, indexed by number.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

capabilities! {
    CHOWN = 0, DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2, FOWNER = 3, FSETID = 4, KILL = 5, SETGID = 6, SETUID = 7, SETPCAP = 8,
    LINUX_IMMUTABLE = 9, NET_BIND_SERVICE = 10, NET_BROADCAST = 11, NET_ADMIN = 12, NET_RAW = 13, IPC_LOCK = 14,
    IPC_OWNER = 15, SYS_MODULE = 16, SYS_RAWIO = 17, SYS_CHROOT = 18, SYS_PTRACE = 19, SYS_PACCT = 20, SYS_ADMIN = 21,
    SYS_BOOT = 22, SYS_NICE = 23, SYS_RESOURCE = 24, SYS_TIME = 25, SYS_TTY_CONFIG = 26, MKNOD = 27, LEASE = 28,
    AUDIT_WRITE = 29, AUDIT_CONTROL = 30, SETFCAP = 31, MAC_OVERRIDE = 32, MAC_ADMIN = 33, SYSLOG = 34, WAKE_ALARM = 35,
    BLOCK_SUSPEND = 36, AUDIT_READ = 37, PERFMON = 38, BPF = 39, CHECKPOINT_RESTORE = 40,
}

impl Capability {
    /// The capability called `name`, with or without `CAP_`, in any case; `None` when there is no such capability.
    pub fn from_name(name: &str) -> Option<Self> {
        let bare = match name.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
            _ => name,
        };
        NAMES.iter().position(|known| known.eq_ignore_ascii_case(bare)).map(|at| Self(at as u8))
    }

    /// The capability with this number, when this program knows it.
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < NAMES.len()).then_some(Self(number))
    }

    /// The number of `linux/capability.h`.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability this program knows; [`supported`] leaves out those the kernel lacks.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set of `members`.
    pub const fn of(members: &[Capability]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < members.len() {
            bits |= 1 << members[i].0;
            i += 1;
        }
        Self(bits)
    }

    /// The set whose bit `n` stands for capability `n`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// One bit per capability.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `capability` is a member.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds `capability`.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// Takes `capability` away.
    pub fn remove(&mut self, capability: Capability) {
        self.0 &= !(1 << capability.0);
    }

    /// The members of either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members of both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members in order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |&capability| self.contains(capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Self {
        let mut set = Self::EMPTY;
        members.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

/// The three sets of capget(2) and capset(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSets {
    /// What permission checks look at.
    pub effective: CapabilitySet,
    /// What may become effective.
    pub permitted: CapabilitySet,
    /// What survives an exec of a file that is marked with the same capabilities.
    pub inheritable: CapabilitySet,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits in two halves.
const VERSION_3: u32 = 0x2008_0522;

/// The effective, permitted and inheritable sets of the calling thread.
pub fn get() -> io::Result<ThreadSets> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 makes the kernel write exactly two `Data`, which is what `data` holds.
    errno(unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) })?;
    let join =
        |half: fn(&Data) -> u32| CapabilitySet(u64::from(half(&data[0])) | u64::from(half(&data[1])) << 32);
    Ok(ThreadSets {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// Replaces the effective, permitted and inheritable sets of the calling thread.
pub fn set(sets: ThreadSets) -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (sets.effective.0 >> shift) as u32,
        permitted: (sets.permitted.0 >> shift) as u32,
        inheritable: (sets.inheritable.0 >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read exactly two `Data`, which is what `data` holds.
    errno(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// The capabilities that are both known here and to the running kernel.
///
/// The kernel's highest number is found by asking for it, so that no /proc is needed.
pub fn supported() -> CapabilitySet {
    // The bounding set can be read for every capability the kernel has; beyond them the answer is EINVAL.
    let known = |number: &u8| prctl(libc::PR_CAPBSET_READ, u64::from(*number), 0).is_ok();
    // Only the newest few can be missing, so the search starts at the top.
    let count = (0..NAMES.len() as u8).rev().find(known).map_or(0, |highest| highest + 1);
    CapabilitySet((1 << count) - 1)
}

/// The bounding set of the calling thread.
pub fn bounding() -> CapabilitySet {
    CapabilitySet::ALL
        .iter()
        .filter(|c| matches!(prctl(libc::PR_CAPBSET_READ, u64::from(c.0), 0), Ok(1)))
        .collect()
}

/// Reduces the bounding set of the calling thread to `keep`; it can never grow again.
pub fn limit_bounding(keep: CapabilitySet) -> io::Result<()> {
    for number in (0..64).filter(|number| keep.0 & (1 << number) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, number, 0) {
            Ok(_) => {}
            // Past the kernel's last capability: everything it has was handled. Numbers above what this
            // program knows are dropped as well, so a newer kernel's capabilities do not leak in.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ambient set of the calling thread.
pub fn ambient() -> CapabilitySet {
    CapabilitySet::ALL
        .iter()
        .filter(|c| {
            matches!(prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET as u64, u64::from(c.0)), Ok(1))
        })
        .collect()
}

/// Replaces the ambient set; each member must be permitted and inheritable already.
pub fn set_ambient(set: CapabilitySet) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in set.iter() {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, u64::from(capability.0))?;
    }
    Ok(())
}

/// Decides whether the permitted set survives the next change of all user ids away from 0; an exec resets it.
pub fn keep_over_setuid(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, u64::from(keep), 0).map(drop)
}

fn prctl(option: i32, second: u64, third: u64) -> io::Result<i64> {
    // SAFETY: the options used in this file take integers only and write no memory.
    errno(unsafe { libc::prctl(option, second, third, 0u64, 0u64) }.into())
}

fn errno(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_spelling() {
        for name in ["CAP_SYS_ADMIN", "sys_admin", "cap_Sys_Admin"] {
            assert_eq!(Capability::from_name(name), Some(Capability::SYS_ADMIN), "{name}");
        }
        for name in ["", "CAP_", "ALL", "CAP_NOPE", "CAP_CAP_CHOWN"] {
            assert_eq!(Capability::from_name(name), None, "{name}");
        }
        assert_eq!(Capability::CHECKPOINT_RESTORE.to_string(), "CAP_CHECKPOINT_RESTORE");
    }

    #[test]
    fn numbers_and_names_agree() {
        for capability in CapabilitySet::ALL.iter() {
            assert_eq!(Capability::from_name(&capability.to_string()), Some(capability));
            assert_eq!(Capability::from_number(capability.number()), Some(capability));
        }
        assert_eq!(CapabilitySet::ALL.iter().count(), 41);
        assert_eq!(Capability::from_number(41), None);
    }

    #[test]
    fn sets_are_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("the field exists");
            let hex = line[name.len()..].trim();
            CapabilitySet::from_bits(u64::from_str_radix(hex, 16).expect("it is hexadecimal"))
        };
        let sets = get().expect("capget works on oneself");
        assert_eq!(sets.effective, field("CapEff:"));
        assert_eq!(sets.permitted, field("CapPrm:"));
        assert_eq!(sets.inheritable, field("CapInh:"));
        assert_eq!(bounding(), field("CapBnd:").intersection(CapabilitySet::ALL));
        assert_eq!(ambient(), field("CapAmb:"));
        assert_eq!(set(sets).map_err(|e| e.to_string()), Ok(()));
        assert!(supported().contains(Capability::CHOWN));
    }
}
