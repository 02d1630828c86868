//! How long to wait before asking again.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Who asks for more patience than this is told no.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a registry that is busy or broken wants to be left alone; `None` when its answer is one.
pub fn asked(response: &Response, attempt: u32, unit: Duration) -> Option<Duration> {
    if !matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
        return None;
    }
    match retry_after(response.headers(), SystemTime::now()) {
        Some(wait) => (wait <= LONGEST).then_some(wait),
        None => Some(pause(attempt, unit)),
    }
}

/// The pause after the failure number `attempt`, counted from 1: twice the one before, and never the same for all who wait.
pub fn pause(attempt: u32, unit: Duration) -> Duration {
    let whole = (unit * (1 << attempt.clamp(1, 6))).min(LONGEST);
    let mut byte = [0];
    // Without a random number all wait alike, which is no harm to this one.
    let _ = sys::random::fill(&mut byte);
    whole / 2 + whole / 2 * u32::from(byte[0]) / 256
}

/// Seconds, or a date. Spec: RFC 9110, 10.2.3.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |text: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("7", Some(7));
        check(" 7 ", Some(7));
        check("Sun, 06 Nov 1994 08:49:39 GMT", Some(2));
        check("Sun, 06 Nov 1994 08:49:30 GMT", Some(0));
        check("-1", None);
        check("soon", None);
        check("99999999999999999999999", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn pauses_grow_and_end() {
        let unit = Duration::from_millis(100);
        for attempt in 1..40 {
            let whole = (unit * (1 << attempt.min(6))).min(LONGEST);
            let pause = pause(attempt, unit);
            assert!(whole / 2 <= pause && pause <= whole, "{attempt}: {pause:?}");
        }
    }
}
