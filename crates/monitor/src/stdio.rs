//! The monitor's ends of the container's standard streams.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use runtime::Stdio;
use sys::event::{read_now, set_nonblocking, write_now};
use sys::terminal::WindowSize;

use crate::logs::Stream;

/// More than this waiting for the container's stdin stops attached clients from being read.
const MAX_INPUT: usize = 64 * 1024;

/// The streams of one run.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) outputs: Vec<Output>,
    pub(crate) input: Option<Input>,
    /// The terminal, for its size.
    pub(crate) terminal: Option<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    pub(crate) fd: OwnedFd,
}

/// The container's stdin and what waits for it.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) fd: OwnedFd,
    queue: Vec<u8>,
    closing: bool,
}

/// Makes the pipes: what the container gets, and our ends. For a terminal our end comes later: [`Streams::add_terminal`].
pub(crate) fn pipes(tty: bool, size: Option<(u16, u16)>, open_stdin: bool) -> io::Result<(Stdio, Streams)> {
    if tty {
        let size = size.map(|(rows, columns)| WindowSize { rows, columns });
        return Ok((Stdio::Terminal { size }, Streams::default()));
    }
    let mut streams = Streams::default();
    let mut output = |stream| -> io::Result<OwnedFd> {
        let (ours, theirs) = io::pipe()?;
        set_nonblocking(ours.as_fd(), true)?;
        streams.outputs.push(Output { stream, fd: ours.into() });
        Ok(theirs.into())
    };
    let (stdout, stderr) = (output(Stream::Stdout)?, output(Stream::Stderr)?);
    let mut stdin = None;
    if open_stdin {
        let (theirs, ours) = io::pipe()?;
        set_nonblocking(ours.as_fd(), true)?;
        stdin = Some(theirs.into());
        streams.input = Some(Input::new(ours.into()));
    }
    Ok((Stdio::Fds { stdin, stdout: Some(stdout), stderr: Some(stderr) }, streams))
}

impl Streams {
    /// Takes the controlling side of the container's terminal, which is its output and, when it has one, its input.
    pub(crate) fn add_terminal(&mut self, terminal: OwnedFd, open_stdin: bool) -> io::Result<()> {
        set_nonblocking(terminal.as_fd(), true)?;
        self.outputs.push(Output { stream: Stream::Stdout, fd: terminal.try_clone()? });
        if open_stdin {
            self.input = Some(Input::new(terminal.try_clone()?));
        }
        self.terminal = Some(terminal);
        Ok(())
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Option<io::Result<()>> {
        let terminal = self.terminal.as_ref()?;
        Some(sys::terminal::set_window_size(terminal.as_fd(), WindowSize { rows, columns }))
    }

    /// Ends the container's stdin after what waits for it; a terminal's stays, there is no such thing there.
    pub(crate) fn close_input(&mut self) {
        if self.terminal.is_none()
            && let Some(input) = &mut self.input
        {
            input.closing = true;
            self.drop_finished_input();
        }
    }

    /// Queues bytes for the container's stdin.
    pub(crate) fn write_input(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input
            && !input.closing
        {
            input.queue.extend_from_slice(bytes);
        }
        self.flush_input();
    }

    /// Writes what stdin takes now.
    pub(crate) fn flush_input(&mut self) {
        let Some(input) = self.input.as_mut().filter(|input| input.wants_write()) else { return };
        match write_now(input.fd.as_fd(), &input.queue) {
            Ok(written) => drop(input.queue.drain(..written)),
            // Nobody reads it any more.
            Err(_) => {
                input.queue.clear();
                input.closing = true;
            }
        }
        if input.queue.is_empty() {
            input.queue = Vec::new();
        }
        self.drop_finished_input();
    }

    fn drop_finished_input(&mut self) {
        if self.input.as_ref().is_some_and(|input| input.closing && input.queue.is_empty()) {
            self.input = None;
        }
    }

    /// Whether attached clients have to wait before they send more input.
    pub(crate) fn input_is_behind(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.queue.len() > MAX_INPUT)
    }
}

impl Input {
    fn new(fd: OwnedFd) -> Self {
        Self { fd, queue: Vec::new(), closing: false }
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }
}

/// Most that is read of each stream after the end of who wrote it: a full pipe is 64 KiB, and a process outside the container's pid
/// namespace could write for ever.
const MAX_REST: usize = 4 << 20;

impl Output {
    /// Passes on what is there now, after the end of who wrote it.
    pub(crate) fn drain(&self, mut pass: impl FnMut(&[u8])) {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while let Ok(Some(n)) = self.read(&mut buffer) {
            taken += n;
            if n == 0 || taken > MAX_REST {
                break;
            }
            pass(&buffer[..n]);
        }
    }

    /// Reads once; `Ok(None)` when nothing is there now, `Ok(Some(0))` at the end of the stream.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match read_now(self.fd.as_fd(), buffer) {
            // A terminal whose last user has closed it.
            Err(error) if error.raw_os_error() == Some(5) => Ok(Some(0)),
            other => other,
        }
    }
}
