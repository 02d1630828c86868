//! Sizes as people read them, in Docker's wording.

/// Bytes in powers of 1000 with three significant digits: `4.27MB`, `170MB`, `0B`.
pub fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// Bytes in powers of 1024 with four significant digits: `23.31MiB`.
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
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
