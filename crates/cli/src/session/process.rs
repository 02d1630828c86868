//! A session with a process that is our own child in a container: `exec`.
//!
//! Files and pipes are handed to the process as they are. Only where ours is a terminal a pipe goes between: a container must
//! never hold the host's terminal.

use std::io::{self, IsTerminal as _, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use runtime::{Exit, Process, Stdio};
use sys::event::{PollFd, PollFlags, SignalFd, poll, read_now, set_nonblocking, write_now};
use sys::terminal::{RawMode, set_window_size};

use super::{DetachKeys, signal, terminal_size};

/// Our ends of what the process reads and writes.
#[derive(Default)]
pub struct Ends {
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

/// How a session ended.
pub enum End {
    Exited(Exit),
    /// The detach keys: the process goes on, in the care of the container's init, as long as somebody holds its terminal.
    Detached(OwnedFd),
}

/// Streams for a process without a terminal: ours, through pipes where they are terminals.
pub fn streams(interactive: bool) -> io::Result<(Stdio, Ends)> {
    let mut ends = Ends::default();
    let stdin = match interactive {
        false => None,
        true if io::stdin().is_terminal() => {
            let (theirs, ours) = io::pipe()?;
            ends.stdin = Some(ours);
            Some(OwnedFd::from(theirs))
        }
        true => Some(io::stdin().as_fd().try_clone_to_owned()?),
    };
    let output = |fd: std::os::fd::BorrowedFd<'_>, end: &mut Option<PipeReader>| -> io::Result<OwnedFd> {
        if !sys::terminal::is_terminal(fd) {
            return fd.try_clone_to_owned();
        }
        let (ours, theirs) = io::pipe()?;
        *end = Some(ours);
        Ok(theirs.into())
    };
    let stdout = output(io::stdout().as_fd(), &mut ends.stdout)?;
    let stderr = output(io::stderr().as_fd(), &mut ends.stderr)?;
    Ok((Stdio::Fds { stdin, stdout: Some(stdout), stderr: Some(stderr) }, ends))
}

/// Moves bytes and signals until the process has ended and its output is shown.
pub fn run(mut process: Process, mut ends: Ends, signals: &SignalFd, keys: &DetachKeys) -> io::Result<End> {
    let terminal = process.take_terminal();
    let stdin = io::stdin();
    let raw = terminal.is_some() && stdin.is_terminal();
    let _raw = raw.then(|| RawMode::enter(stdin.as_fd())).transpose()?;
    let mut keys = keys.matcher(raw);
    let mut input_open = terminal.is_some() || ends.stdin.is_some();
    let mut terminal_open = terminal.is_some();
    let mut waiting: Vec<u8> = Vec::new();
    if let Some(terminal) = &terminal {
        set_nonblocking(terminal.as_fd(), true)?;
    }
    if let Some(pipe) = &ends.stdin {
        set_nonblocking(pipe.as_fd(), true)?;
    }
    loop {
        let ready = {
            let none = PollFlags::empty();
            let into = if waiting.is_empty() { none } else { PollFlags::OUT };
            let mut fds: Vec<(Source, PollFd<'_>)> = vec![
                (Source::Process, PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN)),
                (Source::Signals, PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)),
            ];
            if input_open && waiting.is_empty() {
                fds.push((Source::Input, PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)));
            }
            if let Some(terminal) = terminal.as_ref().filter(|_| terminal_open) {
                fds.push((
                    Source::Terminal,
                    PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN | into),
                ));
            }
            if let Some(pipe) = ends.stdin.as_ref().filter(|_| !waiting.is_empty()) {
                fds.push((Source::Pipe, PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
            }
            if let Some(pipe) = &ends.stdout {
                fds.push((Source::Stdout, PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            }
            if let Some(pipe) = &ends.stderr {
                fds.push((Source::Stderr, PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            }
            let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = fds.into_iter().unzip();
            poll(&mut fds, None)?;
            let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
            ready.map(|(source, fd)| (source, fd.revents())).collect::<Vec<_>>()
        };
        let mut ended = false;
        for (source, events) in ready {
            match source {
                Source::Process => ended = true,
                Source::Signals => {
                    while let Some(number) = signals.take()? {
                        match (number, &terminal) {
                            (signal::WINCH, Some(terminal)) => resize(terminal),
                            (signal::WINCH, None) => {}
                            (number, _) => process.kill(number)?,
                        }
                    }
                }
                Source::Input => {
                    let mut buffer = [0; 16 * 1024];
                    match read_now(stdin.as_fd(), &mut buffer) {
                        Ok(None) => {}
                        Ok(Some(0)) | Err(_) => {
                            input_open = false;
                            ends.stdin = None;
                        }
                        Ok(Some(read)) => {
                            let (bytes, detached) = keys.feed(&buffer[..read]);
                            waiting.extend(bytes);
                            if detached && let Some(terminal) = terminal {
                                return Ok(End::Detached(terminal));
                            }
                        }
                    }
                }
                Source::Terminal => {
                    let terminal = terminal.as_ref().expect("it was polled");
                    if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                        terminal_open = show_terminal(terminal)?;
                    }
                    send(terminal, &mut waiting)?;
                }
                Source::Pipe => {
                    let broken = ends.stdin.as_ref().is_some_and(|pipe| send(pipe, &mut waiting).is_err());
                    if broken {
                        waiting.clear();
                        input_open = false;
                        ends.stdin = None;
                    }
                }
                Source::Stdout => pass(&mut ends.stdout, &mut io::stdout())?,
                Source::Stderr => pass(&mut ends.stderr, &mut io::stderr())?,
            }
        }
        if ended {
            // What it wrote before its end is still to be shown; what others hold open is not waited for.
            if let Some(terminal) = terminal.as_ref().filter(|_| terminal_open) {
                show_terminal(terminal)?;
            }
            drain(ends.stdout, &mut io::stdout())?;
            drain(ends.stderr, &mut io::stderr())?;
            return Ok(End::Exited(process.wait()?));
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Process,
    Signals,
    Input,
    Terminal,
    Pipe,
    Stdout,
    Stderr,
}

fn resize(terminal: &OwnedFd) {
    if let Some(size) = terminal_size() {
        // A terminal that is gone needs no size.
        let _ = set_window_size(terminal.as_fd(), size);
    }
}

/// Shows what the terminal has; false when its other side is closed for good.
fn show_terminal(terminal: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match read_now(terminal.as_fd(), &mut buffer) {
            Ok(None) => return Ok(true),
            // EIO is how a pseudo-terminal says that nobody has its other side open.
            Ok(Some(0)) | Err(_) => return Ok(false),
            Ok(Some(read)) => {
                let mut out = io::stdout().lock();
                out.write_all(&buffer[..read])?;
                out.flush()?;
            }
        }
    }
}

/// Writes as much of `waiting` as `to` takes now.
fn send(to: &impl AsFd, waiting: &mut Vec<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        match write_now(to.as_fd(), waiting)? {
            0 => break,
            written => drop(waiting.drain(..written)),
        }
    }
    Ok(())
}

fn pass(from: &mut Option<PipeReader>, to: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let Some(pipe) = from else { return Ok(()) };
    match pipe.read(&mut buffer)? {
        0 => *from = None,
        read => {
            to.write_all(&buffer[..read])?;
            to.flush()?;
        }
    }
    Ok(())
}

fn drain(pipe: Option<PipeReader>, to: &mut impl io::Write) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    set_nonblocking(pipe.as_fd(), true)?;
    let mut buffer = [0; 16 * 1024];
    while let Ok(Some(read @ 1..)) = read_now(pipe.as_fd(), &mut buffer) {
        to.write_all(&buffer[..read])?;
    }
    to.flush()
}
