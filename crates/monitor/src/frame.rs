//! Docker's multiplexed frames.

use std::io;

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const CONTROL: u8 = 3;

const HEADER: usize = 8;
/// Largest payload accepted; ours are much smaller.
const MAX_PAYLOAD: usize = 1 << 20;

/// Appends a frame to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are pieces of output, far below 4 GiB");
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Splits the first frame off `buffer`: its kind, the range of its payload, and where the next one begins.
pub(crate) fn decode(buffer: &[u8]) -> io::Result<Option<(u8, std::ops::Range<usize>)>> {
    let Some((header, rest)) = buffer.split_at_checked(HEADER) else { return Ok(None) };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if header[0] > CONTROL || length > MAX_PAYLOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of the attach protocol"));
    }
    Ok((rest.len() >= length).then_some((header[0], HEADER..HEADER + length)))
}
