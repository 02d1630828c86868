//! The cgroup v2 device program: assembled, loaded and attached with bpf(2).
//!
//! Cgroup v2 has no devices controller; a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` on the cgroup is asked instead at
//! every open and mknod of a device. It runs through the rules from the last to the first and strikes what each rule grants from
//! what was asked for, which gives the same answers as writing the rules to v1's devices.allow and devices.deny one by one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which kind of device node a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    Any,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What a rule allows or denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making the node.
    pub mknod: bool,
}

impl DeviceAccess {
    /// Read, write and mknod.
    pub const ALL: Self = Self { read: true, write: true, mknod: true };

    /// `BPF_DEVCG_ACC_*`.
    const fn bits(self) -> i32 {
        self.mknod as i32 | (self.read as i32) << 1 | (self.write as i32) << 2
    }
}

/// One device rule; of several that match, the last one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it grants or takes away.
    pub allow: bool,
    /// The kind of node.
    pub kind: DeviceKind,
    /// The major number, `None` for all.
    pub major: Option<u32>,
    /// The minor number, `None` for all.
    pub minor: Option<u32>,
    /// What is granted or taken away.
    pub access: DeviceAccess,
}

/// One eBPF instruction, laid out as `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_EQUAL: u8 = 0x15;
/// Compares the low halves only, so that a minor above `i32::MAX` does not meet sign extension.
const JUMP_NOT_EQUAL_32: u8 = 0x56;
const EXIT: u8 = 0x95;

const fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

/// Registers: 0 answer, 1 context, 2 kind, 3 access not yet granted, 4 major, 5 minor, 6 scratch.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Assembles the program that decides by `rules`; what no rule grants is denied.
pub fn device_program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { u32 access_type /* access << 16 | kind */; u32 major; u32 minor; }
    let mut program = vec![
        op(LOAD_WORD, KIND, CONTEXT, 0, 0),
        op(MOVE_REGISTER, WANTED, KIND, 0, 0),
        op(AND, KIND, 0, 0, 0xffff),
        op(SHIFT_RIGHT, WANTED, 0, 0, 16),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let access = rule.access.bits();
        let body = if rule.allow {
            vec![
                op(AND, WANTED, 0, 0, !access & 7),
                op(JUMP_NOT_EQUAL_32, WANTED, 0, 2, 0),
                op(MOVE_IMMEDIATE, ANSWER, 0, 0, 1),
                op(EXIT, 0, 0, 0, 0),
            ]
        } else {
            vec![
                op(MOVE_REGISTER, SCRATCH, WANTED, 0, 0),
                op(AND, SCRATCH, 0, 0, access),
                op(JUMP_EQUAL, SCRATCH, 0, 2, 0),
                op(MOVE_IMMEDIATE, ANSWER, 0, 0, 0),
                op(EXIT, 0, 0, 0, 0),
            ]
        };
        let kind = match rule.kind {
            DeviceKind::Any => None,
            DeviceKind::Block => Some(1),
            DeviceKind::Char => Some(2),
        };
        let conditions = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
        let conditions: Vec<_> =
            conditions.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
        let mut left = (conditions.len() + body.len()) as i16;
        for (register, value) in conditions {
            left -= 1;
            program.push(op(JUMP_NOT_EQUAL_32, register, 0, left, value as i32));
        }
        program.extend(body);
        // Nothing before a rule for everything can matter.
        let everything = rule.kind == DeviceKind::Any && rule.major.is_none() && rule.minor.is_none();
        if everything && rule.access == DeviceAccess::ALL {
            break;
        }
    }
    program.push(op(MOVE_IMMEDIATE, ANSWER, 0, 0, 0));
    program.push(op(EXIT, 0, 0, 0, 0));
    program
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_PROG_QUERY: i32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replace: u32,
}

#[repr(C)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// Replaces the device programs of the cgroup v2 directory `cgroup` by one that decides by `rules`.
///
/// The new program is attached before the old ones go, so there is no moment without one. It lives as long as the cgroup.
pub fn set_device_rules(cgroup: BorrowedFd<'_>, rules: &[DeviceRule]) -> io::Result<()> {
    let old = device_programs(cgroup)?;
    let program = load(&device_program(rules))?;
    let attributes = |program: BorrowedFd<'_>, flags| AttachAttributes {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags,
        replace: 0,
    };
    let program = program.as_fd();
    // SAFETY: BPF_PROG_ATTACH reads integers only; both descriptors are borrowed for the call.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes(program, BPF_F_ALLOW_MULTI)) }?;
    for id in old {
        // SAFETY: BPF_PROG_GET_FD_BY_ID reads one u32 and returns a new descriptor, owned by nobody else.
        let Ok(fd) = (unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut [id, 0, 0]) }) else { continue };
        // SAFETY: as above: `fd` was just made for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: BPF_PROG_DETACH reads integers only; both descriptors are open for the call.
        unsafe { bpf(BPF_PROG_DETACH, &mut attributes(fd.as_fd(), 0)) }?;
    }
    Ok(())
}

/// The ids of the device programs attached to the cgroup v2 directory `cgroup` itself.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attributes = QueryAttributes {
        target: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        padding: 0,
    };
    // SAFETY: the kernel writes at most `count` ids to `ids`, which has that many, and the new count to `attributes`.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids[..(attributes.count as usize).min(ids.len())].to_vec())
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..11].copy_from_slice(b"hull_device");
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
    };
    // SAFETY: the kernel reads `instruction_count` instructions laid out as `struct bpf_insn` and a C string; both outlive the
    // call. The descriptor it returns is new and owned by nobody else.
    unsafe { bpf(BPF_PROG_LOAD, &mut attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// # Safety
/// `attributes` must be the member of `union bpf_attr` that `command` uses, and its addresses must be good for what the
/// command reads and writes through them.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the caller answers for the contents; the size passed is that of the borrowed value.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, std::mem::size_of::<T>() as u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the subset of eBPF that [`device_program`] uses.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let jump = |taken: bool| if taken { i.offset as usize } else { 0 };
            at += 1;
            match i.code {
                LOAD_WORD => registers[to] = context[i.offset as usize / 4].into(),
                MOVE_IMMEDIATE => registers[to] = i.immediate as i64 as u64,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= i.immediate as i64 as u64,
                SHIFT_RIGHT => registers[to] >>= i.immediate,
                JUMP_EQUAL => at += jump(registers[to] == i.immediate as i64 as u64),
                JUMP_NOT_EQUAL_32 => at += jump(registers[to] as u32 != i.immediate as u32),
                EXIT => return registers[0] == 1,
                other => panic!("unknown operation {other:#x}"),
            }
        }
    }

    const CHAR: u32 = 2;
    const BLOCK: u32 = 1;
    const MKNOD: u32 = 1;
    const READ: u32 = 2;
    const WRITE: u32 = 4;

    fn rule(
        allow: bool,
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        let access = DeviceAccess {
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        };
        DeviceRule { allow, kind, major, minor, access }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = [
            rule(false, DeviceKind::Any, None, None, "rwm"),
            rule(true, DeviceKind::Char, None, None, "m"),
            rule(true, DeviceKind::Char, Some(1), Some(3), "r"),
            rule(true, DeviceKind::Char, Some(1), Some(3), "w"),
            rule(true, DeviceKind::Block, Some(8), None, "rwm"),
            rule(false, DeviceKind::Block, Some(8), Some(0xffff_fff0), "w"),
        ];
        let program = device_program(&rules);
        let check = |kind, access, major, minor, expected| {
            assert_eq!(
                run(&program, kind, access, major, minor),
                expected,
                "{kind} {access} {major}:{minor}"
            );
        };
        check(CHAR, READ | WRITE, 1, 3, true);
        check(CHAR, READ | WRITE | MKNOD, 1, 3, true);
        check(CHAR, READ, 1, 4, false);
        check(CHAR, MKNOD, 77, 4, true);
        check(BLOCK, MKNOD, 77, 4, false);
        check(BLOCK, READ | WRITE, 8, 1, true);
        check(BLOCK, READ | WRITE, 8, 0xffff_fff0, false);
        check(BLOCK, READ, 8, 0xffff_fff0, true);
        check(CHAR, READ, 8, 1, false);
    }

    #[test]
    fn without_rules_nothing_is_allowed_and_one_rule_allows_all() {
        assert!(!run(&device_program(&[]), CHAR, READ, 1, 3));
        let all = device_program(&[rule(true, DeviceKind::Any, None, None, "rwm")]);
        assert!(run(&all, BLOCK, READ | WRITE | MKNOD, 8, 0));
    }
}
