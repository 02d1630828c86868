//! A foreground session with a container: the terminal on one side, the monitor's stream on the other.
//!
//! One loop waits for input, output, signals and window changes. Input is read only while nothing waits to be sent, so a
//! container that does not read cannot make us keep its input in memory, nor stop us from showing its output.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use monitor::client::{AttachStream, Ended, Frame};
use monitor::logs::Stream;
use sys::event::{PollFd, PollFlags, SignalFd, poll, read_now};
use sys::terminal::{RawMode, WindowSize, window_size};

pub mod process;

pub use engine::detach::DetachKeys;
pub use signal::WINCH;

/// How a session ended.
pub enum End {
    Exited(Ended),
    /// The user pressed the detach keys, or our own output was closed; the container goes on.
    Detached,
    /// The third request to end, which nothing has followed: the user wants out.
    Abandoned,
    /// The stream ended without an exit: the monitor was killed.
    Lost,
}

/// What a session connects.
pub struct Options<'a> {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub detach_keys: DetachKeys,
    /// Passes signals sent to us on to the container, when it has no terminal.
    pub forward: Option<&'a dyn Fn(i32)>,
    /// The caller removes the container when it has ended: the monitor is told so, and this is called while that cleans up.
    pub reap: Option<&'a dyn Fn()>,
}

/// The other end of a session.
pub trait Peer: AsFd {
    /// Whether the container has a terminal.
    fn is_tty(&self) -> bool;

    /// Reads once from the descriptor, waiting if nothing is there; false at the end.
    fn receive(&mut self) -> io::Result<bool>;

    /// Takes something out of what was read.
    fn buffered(&mut self) -> io::Result<Option<Frame>>;

    /// Sends input, as far as it goes now.
    fn stdin(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Says that there is no more input.
    fn close_stdin(&mut self) -> io::Result<()>;

    /// Says what size our terminal has.
    fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()>;

    /// How many bytes wait for the descriptor to take more.
    fn pending(&self) -> usize;

    /// Sends what the descriptor takes without waiting.
    fn flush(&mut self) -> io::Result<()>;

    /// Says that we remove the container, which has ended.
    fn reaping(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits until everything of a run that has ended is cleaned up.
    fn wait_end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer for AttachStream {
    fn is_tty(&self) -> bool {
        self.is_tty()
    }

    fn receive(&mut self) -> io::Result<bool> {
        self.reader.receive()
    }

    fn buffered(&mut self) -> io::Result<Option<Frame>> {
        self.reader.buffered()
    }

    fn stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.stdin(bytes)
    }

    fn close_stdin(&mut self) -> io::Result<()> {
        self.writer.close_stdin()
    }

    fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        self.writer.resize(rows, columns)
    }

    fn pending(&self) -> usize {
        self.writer.pending()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn reaping(&mut self) -> io::Result<()> {
        self.writer.reaping()
    }

    fn wait_end(&mut self) -> io::Result<()> {
        self.reader.wait_end()
    }
}

/// Signals by their numbers, which are the same on every architecture Linux has containers on.
mod signal {
    pub const HUP: i32 = 1;
    pub const INT: i32 = 2;
    pub const QUIT: i32 = 3;
    pub const USR1: i32 = 10;
    pub const USR2: i32 = 12;
    pub const ALRM: i32 = 14;
    pub const TERM: i32 = 15;
    pub const CONT: i32 = 18;
    pub const WINCH: i32 = 28;
}

/// Signals passed on to a container without a terminal.
const FORWARDED: &[i32] = &[
    signal::HUP,
    signal::INT,
    signal::QUIT,
    signal::TERM,
    signal::USR1,
    signal::USR2,
    signal::ALRM,
    signal::CONT,
];

/// Holds back the signals a session handles: those to pass on when `forward`, and changes of the terminal's size.
pub fn watch_signals(forward: bool) -> io::Result<SignalFd> {
    let mut watched = vec![signal::WINCH];
    if forward {
        watched.extend(FORWARDED);
    }
    SignalFd::new(&watched)
}

/// The size of our terminal, when standard output or standard input is one.
pub fn terminal_size() -> Option<WindowSize> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    window_size(stdout.as_fd()).or_else(|_| window_size(stdin.as_fd())).ok()
}

/// Runs the session to its end.
pub fn run(mut stream: impl Peer, signals: &SignalFd, options: &Options<'_>) -> io::Result<End> {
    let stdin = io::stdin();
    let raw = stream.is_tty() && options.stdin && stdin.is_terminal();
    let _raw = raw.then(|| RawMode::enter(stdin.as_fd())).transpose()?;
    let mut requests_to_end = 0;
    let mut keys = options.detach_keys.matcher(raw);
    let mut input_open = options.stdin;
    if stream.is_tty() {
        resize(&mut stream)?;
    }
    let mut open = true;
    loop {
        while let Some(frame) = stream.buffered()? {
            match frame {
                Frame::Output(from, bytes) => match show(options, from, &bytes) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Detached),
                    shown => shown?,
                },
                Frame::Exited(ended) => {
                    // One that is started again lives on, although this stream ends.
                    if let (Some(begin_removal), false) = (options.reap, ended.restarting) {
                        stream.reaping()?;
                        begin_removal();
                    }
                    // Everything of the run is cleaned up when the stream ends.
                    stream.wait_end()?;
                    return Ok(End::Exited(ended));
                }
            }
        }
        if !open {
            return Ok(End::Lost);
        }
        let sending = stream.pending() > 0;
        let reads_input = input_open && !sending;
        let (socket_in, socket_out, signalled, input) = {
            let events = if sending { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds = vec![
                PollFd::from_borrowed_fd(stream.as_fd(), events),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            if reads_input {
                fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
            }
            poll(&mut fds, None)?;
            let ready = |index: usize| fds.get(index).map_or(PollFlags::empty(), PollFd::revents);
            (
                ready(0).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
                ready(0).contains(PollFlags::OUT),
                !ready(1).is_empty(),
                !ready(2).is_empty(),
            )
        };
        if socket_out {
            stream.flush()?;
        }
        if signalled {
            while let Some(number) = signals.take()? {
                match (number, options.forward) {
                    (signal::WINCH, _) if stream.is_tty() => resize(&mut stream)?,
                    (signal::WINCH, _) | (_, None) => {}
                    (number, Some(forward)) => {
                        requests_to_end += u32::from(matches!(number, signal::INT | signal::TERM));
                        if requests_to_end == 3 {
                            let _ = writeln!(io::stderr(), "got 3 SIGTERM/SIGINTs, forcefully exiting");
                            return Ok(End::Abandoned);
                        }
                        forward(number);
                    }
                }
            }
        }
        if input && !take_input(stdin.as_fd(), &mut stream, &mut keys, &mut input_open)? {
            return Ok(End::Detached);
        }
        if socket_in {
            open = stream.receive()?;
        }
    }
}

/// Moves one piece of input; false when the detach keys were in it.
fn take_input(
    stdin: BorrowedFd<'_>,
    stream: &mut impl Peer,
    keys: &mut engine::detach::Matcher,
    open: &mut bool,
) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    let piece = match read_now(stdin, &mut buffer) {
        Ok(None) => return Ok(true),
        Ok(Some(read)) => &buffer[..read],
        // Reading from a terminal in the background, or one that was hung up: no more input.
        Err(_) => &[],
    };
    if piece.is_empty() {
        *open = false;
        stream.close_stdin()?;
        return Ok(true);
    }
    let (bytes, detached) = keys.feed(piece);
    if !bytes.is_empty() {
        stream.stdin(&bytes)?;
    }
    Ok(!detached)
}

fn show(options: &Options<'_>, from: Stream, bytes: &[u8]) -> io::Result<()> {
    match from {
        Stream::Stdout if options.stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr if options.stderr => io::stderr().lock().write_all(bytes),
        _ => Ok(()),
    }
}

fn resize(stream: &mut impl Peer) -> io::Result<()> {
    match terminal_size() {
        Some(size) => stream.resize(size.rows, size.columns),
        None => Ok(()),
    }
}
