//! A process whose input and output clients attach to, without being its parent: what an exec of the API's is.
//!
//! The protocol is the monitor's: who has asked for the process attaches to it before its first byte, others change the size of
//! its terminal at any time. A client that goes away leaves the process alone; its output is read on, and nobody sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use diag::Failure;
use runtime::{Process, Stdio};
use sys::event::{PollFd, PollFlags, poll};

use crate::client::{receive_line, send_line};
use crate::connection::{Connection, Incoming};
use crate::failure::Remote;
use crate::protocol::{AttachOptions, Control, Ended, Reply, Request};
use crate::state::EXIT_KILLED;
use crate::stdio::{self, Streams};
use crate::time::now_ns;

/// Our ends of a process's standard streams.
#[derive(Debug, Default)]
pub struct Ends(Streams);

/// Streams for a process that clients attach to: pipes, or a terminal of the container's, whose controlling side [`hold`] takes from
/// the process.
///
/// # Errors
/// No descriptor is to be had.
pub fn streams(tty: bool, size: Option<(u16, u16)>, open_stdin: bool) -> io::Result<(Stdio, Ends)> {
    let (stdio, streams) = stdio::pipes(tty, size, open_stdin)?;
    Ok((stdio, Ends(streams)))
}

/// Reads how the client on `socket` wants to be attached; `None` when it has gone.
///
/// # Errors
/// It says something else.
pub fn greet(socket: &mut UnixStream) -> io::Result<Option<AttachOptions>> {
    match receive_line(socket)? {
        Some(Request::Attach(options)) => Ok(Some(options)),
        None => Ok(None),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Tells the client on `socket` why there is no process.
pub fn refuse(socket: &mut UnixStream, failure: &Failure) {
    // It may be gone.
    let _ = send_line(socket, &Reply::Failed(Remote::new(failure)));
}

/// Holds `process` to its end. `client` is attached as it asked for; further ones come to `listener`. `ended` is told the exit status
/// before they are.
///
/// # Errors
/// The process cannot be waited for.
pub fn hold(
    mut process: Process,
    ends: Ends,
    (client, options): (UnixStream, AttachOptions),
    listener: &UnixListener,
    ended: impl FnOnce(i32),
) -> io::Result<()> {
    let mut streams = ends.0;
    let tty = match process.take_terminal() {
        Some(terminal) => streams.add_terminal(terminal, options.stdin).map(|()| true)?,
        None => false,
    };
    listener.set_nonblocking(true)?;
    let mut client = Connection::new(client)?;
    client.reply(&Reply::Attached { tty });
    client.attached = Some(options);
    let mut held = Held { process, streams, clients: vec![client] };
    loop {
        held.turn(listener)?;
        let Some(code) = held.exit() else { continue };
        held.drain();
        ended(code);
        let end = Ended { code, finished_at_ns: now_ns(), ..Ended::default() };
        for client in &mut held.clients {
            if client.attached.is_some() {
                client.control(&Control::Exited(end.clone()));
            }
            client.close();
        }
        return held.say_goodbye();
    }
}

struct Held {
    process: Process,
    streams: Streams,
    clients: Vec<Connection>,
}

#[derive(Clone, Copy)]
enum Source {
    Process,
    Listener,
    Output(usize),
    Input,
    Client(usize),
}

impl Held {
    /// Waits for something to do, and does it.
    fn turn(&mut self, listener: &UnixListener) -> io::Result<()> {
        for source in self.wait(listener.as_fd())? {
            match source {
                Source::Process => {}
                Source::Listener => {
                    while let Ok((socket, _)) = listener.accept() {
                        self.clients.extend(Connection::new(socket).ok());
                    }
                }
                Source::Output(index) => self.pump(index),
                Source::Input => self.streams.flush_input(),
                Source::Client(index) => self.talk(index),
            }
        }
        let mut input_ends = false;
        self.clients.retain(|client| {
            let over = client.is_over();
            input_ends |= over && client.attached.is_some_and(|options| options.stdin);
            !over
        });
        if input_ends {
            self.streams.close_input();
        }
        Ok(())
    }

    fn wait(&self, listener: BorrowedFd<'_>) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Process, Source::Listener];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.process.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(listener, PollFlags::IN),
        ];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if !self.clients.iter().any(Connection::is_behind) {
            for (index, output) in self.streams.outputs.iter().enumerate() {
                add(Source::Output(index), output.fd.as_fd(), PollFlags::IN);
            }
        }
        if let Some(input) = self.streams.input.as_ref().filter(|input| input.wants_write()) {
            add(Source::Input, input.fd.as_fd(), PollFlags::OUT);
        }
        let input_is_behind = self.streams.input_is_behind();
        for (index, client) in self.clients.iter().enumerate() {
            add(Source::Client(index), client.as_fd(), client.interest(input_is_behind));
        }
        poll(&mut fds, None)?;
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    fn exit(&self) -> Option<i32> {
        match self.process.try_wait() {
            Ok(None) => None,
            Ok(Some(exit)) => Some(exit.status()),
            Err(_) => Some(EXIT_KILLED),
        }
    }

    /// Passes on what the process wrote.
    fn pump(&mut self, index: usize) {
        let Some(output) = self.streams.outputs.get(index) else { return };
        let mut buffer = [0; 16 * 1024];
        match output.read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(n @ 1..)) => {
                let stream = output.stream;
                self.clients.iter_mut().for_each(|client| client.output(stream, &buffer[..n]));
            }
            // Indices stay as they are until the next wait.
            _ => drop(self.streams.outputs.swap_remove(index)),
        }
    }

    /// Takes what the process wrote last; what others hold open is not waited for.
    fn drain(&mut self) {
        for output in std::mem::take(&mut self.streams.outputs) {
            output.drain(|bytes| {
                self.clients.iter_mut().for_each(|client| client.output(output.stream, bytes));
            });
        }
    }

    fn talk(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.flush();
        client.receive();
        while let Some(incoming) = self.clients[index].next() {
            match incoming {
                Incoming::Request(Request::Resize { rows, columns })
                | Incoming::Control(Control::Resize { rows, columns }) => {
                    self.streams.resize(rows, columns);
                    if self.clients[index].attached.is_none() {
                        self.clients[index].reply(&Reply::Done);
                    }
                }
                Incoming::Stdin(bytes) if self.takes_input(index) => self.streams.write_input(&bytes),
                Incoming::Control(Control::CloseStdin) if self.takes_input(index) => {
                    self.streams.close_input()
                }
                // Nothing else can be asked of it.
                Incoming::Request(_) => self.clients[index].close(),
                Incoming::Stdin(_) | Incoming::Control(_) => {}
            }
        }
    }

    fn takes_input(&self, index: usize) -> bool {
        self.clients[index].attached.is_some_and(|options| options.stdin)
    }

    /// Waits until every client has been told everything, or is gone.
    fn say_goodbye(&mut self) -> io::Result<()> {
        loop {
            self.clients.iter_mut().for_each(Connection::flush);
            self.clients.retain(|client| !client.is_over());
            if self.clients.is_empty() {
                return Ok(());
            }
            let fds =
                self.clients.iter().map(|client| PollFd::from_borrowed_fd(client.as_fd(), PollFlags::OUT));
            poll(&mut fds.collect::<Vec<_>>(), None)?;
        }
    }
}
