//! Random bytes from the kernel.

use std::io;

/// Fills `bytes` with random ones; see getrandom(2). Waits only in the first moments after a boot.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`, which is borrowed exclusively for the call.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => filled += n,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// `N` random bytes as lower-case hexadecimal digits.
pub fn hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is one digit");
    Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}
