//! `Range` of requests for blobs, and `Content-Range` of uploads.

use std::ops::Range;

/// What part of some content is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    Bytes(Range<u64>),
    /// Nothing of it exists.
    Unsatisfiable,
}

/// Reads a `Range` for content of `size` bytes; one that is malformed or has several parts is ignored, as RFC 9110 allows.
pub fn requested(header: &str, size: u64) -> Part {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (number(first), number(last)) {
        (None, Some(length)) if first.is_empty() => match length.min(size) {
            0 => Part::Unsatisfiable,
            length => Part::Bytes(size - length..size),
        },
        (Some(start), None) if last.is_empty() => match start < size {
            true => Part::Bytes(start..size),
            false => Part::Unsatisfiable,
        },
        (Some(start), Some(end)) if start <= end => match start < size {
            true => Part::Bytes(start..size.min(end.saturating_add(1))),
            false => Part::Unsatisfiable,
        },
        _ => Part::Whole,
    }
}

/// Reads the `Content-Range` of a chunk, `first-last`, as a half-open range.
pub fn of_chunk(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.split_once('-')?;
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u64>().ok())?
    };
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_parts() {
        let check = |header, expected| assert_eq!(requested(header, 10), expected, "{header}");
        check("bytes=0-3", Part::Bytes(0..4));
        check("bytes=4-", Part::Bytes(4..10));
        check("bytes=-3", Part::Bytes(7..10));
        check("bytes=-30", Part::Bytes(0..10));
        check("bytes=8-18446744073709551615", Part::Bytes(8..10));
        check("bytes=10-", Part::Unsatisfiable);
        check("bytes=10-11", Part::Unsatisfiable);
        check("bytes=-0", Part::Unsatisfiable);
        for ignored in ["", "bytes=", "bytes=-", "bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=+1-2"] {
            check(ignored, Part::Whole);
        }
        assert_eq!(requested("bytes=0-0", 0), Part::Unsatisfiable);
    }

    #[test]
    fn chunks() {
        assert_eq!(of_chunk("0-9"), Some(0..10));
        for malformed in ["", "-", "1-", "-1", "5-4", "a-b", "bytes 0-9/10", "0-18446744073709551615"] {
            assert_eq!(of_chunk(malformed), None, "{malformed}");
        }
    }
}
