//! One question on its way to the servers outside, over UDP.
//!
//! Each question has a socket of its own, connected to the server: the kernel picks the port at random and drops what
//! others send to it. The id is random too, and the answer must repeat the question.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::wire::{Code, Query, is_failure, set_id};

/// How long a server has. A lost packet costs this once, and is asked again before the client does.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often is asked at least, when there is but one server.
const ATTEMPTS: usize = 2;

#[derive(Debug)]
pub(super) struct Forward {
    pub(super) client: SocketAddr,
    pub(super) socket: UdpSocket,
    pub(super) deadline: Instant,
    query: Query,
    message: Vec<u8>,
    id: u16,
    servers: Vec<SocketAddr>,
    attempt: usize,
}

/// What came of waiting.
pub(super) enum Progress {
    /// Nothing yet.
    Pending,
    /// Another server was asked, through a new socket.
    Moved,
    /// This is for the client.
    Answer(Vec<u8>),
}

impl Forward {
    /// Asks the first server that can be asked; the error is the answer to give when none can.
    pub(super) fn start(
        client: SocketAddr,
        query: Query,
        message: &[u8],
        id: u16,
        servers: Vec<SocketAddr>,
    ) -> Result<Self, Vec<u8>> {
        let mut message = message.to_vec();
        set_id(&mut message, id);
        let mut attempt = 0;
        match send(&servers, &mut attempt, &message) {
            Some(socket) => {
                let deadline = Instant::now() + PATIENCE;
                Ok(Self { client, socket, deadline, query, message, id, servers, attempt })
            }
            None => Err(query.answer(Code::ServerFailure, &[], true)),
        }
    }

    /// Looks for the answer, and asks the next server when this one failed or time is up.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> Progress {
        let size = buffer.len();
        loop {
            match self.socket.recv(buffer) {
                Ok(len) if self.query.is_answered_by(self.id, &buffer[..len]) => {
                    // It may have been longer.
                    let full = len == size;
                    let answer = &mut buffer[..len];
                    set_id(answer, self.query.id);
                    if full {
                        return Progress::Answer(self.query.cut());
                    }
                    // A server that cannot help may not be the last one; its refusal is better than our own.
                    if is_failure(answer) && self.attempt + 1 < self.servers.len() {
                        break;
                    }
                    return Progress::Answer(answer.to_vec());
                }
                // Not what was asked, so not from whom was asked.
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() < self.deadline {
                        return Progress::Pending;
                    }
                    break;
                }
                // Nobody listens there.
                Err(_) => break,
            }
        }
        self.attempt += 1;
        match send(&self.servers, &mut self.attempt, &self.message) {
            Some(socket) => {
                self.socket = socket;
                self.deadline = Instant::now() + PATIENCE;
                Progress::Moved
            }
            None => Progress::Answer(self.query.answer(Code::ServerFailure, &[], true)),
        }
    }
}

/// Sends `message` to the first server from `attempt` on that takes it.
fn send(servers: &[SocketAddr], attempt: &mut usize, message: &[u8]) -> Option<UdpSocket> {
    if servers.is_empty() {
        return None;
    }
    while *attempt < servers.len().max(ATTEMPTS) {
        let server = servers[*attempt % servers.len()];
        let any: SocketAddr = if server.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let try_one = || {
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            socket.send(message)?;
            io::Result::Ok(socket)
        };
        match try_one() {
            Ok(socket) => return Some(socket),
            Err(_) => *attempt += 1,
        }
    }
    None
}
