//! A step's output: split into lines for the progress, its end kept for the error.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::progress::{Event, Progress, StepId};

/// Lines an error shows.
const TAIL: usize = 20;

/// A line longer than this is handed on in pieces.
const MAX_LINE: usize = 16 << 10;

/// Collects what one step writes.
pub struct Output<'a> {
    progress: &'a dyn Progress,
    step: StepId,
    start: Instant,
    hides_credentials: bool,
    partial: Vec<u8>,
    tail: VecDeque<String>,
}

impl<'a> Output<'a> {
    pub fn new(progress: &'a dyn Progress, step: StepId, start: Instant) -> Self {
        Self { progress, step, start, hides_credentials: false, partial: Vec::new(), tail: VecDeque::new() }
    }

    /// Shows addresses without credentials.
    pub fn hiding_credentials(self) -> Self {
        Self { hides_credentials: true, ..self }
    }

    /// Takes what is in the pipe now, but not so long that a step which never stops writing could not be stopped.
    pub fn take(&mut self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        for _ in 0..8 {
            if !self.read(pipe)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes all that is left, when nobody writes any more.
    pub fn drain(&mut self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        while self.read(pipe)? {}
        self.finish();
        Ok(())
    }

    fn read(&mut self, pipe: BorrowedFd<'_>) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let length = sys::event::read_now(pipe, &mut buffer)?.unwrap_or(0);
        self.push(&buffer[..length]);
        Ok(length > 0)
    }

    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= MAX_LINE {
                self.emit();
            }
        }
    }

    fn emit(&mut self) {
        let line = std::mem::take(&mut self.partial);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let hide = || registry::without_credentials(&String::from_utf8_lossy(line));
        let shown = self.hides_credentials.then(hide);
        let line = shown.as_ref().map_or(line, String::as_bytes);
        self.progress.event(Event::Output { step: self.step, at: self.start.elapsed(), line });
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(String::from_utf8_lossy(line).into_owned());
    }

    /// Hands on a last line without its newline.
    fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.emit();
        }
    }

    /// The last lines.
    pub fn into_tail(self) -> Vec<String> {
        self.tail.into()
    }
}
