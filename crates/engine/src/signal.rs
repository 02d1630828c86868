//! Signal names and numbers as `kill` and `--stop-signal` take them.

use crate::create::InvalidSpec;

const NAMES: [(&str, i32); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// The number of a signal given by number or by name, with or without `SIG`; also `RTMIN+n` and `RTMAX-n`.
///
/// # Errors
/// Docker's `invalid signal: x`.
pub fn number(text: &str) -> Result<i32, InvalidSpec> {
    let invalid = || InvalidSpec::new(format!("invalid signal: {text}"));
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or_else(invalid);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| rest.parse::<i32>().ok().filter(|n| (0..=30).contains(n));
    let found = if let Some(rest) = bare.strip_prefix("RTMIN+") {
        offset(rest).map(|n| 34 + n)
    } else if let Some(rest) = bare.strip_prefix("RTMAX-") {
        offset(rest).map(|n| 64 - n)
    } else {
        NAMES.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number)
    };
    found.ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        fn check(text: &str, expected: Option<i32>) {
            assert_eq!(number(text).ok(), expected, "{text}");
        }
        check("KILL", Some(9));
        check("sigterm", Some(15));
        check("15", Some(15));
        check("SIGRTMIN+3", Some(37));
        check("RTMAX-1", Some(63));
        check("0", None);
        check("65", None);
        check("", None);
        check("WAT", None);
    }
}
