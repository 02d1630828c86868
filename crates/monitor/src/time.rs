//! Wall-clock times as nanoseconds since the epoch, and their RFC 3339 text in logs and events.

use std::time::{SystemTime, UNIX_EPOCH};

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Nanoseconds since the epoch, now.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Formats `ns` in UTC with all nine digits, as Docker's logs have it: `2026-11-23T18:36:01.000000000Z`.
///
/// The fixed width keeps the text sortable; every RFC 3339 reader takes it.
pub fn rfc3339(ns: i64) -> String {
    let (seconds, nanos) = (ns.div_euclid(NANOS), ns.rem_euclid(NANOS));
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads an RFC 3339 time with an optional fraction; `None` when it is none.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let date_and_time = separators.iter().all(|&(at, byte)| bytes.get(at) == Some(&byte))
        && matches!(bytes.get(10)?, b'T' | b't' | b' ');
    if !date_and_time {
        return None;
    }
    let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
    let mut seconds = days * DAY + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let mut zone = 19;
    let mut nanos = 0;
    if bytes.get(19) == Some(&b'.') {
        let digits = bytes[20..].iter().take_while(|b| b.is_ascii_digit()).count();
        zone = 20 + digits;
        let kept = digits.min(9);
        nanos = number(20..20 + kept)? * 10i64.pow(9 - u32::try_from(kept).ok()?);
    }
    match bytes.get(zone)? {
        b'Z' | b'z' => {}
        sign @ (b'+' | b'-') => {
            let offset = number(zone + 1..zone + 3)? * 3600 + number(zone + 4..zone + 6)? * 60;
            seconds += if *sign == b'+' { -offset } else { offset };
        }
        _ => return None,
    }
    seconds.checked_mul(NANOS)?.checked_add(nanos)
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant's algorithm, eras of 400 years from March).
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ns: i64, text: &str) {
        assert_eq!(rfc3339(ns), text);
        assert_eq!(parse_rfc3339(text), Some(ns));
    }

    #[test]
    fn text_and_number_agree() {
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z");
        check(951_782_400_123_000_000, "2000-02-29T00:00:00.123000000Z");
        check(1_795_452_000_000_000_000, "2026-11-23T16:40:00.000000000Z");
        check(4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn offsets_and_short_fractions_are_read() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.5Z"), Some(500_000_000));
        assert_eq!(parse_rfc3339("1970-01-01"), None);
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00é"), None);
    }
}
