//! Points in time as the engine keeps them (nanoseconds since the epoch) and as Docker writes them (RFC 3339 in UTC).

pub use monitor::time::now_ns;
use monitor::time::{civil_from_days, days_from_civil};

const DAY_S: i64 = 86_400;
const SECOND_NS: i64 = 1_000_000_000;

/// `2006-01-02T15:04:05.999999999Z`: trailing zeros of the fraction are left out, as Go's `RFC3339Nano` does.
pub fn rfc3339(ns: i64) -> String {
    let (days, rest) = (ns.div_euclid(DAY_S * SECOND_NS), ns.rem_euclid(DAY_S * SECOND_NS));
    let (year, month, day) = civil_from_days(days);
    let (seconds, nanos) = (rest / SECOND_NS, rest % SECOND_NS);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match nanos {
        0 => String::new(),
        n => format!(".{}", format!("{n:09}").trim_end_matches('0')),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Docker's text for "never".
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads RFC 3339; the time, the seconds and the offset may be left out.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let mut parts = date.split('-');
    let mut field = |width: usize| -> Option<i64> {
        let part = parts.next()?;
        (part.len() == width && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (year, month, day) = (field(4)?, field(2)?, field(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset_s) = split_offset(rest)?;
    let mut seconds_ns = 0i64;
    if !clock.is_empty() {
        let mut parts = clock.split(':');
        let hour: i64 = parts.next()?.parse().ok().filter(|h| (0..24).contains(h))?;
        let minute: i64 = parts.next().unwrap_or("0").parse().ok().filter(|m| (0..60).contains(m))?;
        let (second, fraction) = parts.next().unwrap_or("0").split_once('.').unwrap_or_else(|| {
            let second = clock.splitn(3, ':').nth(2).unwrap_or("0");
            (second, "0")
        });
        let second: i64 = second.parse().ok().filter(|s| (0..=60).contains(s))?;
        let digits = fraction.get(..fraction.len().min(9))?;
        let nanos: i64 = format!("{digits:0<9}").parse().ok()?;
        seconds_ns = (hour * 3600 + minute * 60 + second) * SECOND_NS + nanos;
    }
    let days = days_from_civil(year, month, day);
    days.checked_mul(DAY_S * SECOND_NS)?.checked_add(seconds_ns)?.checked_sub(offset_s * SECOND_NS)
}

fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let sign = if clock.as_bytes()[at] == b'-' { -1 } else { 1 };
    let (hours, minutes) = clock[at + 1..].split_once(':')?;
    Some((&clock[..at], sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        fn check(ns: i64, text: &str) {
            assert_eq!(rfc3339(ns), text);
            assert_eq!(parse_rfc3339(text), Some(ns));
        }
        check(0, "1970-01-01T00:00:00Z");
        check(1_136_214_245_999_999_999, "2006-01-02T15:04:05.999999999Z");
        check(951_782_400_500_000_000, "2000-02-29T00:00:00.5Z");
        check(-1_000_000_000, "1969-12-31T23:59:59Z");
    }

    #[test]
    fn shortened_forms_and_offsets() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(parse_rfc3339(text).map(rfc3339).as_deref(), expected, "{text}");
        }
        check("2024-05-06", Some("2024-05-06T00:00:00Z"));
        check("2024-05-06T07:08", Some("2024-05-06T07:08:00Z"));
        check("2024-05-06T07:08:09+02:00", Some("2024-05-06T05:08:09Z"));
        check("2024-05-06T07:08:09.25-01:30", Some("2024-05-06T08:38:09.25Z"));
        check("2024-13-06", None);
        check("05-06-2024", None);
        check("2024-05-06T25:00:00Z", None);
    }
}
