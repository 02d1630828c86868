//! The system call numberings of this machine, and the decision for each number.

use super::Program;
use super::program::{
    ARCH_I386, ARCH_X86_64, Architecture, Decision, ENOSYS, ERRNO, KILL_PROCESS, Marked, Range, assemble,
};
use super::syscalls::{NO, Syscall, X32};
use sys::seccomp::Flags;

/// A numbering of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// 64-bit programs.
    X86_64,
    /// 32-bit programs.
    I386,
    /// 64-bit programs with 32-bit pointers; the numbers carry a bit of their own.
    X32,
}

impl Abi {
    pub const ALL: [Self; 3] = [Self::X86_64, Self::I386, Self::X32];

    /// The number of `syscall`, without x32's bit.
    pub fn number(self, syscall: &Syscall) -> Option<u32> {
        let number = match self {
            Self::I386 => syscall.2,
            Self::X86_64 | Self::X32 => syscall.1,
        };
        if number == NO {
            return None;
        }
        let number = number as u16;
        match X32.binary_search_by_key(&number, |(common, _)| *common) {
            Ok(at) if self == Self::X32 => Some(X32[at].1.into()),
            _ => Some(number.into()),
        }
    }
}

/// What marks a number as one of x32.
pub const X32_BIT: u32 = 0x4000_0000;

/// Numbers from here on are unknown to every table.
const LIMIT: usize = 560;

/// The first number that x32 does not share with x86_64.
const X32_OWN: u32 = 512;

/// Decisions for every number of each ABI a filter covers.
///
/// Each number holds the place of its decision in a palette, so that filling the tables and cutting them into ranges are passes
/// over small arrays. Below [`X32_OWN`] x32 has no decisions of its own: a rule is about a call, and its number is the same. The
/// few calls that have another number there do not exist under the common one.
pub struct Decisions {
    palette: Vec<Decision>,
    tables: [Option<Box<[u16; LIMIT]>>; 3],
}

/// The places of the palette that always exist.
const DEFAULT: u16 = 0;
const MISSING: u16 = 1;

impl Decisions {
    /// All numbers of `abis` get `default`; x86_64 is always one of them.
    pub fn new(default: u32, abis: &[Abi]) -> Self {
        let table = |abi| (abi == Abi::X86_64 || abis.contains(&abi)).then(|| Box::new([DEFAULT; LIMIT]));
        Self {
            palette: vec![Decision::Return(default), Decision::Return(ERRNO | ENOSYS)],
            tables: Abi::ALL.map(table),
        }
    }

    /// The palette's place of `decision`.
    pub fn place(&mut self, decision: Decision) -> u16 {
        let known = self.palette.iter().position(|known| *known == decision);
        let place = known.unwrap_or_else(|| {
            self.palette.push(decision);
            self.palette.len() - 1
        });
        place as u16
    }

    /// Gives `number` of `abi` the decision at `place`.
    pub fn set(&mut self, abi: Abi, number: u32, place: u16) {
        if let Some(table) = &mut self.tables[abi as usize] {
            table[number as usize] = place;
        }
    }

    /// Lets all numbers beyond those that `named` has for an ABI answer `ENOSYS`.
    pub fn newer_are_missing(&mut self, named: impl Fn(Abi, u32) -> bool) {
        for abi in Abi::ALL {
            let Some(table) = &mut self.tables[abi as usize] else { continue };
            let first = if abi == Abi::X32 { X32_OWN as usize } else { 0 };
            let last = (first..LIMIT).rev().find(|&number| named(abi, number as u32));
            table[last.map_or(first, |last| last + 1)..].fill(MISSING);
        }
    }

    /// Compiles the tables.
    pub fn compile(&self, flags: Flags) -> Program {
        let killed = Decision::Return(KILL_PROCESS);
        let mut native = Architecture { id: ARCH_X86_64, ranges: self.ranges(Abi::X86_64, 0), marked: None };
        match self.tables[Abi::X32 as usize] {
            Some(_) => {
                let own = self.ranges(Abi::X32, X32_OWN);
                let own =
                    own.into_iter().map(|range| Range { first: range.first | X32_BIT, ..range }).collect();
                native.marked = Some(Marked { bit: X32_BIT, own });
            }
            None => native.ranges.push(Range { first: X32_BIT, decision: &killed }),
        }
        let mut architectures = vec![native];
        if self.tables[Abi::I386 as usize].is_some() {
            let ranges = self.ranges(Abi::I386, 0);
            architectures.push(Architecture { id: ARCH_I386, ranges, marked: None });
        }
        Program { instructions: assemble(&architectures).into(), flags, agent: None }
    }

    /// The ranges of one table from `first` on.
    fn ranges(&self, abi: Abi, first: u32) -> Vec<Range<'_>> {
        let mut out = Vec::new();
        let mut previous = None;
        for (number, place) in
            self.tables[abi as usize].iter().flat_map(|table| table.iter().enumerate()).skip(first as usize)
        {
            if previous != Some(place) {
                let decision = &self.palette[usize::from(*place)];
                out.push(Range { first: number as u32, decision });
                previous = Some(place);
            }
        }
        out
    }
}
