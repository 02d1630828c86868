//! A Dockerfile from anywhere: understood, or an error that names a line of it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = build::dockerfile::parse(text) {
        let lines = text.lines().count().max(1);
        assert!((1..=lines + 1).contains(&error.span.line), "{} of {lines}", error.span.line);
    }
});
