//! Output of several streams on one connection.

/// Its media type when the container has a terminal, and before version 1.42 always.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// Its media type when standard output and standard error are told apart.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Which stream a piece of output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout = 1,
    Stderr = 2,
}

/// How long a header is.
pub const HEADER: usize = 8;

/// The header before a piece of `length` bytes: `[stream, 0, 0, 0, length as four big-endian bytes]`.
pub fn header(output: Output, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [output as u8, 0, 0, 0, a, b, c, d]
}

/// What [`header`] wrote; `None` for anything else.
pub fn parse(header: [u8; HEADER]) -> Option<(Output, u32)> {
    let [output, 0, 0, 0, a, b, c, d] = header else { return None };
    let output = match output {
        1 => Output::Stdout,
        2 => Output::Stderr,
        _ => return None,
    };
    Some((output, u32::from_be_bytes([a, b, c, d])))
}
