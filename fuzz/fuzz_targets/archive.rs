//! A layer from anywhere, compressed or not: read to its end or refused, and no more of an entry's data than it says it has.

#![no_main]

use image::archive::{Reader, decode};
use libfuzzer_sys::fuzz_target;

/// What a short archive expands to is cut here: bombs are refused elsewhere.
const LIMIT: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok((_, stream)) = decode(bytes) else { return };
    let mut reader = Reader::new(std::io::Read::take(stream, LIMIT));
    while let Ok(Some(_)) = reader.next_entry() {
        let mut left = reader.remaining();
        while let Ok(length @ 1..) = reader.data().map(<[u8]>::len) {
            assert!(length as u64 <= left);
            left -= length as u64;
            reader.consume(length);
        }
    }
});
