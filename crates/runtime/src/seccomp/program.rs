//! From decisions to instructions of classic BPF.
//!
//! The numbers of one ABI, cut into ranges with the same decision, become a binary tree of comparisons, and each decision stands
//! once behind it. So it is short and shallow, which is what installing costs: the kernel translates every instruction, and runs
//! the program for every number to remember the calls that are always allowed, which never run it again.

use sys::seccomp::Instruction;

use oci::runtime::SeccompOperator;

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This `SECCOMP_RET_*` value, whatever the arguments.
    Return(u32),
    /// That of the first rule whose conditions all hold, or else the last value.
    Check(Vec<Rule>, u32),
}

/// A value to return when all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    pub action: u32,
}

/// A comparison of one argument of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub width: Width,
    pub operator: SeccompOperator,
    pub value: u64,
    /// For [`SeccompOperator::MaskedEqual`]: `value` is the mask and this is compared.
    pub value_two: u64,
}

/// How much of an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The whole register, as profiles mean it.
    Full,
    /// The lower half, for arguments that the kernel itself cuts to an `int`.
    Low,
}

pub const KILL_THREAD: u32 = 0;
pub const KILL_PROCESS: u32 = 0x8000_0000;
pub const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const TRACE: u32 = 0x7ff0_0000;
pub const NOTIFY: u32 = 0x7fc0_0000;
pub const LOG: u32 = 0x7ffc_0000;
pub const ALLOW: u32 = 0x7fff_0000;

pub const EPERM: u32 = 1;
pub const ENOSYS: u32 = 38;

/// `AUDIT_ARCH_X86_64`, which x32 shares.
pub const ARCH_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
pub const ARCH_I386: u32 = 0x4000_0003;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn op(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

const fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

/// All numbers from `first` up to the next range's, and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    pub first: u32,
    pub decision: &'a Decision,
}

/// An audit architecture and the ranges of its numbers, the first of which starts at 0.
pub struct Architecture<'a> {
    pub id: u32,
    pub ranges: Vec<Range<'a>>,
    /// A bit that marks another numbering, and how numbers with it are treated.
    pub marked: Option<Marked<'a>>,
}

/// Numbers marked by one bit, which without it are those of the architecture up to `own`'s first.
pub struct Marked<'a> {
    pub bit: u32,
    /// The ranges of numbers that it does not share, with the bit.
    pub own: Vec<Range<'a>>,
}

/// Assembles the program; a call from any other architecture kills the process.
pub fn assemble(architectures: &[Architecture<'_>]) -> Vec<Instruction> {
    let mut program = vec![op(LOAD, ARCHITECTURE)];
    for architecture in architectures {
        let mut body = vec![op(LOAD, NUMBER)];
        if let Some(Marked { bit, own }) = &architecture.marked {
            let own_code = search(own);
            let length = own_code.len() as u32;
            body.extend([jump(JUMP_GREATER_OR_EQUAL, *bit, 1, 0), op(JUMP, length + 3)]);
            body.extend([jump(JUMP_GREATER_OR_EQUAL, own[0].first, 1, 0), op(JUMP, length)]);
            body.extend(own_code);
            body.push(op(AND, !bit));
        }
        body.extend(search(&architecture.ranges));
        program.extend(when_equal(architecture.id, body));
    }
    program.push(op(RETURN, KILL_PROCESS));
    program
}

/// `body` if the loaded value is `value`; otherwise what follows it.
fn when_equal(value: u32, body: Vec<Instruction>) -> impl Iterator<Item = Instruction> {
    let (test, far) = match u8::try_from(body.len()) {
        Ok(length) => (jump(JUMP_EQUAL, value, 0, length), None),
        Err(_) => (jump(JUMP_EQUAL, value, 1, 0), Some(op(JUMP, body.len() as u32))),
    };
    std::iter::once(test).chain(far).chain(body)
}

/// The comparisons that find the range of the loaded number, and what happens then.
fn search(ranges: &[Range<'_>]) -> Vec<Instruction> {
    if let Some(code) = Tree::assemble(ranges) {
        return code;
    }
    // Conditional jumps reach 255 instructions, plain ones as far as needed.
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let low = search(low);
    let mut code = vec![jump(JUMP_GREATER_OR_EQUAL, high[0].first, 0, 1), op(JUMP, low.len() as u32)];
    code.extend(low);
    code.extend(search(high));
    code
}

/// A tree small enough that every comparison reaches the decisions, which stand once behind all of them.
#[derive(Default)]
struct Tree<'a> {
    comparisons: Vec<Instruction>,
    /// Which side of which comparison ends in which decision.
    ends: Vec<(usize, Side, &'a Decision)>,
}

#[derive(Clone, Copy)]
enum Side {
    True,
    False,
}

impl<'a> Tree<'a> {
    /// `None` when it is not small enough; a single range always is.
    fn assemble(ranges: &[Range<'a>]) -> Option<Vec<Instruction>> {
        if let [range] = ranges {
            return Some(decide(range.decision));
        }
        let mut tree = Self::default();
        tree.grow(ranges)?;
        let Self { comparisons: mut code, ends } = tree;
        let mut places: Vec<(&Decision, usize)> = Vec::new();
        for (at, side, decision) in ends {
            let known = places.iter().find(|(known, _)| *known == decision);
            let place = known.map(|(_, place)| *place).unwrap_or_else(|| {
                places.push((decision, code.len()));
                let place = code.len();
                code.extend(decide(decision));
                place
            });
            let distance = u8::try_from(place - at - 1).ok()?;
            match side {
                Side::True => code[at].jump_true = distance,
                Side::False => code[at].jump_false = distance,
            }
        }
        Some(code)
    }

    /// Appends the comparisons for at least two ranges, the lower half right behind the comparison that leads to it.
    fn grow(&mut self, ranges: &[Range<'a>]) -> Option<()> {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let at = self.comparisons.len();
        self.comparisons.push(jump(JUMP_GREATER_OR_EQUAL, high[0].first, 0, 0));
        match low {
            [range] => self.ends.push((at, Side::False, range.decision)),
            _ => self.grow(low)?,
        }
        match high {
            [range] => self.ends.push((at, Side::True, range.decision)),
            _ => {
                self.comparisons[at].jump_true = u8::try_from(self.comparisons.len() - at - 1).ok()?;
                self.grow(high)?;
            }
        }
        Some(())
    }
}

fn decide(decision: &Decision) -> Vec<Instruction> {
    match decision {
        Decision::Return(value) => vec![op(RETURN, *value)],
        Decision::Check(rules, otherwise) => {
            rules.iter().flat_map(check).chain([op(RETURN, *otherwise)]).collect()
        }
    }
}

/// The code of one rule: it returns the action, or runs off its end when a condition does not hold.
fn check(rule: &Rule) -> Vec<Instruction> {
    // From the last condition to the first, so that the way to the end is known. Six conditions stay far below 255.
    let mut code = vec![op(RETURN, rule.action)];
    for condition in rule.conditions.iter().rev() {
        let mut test = compare(condition, code.len() as u8);
        test.append(&mut code);
        code = test;
    }
    code
}

/// The code of one condition: it runs off its end when it holds, and skips `fail` more instructions when it does not.
fn compare(condition: &Condition, fail: u8) -> Vec<Instruction> {
    use SeccompOperator::*;

    let low = op(LOAD, ARGUMENTS + 8 * u32::from(condition.argument));
    let high = op(LOAD, low.operand + 4);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (value_high, value_low) = halves(condition.value);

    if condition.operator == MaskedEqual {
        let (two_high, two_low) = halves(condition.value_two);
        let mut code = Vec::new();
        // Nothing to look at in the upper half is the usual case.
        if condition.width == Width::Full && (value_high, two_high) != (0, 0) {
            code.extend([high, op(AND, value_high), jump(JUMP_EQUAL, two_high, 0, fail + 3)]);
        }
        code.extend([low, op(AND, value_low), jump(JUMP_EQUAL, two_low, 0, fail)]);
        return code;
    }

    // The last instruction compares the lower halves: it runs off the end when the condition holds.
    let last = match condition.operator {
        Equal => jump(JUMP_EQUAL, value_low, 0, fail),
        NotEqual => jump(JUMP_EQUAL, value_low, fail, 0),
        Greater => jump(JUMP_GREATER, value_low, 0, fail),
        LessOrEqual => jump(JUMP_GREATER, value_low, fail, 0),
        GreaterOrEqual => jump(JUMP_GREATER_OR_EQUAL, value_low, 0, fail),
        Less => jump(JUMP_GREATER_OR_EQUAL, value_low, fail, 0),
        MaskedEqual => unreachable!("it returned above"),
    };
    if condition.width == Width::Low {
        return vec![low, last];
    }
    // Upper halves that differ decide alone; `pass` and `end` are counted from behind their comparison.
    let (pass, end) = (2, 2 + fail);
    let upper = match condition.operator {
        Equal => vec![jump(JUMP_EQUAL, value_high, 0, end)],
        NotEqual => vec![jump(JUMP_EQUAL, value_high, 0, pass)],
        Greater | GreaterOrEqual => {
            vec![jump(JUMP_GREATER, value_high, pass + 1, 0), jump(JUMP_EQUAL, value_high, 0, end)]
        }
        Less | LessOrEqual => {
            vec![jump(JUMP_GREATER, value_high, end + 1, 0), jump(JUMP_EQUAL, value_high, 0, pass)]
        }
        MaskedEqual => unreachable!("it returned above"),
    };
    std::iter::once(high).chain(upper).chain([low, last]).collect()
}
