//! Sizes, durations, processor counts and points in time.

use super::FlagError;

/// Bytes with an optional unit: `512m`, `1.5GiB`, `100`; units are powers of 1024, as Docker's `RAMInBytes`.
pub fn size_bytes(text: &str) -> Result<u64, FlagError> {
    let error = || FlagError::new(format!("invalid size: '{text}'"));
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(error()),
    };
    let number: f64 = number.parse().map_err(|_| error())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes < i64::MAX as f64 { Ok(bytes as u64) } else { Err(error()) }
}

/// A Go duration: `1h30m`, `500ms`, `1.5s`, `0`.
pub fn duration_ns(text: &str) -> Result<u64, FlagError> {
    let error = || {
        FlagError::new(format!("invalid duration {text:?}"))
            .hint("write a number with a unit: ns, us, ms, s, m or h, such as 1m30s")
    };
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err(error());
    }
    let (mut rest, mut total) = (text, 0f64);
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..split].parse().map_err(|_| error())?;
        rest = &rest[split..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(error()),
            };
        rest = &rest[end..];
    }
    if total < i64::MAX as f64 { Ok(total.round() as u64) } else { Err(error()) }
}

/// `--cpus`: a decimal number of processors, in billionths.
pub fn cpus(text: &str) -> Result<u64, FlagError> {
    let error = || FlagError::new(format!("failed to parse {text} as a rational number"));
    let number: f64 = text.parse().map_err(|_| error())?;
    if number.is_finite() && (0.0..1e6).contains(&number) {
        Ok((number * 1e9).round() as u64)
    } else {
        Err(error())
    }
}

/// `--since` and `--until`: Unix seconds with fraction, RFC 3339 (also cut short, then in UTC), or a duration before `now_ns`.
pub fn timestamp_ns(text: &str, now_ns: i64) -> Result<i64, FlagError> {
    if let Ok(ago) = duration_ns(text)
        && text != "0"
    {
        return Ok(now_ns.saturating_sub(ago as i64));
    }
    if let Some((seconds, nanos)) = unix_seconds(text) {
        return Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
    }
    crate::time::parse_rfc3339(text)
        .ok_or_else(|| FlagError::new(format!("failed to parse value as time or duration: {text:?}")))
}

fn unix_seconds(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = fraction.get(..fraction.len().min(9))?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{digits:0<9}").parse().ok()?;
    Some((seconds.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(size_bytes(text).ok(), expected, "{text}");
        }
        check("0", Some(0));
        check("512", Some(512));
        check("512m", Some(512 << 20));
        check("1.5GiB", Some(3 << 29));
        check("2 kb", Some(2048));
        check("", None);
        check("-1", None);
        check("1x", None);
        check("1e3", None);
    }

    #[test]
    fn durations_and_times() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(duration_ns(text).ok(), expected, "{text}");
        }
        check("1m30s", Some(90_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check("100ms", Some(100_000_000));
        check("5", None);
        check("s", None);
        check("", None);
        assert_eq!(timestamp_ns("10s", 60_000_000_000), Ok(50_000_000_000));
        assert_eq!(timestamp_ns("1136073600.5", 0), Ok(1_136_073_600_500_000_000));
        assert_eq!(timestamp_ns("2006-01-02T00:00:00Z", 0), Ok(1_136_160_000_000_000_000));
        assert!(timestamp_ns("yesterday", 0).is_err());
    }
}
