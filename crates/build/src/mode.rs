//! `--chmod`: octal, or symbolic as chmod(1) has it.

/// What `--chmod` does to the permission bits of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModeChange {
    /// All bits, set-id and sticky included.
    Set(u32),
    /// `u=rwX,go-w`: applied one after the other to what the file has.
    Symbolic(Vec<Clause>),
}

/// One `who op permissions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// The bits it may touch.
    who: u32,
    op: Op,
    bits: u32,
    /// `X`: execution for directories and for what somebody may execute already.
    conditional_x: bool,
    /// `u`, `g` or `o` as a permission: how far to shift that class's bits down.
    copy_from: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Assign,
}

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// Without a who, a clause does not give what this mask withholds; BuildKit's is the usual one, whoever runs it.
const UMASK: u32 = 0o022;

impl ModeChange {
    /// Parses the value of `--chmod`.
    ///
    /// # Errors
    /// The message, in BuildKit's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or symbolic like u=rwX,go=rX"
            )
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Set).ok_or_else(invalid);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let end = part.find(['+', '-', '=']).ok_or_else(invalid)?;
            let (who, mut rest) = part.split_at(end);
            let who = affected(who).ok_or_else(invalid)?;
            while !rest.is_empty() {
                let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
                clauses.push(Clause::parse(who, &rest[..end]).ok_or_else(invalid)?);
                rest = &rest[end..];
            }
        }
        Ok(Self::Symbolic(clauses))
    }

    /// The bits of a file that had `mode`.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Set(bits) => *bits,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

/// The bits a who stands for; `None` when it is none.
fn affected(who: &str) -> Option<u32> {
    if who.is_empty() {
        return Some(0o7777 & !UMASK);
    }
    who.chars().try_fold(0, |bits, c| {
        Some(
            bits | match c {
                'u' => SET_UID | 0o700,
                'g' => SET_GID | 0o070,
                'o' => 0o007,
                'a' => 0o7777,
                _ => return None,
            },
        )
    })
}

impl Clause {
    /// Parses `+rw`, `=`, `-X`, `=u`.
    fn parse(who: u32, text: &str) -> Option<Self> {
        let mut chars = text.chars();
        let op = match chars.next()? {
            '+' => Op::Add,
            '-' => Op::Remove,
            '=' => Op::Assign,
            _ => return None,
        };
        let mut clause = Self { who, op, bits: 0, conditional_x: false, copy_from: None };
        match chars.as_str() {
            "u" => clause.copy_from = Some(6),
            "g" => clause.copy_from = Some(3),
            "o" => clause.copy_from = Some(0),
            permissions => {
                for c in permissions.chars() {
                    match c {
                        'r' => clause.bits |= 0o444,
                        'w' => clause.bits |= 0o222,
                        'x' => clause.bits |= 0o111,
                        'X' => clause.conditional_x = true,
                        's' => clause.bits |= SET_UID | SET_GID,
                        't' => {
                            clause.bits |= STICKY;
                            // It belongs to no class, but the others alone have no say in it.
                            clause.who |= if who == 0o007 { 0 } else { STICKY };
                        }
                        _ => return None,
                    }
                }
            }
        }
        Some(clause)
    }

    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let mut bits = self.bits;
        if let Some(shift) = self.copy_from {
            bits = (mode >> shift & 0o7) * 0o111;
        }
        if self.conditional_x && (is_dir || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        let bits = bits & self.who;
        match self.op {
            Op::Add => mode | bits,
            Op::Remove => mode & !bits,
            // What the mask withholds is taken away all the same.
            Op::Assign if self.who == 0o7777 & !UMASK => bits,
            Op::Assign => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, before: u32, is_dir: bool, expected: u32) {
        let got = ModeChange::parse(text).unwrap().apply(before, is_dir);
        assert_eq!(got, expected, "{text}: {got:o} instead of {expected:o}");
    }

    #[test]
    fn octal() {
        check("755", 0o4600, false, 0o755);
        check("01777", 0, true, 0o1777);
    }

    /// The results of GNU chmod with the mask 022.
    #[test]
    fn symbolic() {
        check("u+x", 0o644, false, 0o744);
        check("+x", 0o644, false, 0o755);
        check("+w", 0o444, false, 0o644);
        check("a+w", 0o444, false, 0o666);
        check("go-rwx", 0o755, false, 0o700);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, true, 0o755);
        check("u=rwX,go=rX", 0o711, false, 0o755);
        check("=r", 0o777, false, 0o444);
        check("g=u", 0o640, false, 0o660);
        check("o=", 0o777, false, 0o770);
        check("u+s,g+s", 0o755, false, 0o6755);
        check("+t", 0o777, true, 0o1777);
        check("a+rwx-w", 0o600, false, 0o555);
        check("ug+rw", 0o400, false, 0o660);
        check("a-x,a+X", 0o755, false, 0o644);
    }

    #[test]
    fn nonsense() {
        for text in ["", "99", "10000", "u", "z+x", "u+q", "u+x,", "u+gx", "-1", "0x1"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }
}
