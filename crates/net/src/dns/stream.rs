//! One client over TCP: questions in turn, each answered from here or by a server outside, over TCP as well.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::resolver::Resolver;
use super::wire::{Code, Query, Rejection, set_id};

/// How long a client may say nothing, and a server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// No question is longer; who sends more is cut off.
const LONGEST_QUESTION: usize = 4096;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) client: TcpStream,
    pub(super) deadline: Instant,
    input: Vec<u8>,
    output: VecDeque<u8>,
    asked: Option<Asked>,
}

/// A question that a server outside is working on.
#[derive(Debug)]
struct Asked {
    query: Query,
    message: Vec<u8>,
    id: u16,
    server: TcpStream,
    /// Those not asked yet.
    servers: Vec<SocketAddr>,
    output: VecDeque<u8>,
    input: Vec<u8>,
}

/// The other side has gone, or does not speak DNS.
#[derive(Debug)]
pub(super) struct Closed;

impl Stream {
    pub(super) fn new(client: TcpStream) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        let deadline = Instant::now() + PATIENCE;
        Ok(Self { client, deadline, input: Vec::new(), output: VecDeque::new(), asked: None })
    }

    /// The socket to the server outside, while one is asked, and what to wait for on it.
    pub(super) fn server(&self) -> Option<(&TcpStream, EventFlags)> {
        let asked = self.asked.as_ref()?;
        let flags = if asked.output.is_empty() { EventFlags::IN } else { EventFlags::OUT };
        Some((&asked.server, flags))
    }

    /// What to wait for on the client's socket.
    pub(super) fn wants(&self) -> EventFlags {
        match (&self.asked, self.output.is_empty()) {
            (_, false) => EventFlags::OUT,
            (Some(_), true) => EventFlags::empty(),
            (None, true) => EventFlags::IN,
        }
    }

    /// Does whatever can be done without waiting.
    pub(super) fn advance(&mut self, resolver: &mut Resolver) -> Result<(), Closed> {
        loop {
            if !write_some(&mut self.client, &mut self.output).map_err(|_| Closed)? {
                return self.wait();
            }
            if let Some(asked) = &mut self.asked {
                let answer = match asked.advance() {
                    Ok(None) if Instant::now() < self.deadline => return Ok(()),
                    Ok(Some(answer)) => answer,
                    // Gone, refused, too slow or lying.
                    Ok(None) | Err(_) => match asked.next(&mut self.deadline) {
                        Some(next) => {
                            self.asked = Some(next);
                            continue;
                        }
                        None => asked.query.answer(Code::ServerFailure, &[], false),
                    },
                };
                self.asked = None;
                self.reply(&answer);
                continue;
            }
            match take_message(&mut self.input, LONGEST_QUESTION)? {
                Some(message) => self.handle(message, resolver),
                None => {
                    if !self.read()? {
                        return self.wait();
                    }
                }
            }
        }
    }

    /// Waits for the client, unless it has had its time.
    fn wait(&self) -> Result<(), Closed> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Closed) }
    }

    fn handle(&mut self, message: Vec<u8>, resolver: &mut Resolver) {
        let query = match Query::parse(&message) {
            Ok(query) => query,
            Err(Rejection::Reply(reply)) => return self.reply(&reply),
            Err(Rejection::Ignore) => return,
        };
        if let Some(answer) = resolver.answer(&query, false) {
            return self.reply(&answer);
        }
        let (servers, id) = (resolver.servers(), resolver.random_id());
        self.deadline = Instant::now() + PATIENCE;
        match Asked::start(query.clone(), message, id, servers) {
            Some(asked) => self.asked = Some(asked),
            None => self.reply(&query.answer(Code::ServerFailure, &[], false)),
        }
    }

    fn reply(&mut self, answer: &[u8]) {
        self.output.extend((answer.len() as u16).to_be_bytes());
        self.output.extend(answer);
        self.deadline = Instant::now() + PATIENCE;
    }

    /// Reads what the client sent; false when there is nothing yet.
    fn read(&mut self) -> Result<bool, Closed> {
        read_some(&mut self.client, &mut self.input).map_err(|_| Closed)
    }
}

impl Asked {
    fn start(query: Query, mut message: Vec<u8>, id: u16, mut servers: Vec<SocketAddr>) -> Option<Self> {
        set_id(&mut message, id);
        while !servers.is_empty() {
            if let Ok(server) = connect(servers.remove(0)) {
                let output =
                    (message.len() as u16).to_be_bytes().into_iter().chain(message.iter().copied()).collect();
                return Some(Self { query, message, id, server, servers, output, input: Vec::new() });
            }
        }
        None
    }

    /// Asks the servers that are left.
    fn next(&mut self, deadline: &mut Instant) -> Option<Self> {
        *deadline = Instant::now() + PATIENCE;
        let servers = std::mem::take(&mut self.servers);
        Self::start(self.query.clone(), std::mem::take(&mut self.message), self.id, servers)
    }

    /// The answer under the client's id, once it is complete.
    fn advance(&mut self) -> Result<Option<Vec<u8>>, Closed> {
        if !write_some(&mut self.server, &mut self.output).map_err(|_| Closed)? {
            return Ok(None);
        }
        loop {
            if let Some(mut answer) = take_message(&mut self.input, usize::from(u16::MAX))? {
                if !self.query.is_answered_by(self.id, &answer) {
                    return Err(Closed);
                }
                set_id(&mut answer, self.query.id);
                return Ok(Some(answer));
            }
            if !read_some(&mut self.server, &mut self.input).map_err(|_| Closed)? {
                return Ok(None);
            }
        }
    }
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a complete message from the front of `input`.
fn take_message(input: &mut Vec<u8>, longest: usize) -> Result<Option<Vec<u8>>, Closed> {
    let Some(prefix) = input.first_chunk() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*prefix));
    if len > longest {
        return Err(Closed);
    }
    if input.len() < 2 + len {
        return Ok(None);
    }
    let message = input[2..2 + len].to_vec();
    input.drain(..2 + len);
    Ok(Some(message))
}

/// Writes until nothing is left (true) or the peer is slow (false).
fn write_some(stream: &mut TcpStream, bytes: &mut VecDeque<u8>) -> io::Result<bool> {
    while !bytes.is_empty() {
        match stream.write(bytes.as_slices().0) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A connection in the making is not connected yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Reads once; false when there is nothing yet. The end of the stream is an error.
fn read_some(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 2048];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                input.extend_from_slice(&buffer[..len]);
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
