//! One client of the monitor: its socket, what it said so far, what it has still to be told.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use sys::event::PollFlags;

use crate::frame;
use crate::logs::Stream;
use crate::protocol::{AttachOptions, Control, MAX_LINE, Reply, Request};

/// More than this waiting for a client stops the container's output from being read until it has caught up: an attached
/// client slows the container down as a pipe would, and memory stays bounded.
const MAX_WAITING: usize = 256 * 1024;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The next end.
    Exit,
    /// The end of everything.
    Stop,
    /// The start after a requested restart.
    Restart,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Request(Request),
    Stdin(Vec<u8>),
    Control(Control),
}

#[derive(Debug)]
pub(crate) struct Connection {
    socket: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    pub(crate) attached: Option<AttachOptions>,
    pub(crate) waiting: Option<Waiting>,
    /// The client said it removes the container.
    pub(crate) reaping: bool,
    /// Nothing more is read from it; it goes when the outbox is empty.
    closing: bool,
    hung_up: bool,
}

impl Connection {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        sys::event::set_nonblocking(socket.as_fd(), true)?;
        Ok(Self {
            socket,
            inbox: Vec::new(),
            outbox: Vec::new(),
            attached: None,
            waiting: None,
            reaping: false,
            closing: false,
            hung_up: false,
        })
    }

    /// Reads what is there now, for [`Connection::next`].
    pub(crate) fn receive(&mut self) {
        let mut chunk = [0; 16 * 1024];
        match sys::event::read_now(self.socket.as_fd(), &mut chunk) {
            Ok(None) => {}
            Ok(Some(n)) if n > 0 => self.inbox.extend_from_slice(&chunk[..n]),
            _ => self.hung_up = true,
        }
    }

    /// Takes the next complete message out of what was read; a client that breaks the protocol is dropped.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        loop {
            let parsed = self.parse(&self.inbox);
            let Ok(Some((incoming, length))) = parsed else {
                self.hung_up |= parsed.is_err();
                return None;
            };
            self.inbox.drain(..length);
            if self.inbox.is_empty() {
                self.inbox = Vec::new();
            }
            if incoming.is_some() {
                return incoming;
            }
        }
    }

    /// Parses one message and says how long it was; `None` when it is not complete.
    fn parse(&self, bytes: &[u8]) -> io::Result<Option<(Option<Incoming>, usize)>> {
        if self.attached.is_none() {
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
                let endless = bytes.len() > MAX_LINE;
                return if endless { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
            };
            let request = serde_json::from_slice(&bytes[..end])?;
            return Ok(Some((Some(Incoming::Request(request)), end + 1)));
        }
        let Some((kind, range)) = frame::decode(bytes)? else { return Ok(None) };
        let end = range.end;
        let payload = &bytes[range];
        let incoming = match kind {
            frame::STDIN => Some(Incoming::Stdin(payload.to_vec())),
            frame::CONTROL => Some(Incoming::Control(serde_json::from_slice(payload)?)),
            _ => None,
        };
        Ok(Some((incoming, end)))
    }

    pub(crate) fn reply(&mut self, reply: &Reply) {
        let line = serde_json::to_vec(reply).expect("replies have only strings for keys");
        self.outbox.extend_from_slice(&line);
        self.outbox.push(b'\n');
        self.flush();
    }

    /// Passes on a piece of output, if the client takes part in that stream.
    pub(crate) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let wanted = self.attached.is_some_and(|options| match stream {
            Stream::Stdout => options.stdout,
            Stream::Stderr => options.stderr,
        });
        if wanted && !self.closing {
            let kind = if stream == Stream::Stdout { frame::STDOUT } else { frame::STDERR };
            frame::encode(&mut self.outbox, kind, bytes);
            self.flush();
        }
    }

    pub(crate) fn control(&mut self, control: &Control) {
        crate::client::encode_control(&mut self.outbox, control);
        self.flush();
    }

    /// Sends what the socket takes now.
    pub(crate) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match sys::socket::send_now(self.socket.as_fd(), &self.outbox[sent..]) {
                Ok(0) => break,
                Ok(n) => sent += n,
                Err(_) => {
                    self.hung_up = true;
                    break;
                }
            }
        }
        self.outbox.drain(..sent);
        if self.outbox.is_empty() {
            self.outbox = Vec::new();
        }
    }

    /// Lets the client go once it has been told everything.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether there is nothing left to do for this client.
    pub(crate) fn is_over(&self) -> bool {
        self.hung_up || self.closing && self.outbox.is_empty()
    }

    /// Whether this client, still there, said that it removes the container when it ends.
    pub(crate) fn will_remove(&self) -> bool {
        !self.hung_up && self.attached.is_some_and(|options| options.will_remove)
    }

    /// What to wait for; an attached client has to wait with its input while the container is behind with it.
    pub(crate) fn interest(&self, input_is_behind: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        let must_wait = self.attached.is_some() && input_is_behind;
        if !self.closing && !must_wait {
            flags |= PollFlags::IN;
        }
        if !self.outbox.is_empty() {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Whether the container's output has to wait for this client.
    pub(crate) fn is_behind(&self) -> bool {
        self.outbox.len() > MAX_WAITING && !self.hung_up && !self.closing
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
