//! Random ids.

use std::io;

/// 64 random hexadecimal digits that do not read as a decimal number in their first twelve, as Docker's ids.
///
/// A short id of digits only would be taken for a number where names and numbers share a place, such as in DNS labels.
pub fn random() -> io::Result<String> {
    loop {
        let id = sys::random::hex::<32>()?;
        if id[..12].bytes().any(|b| !b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}
