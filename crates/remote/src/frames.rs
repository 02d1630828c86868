//! Output of several streams on one connection, as a client takes it apart.

use std::io::{self, Read};

use api::stream::{HEADER, Output};

/// What came of a container's output so far.
#[derive(Debug, Default)]
pub struct Frames {
    /// A terminal's output is not taken apart: it is all standard output.
    is_raw: bool,
    bytes: Vec<u8>,
    /// What is left of the piece that has begun, and where it belongs.
    current: Option<(Output, usize)>,
}

impl Frames {
    /// Output of a container that has a terminal, or has none.
    pub fn of(tty: bool) -> Self {
        Self { is_raw: tty, ..Self::default() }
    }

    /// Takes what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next piece of output that is there, as far as it is there.
    ///
    /// # Errors
    /// What came is no such stream.
    pub fn next_piece(&mut self) -> io::Result<Option<(Output, Vec<u8>)>> {
        if self.is_raw {
            let all = std::mem::take(&mut self.bytes);
            return Ok((!all.is_empty()).then_some((Output::Stdout, all)));
        }
        loop {
            let (output, left) = match self.current.take() {
                Some(current) => current,
                None => {
                    let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
                    let (output, length) = api::stream::parse(*header).ok_or(io::ErrorKind::InvalidData)?;
                    self.bytes.drain(..HEADER);
                    (output, length as usize)
                }
            };
            if left == 0 {
                continue;
            }
            let here = left.min(self.bytes.len());
            if here < left {
                self.current = Some((output, left - here));
            }
            return Ok((here > 0).then(|| (output, self.bytes.drain(..here).collect())));
        }
    }
}

/// Reads `input` to its end and hands on the pieces; false from `take` ends it before.
///
/// # Errors
/// The input cannot be read on, or is no such stream.
pub fn each(tty: bool, mut input: impl Read, mut take: impl FnMut(Output, &[u8]) -> bool) -> io::Result<()> {
    let mut frames = Frames::of(tty);
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        frames.push(&buffer[..read]);
        while let Some((output, piece)) = frames.next_piece()? {
            if !take(output, &piece) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_however_they_are_cut() {
        let mut sent = Vec::new();
        for (output, text) in [(Output::Stdout, "one"), (Output::Stderr, ""), (Output::Stderr, "two")] {
            sent.extend(api::stream::header(output, text.len() as u32));
            sent.extend(text.as_bytes());
        }
        for step in 1..=sent.len() {
            let (mut frames, mut got) = (Frames::of(false), [String::new(), String::new()]);
            for part in sent.chunks(step) {
                frames.push(part);
                while let Some((output, piece)) = frames.next_piece().unwrap() {
                    got[output as usize - 1] += std::str::from_utf8(&piece).unwrap();
                }
            }
            assert_eq!(got, ["one", "two"], "{step}");
        }
    }

    #[test]
    fn a_terminal_is_not_taken_apart() {
        let mut got = Vec::new();
        each(true, &b"\x01\0\0\0"[..], |_, piece| {
            got.extend_from_slice(piece);
            true
        })
        .unwrap();
        assert_eq!(got, b"\x01\0\0\0");
    }

    #[test]
    fn another_protocol_is_noticed() {
        assert!(each(false, &b"HTTP/1.1 200 OK"[..], |_, _| true).is_err());
    }
}
