//! Sizes and dates as people read them, in Docker's wording.

/// Bytes in powers of 1000 with three significant digits: `4.27MB`, `170MB`, `0B`.
pub fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// Bytes in powers of 1024 with four significant digits: `23.31MiB`.
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

/// `text` cut to `width` characters, the last one an ellipsis when something was cut.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A time as Go prints it, in the local zone: `2026-11-23 19:05:11 +0000 UTC`.
pub fn date(ns: i64) -> String {
    let Ok(stamp) = jiff::Timestamp::from_nanosecond(i128::from(ns)) else { return String::new() };
    stamp.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// An id without its algorithm, cut to twelve characters.
pub fn short_id(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

fn scaled(mut value: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// `value` with `digits` significant digits and no trailing zeros, as Go's `%.4g` for the values that occur here.
fn significant(value: f64, digits: usize) -> String {
    let before = if value >= 1.0 { value.log10().floor() as usize + 1 } else { 1 };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in
            [(0, "0B"), (999, "999B"), (1000, "1kB"), (4_268_000, "4.27MB"), (170_401_280, "170MB")]
        {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(binary_size(24_443_453), "23.31MiB");
    }
}
