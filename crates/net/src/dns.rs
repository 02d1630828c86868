//! The name server inside a container's network namespace: names of the networks from their directories, the rest forwarded.
//!
//! The container asks 127.0.0.11, port 53 ([`redirect`] says how it gets there without that port being taken). The answer
//! comes from the files that the monitors of other containers keep ([`crate::names`]), so nothing has to be told to anybody.
//! Everything else goes to the resolvers of the host, from the host's namespace, where 127.0.0.53 and VPNs work.

mod forward;
mod redirect;
pub mod resolv;
mod resolver;
mod stream;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use diag::{Class, Diagnose};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::names::NamesDir;
use crate::netns;
use forward::{Forward, Progress};
use resolver::Resolver;
use stream::Stream;
use wire::{Query, Rejection};

pub use resolv::{HostResolvers, host_resolvers};

/// What a container's resolv.conf names as its server.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Where the server listens behind the redirection: a port assigned to nobody.
const QUIET_PORT: u16 = 26;
/// Bounds: questions under way, TCP clients, questions answered before others get their turn, events read at once.
const FORWARDS: usize = 64;
const STREAMS: usize = 16;
const BURST: usize = 32;
const EVENTS: usize = 32;
/// The largest datagram: what clients ask for at most, as a rule.
const DATAGRAM: usize = 4096;

/// Where questions go that no network answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Nowhere: the container has only internal networks.
    None,
    /// To the host's resolvers, read anew when its resolv.conf changes.
    Host,
    /// To the servers the user named (`--dns`).
    Fixed(Vec<SocketAddr>),
}

/// What a [`Server`] answers from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The container's networks; the first that knows a name answers.
    pub networks: Vec<NamesDir>,
    pub upstream: Upstream,
}

/// Why the name server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot enter the container's network namespace")]
    Namespace { source: io::Error },
    #[error("cannot bind the name server to {ADDRESS}:{port}")]
    Bind { port: u16, source: io::Error },
    #[error("cannot wait for questions")]
    Epoll { source: io::Error },
}

impl Diagnose for BindError {
    fn class(&self) -> Class {
        Class::Internal
    }
}

/// The name server of one container. One descriptor to poll for reading, one deadline, no threads, bounded state.
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
    udp: UdpSocket,
    tcp: TcpListener,
    resolver: Resolver,
    forwards: Vec<Option<Forward>>,
    streams: Vec<Option<Stream>>,
    /// What does not fit is left to TCP.
    buffer: Box<[u8]>,
}

impl Server {
    /// Binds inside `netns`, whose loopback interface is up; what is forwarded leaves through the caller's namespace.
    pub fn bind(netns: BorrowedFd<'_>, config: Config) -> Result<Self, BindError> {
        let sockets = netns::inside(netns, sockets).map_err(|source| BindError::Namespace { source })?;
        let (udp, tcp) = sockets?;
        let listen = || {
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            epoll::add(&epoll, &udp, Token::Udp.data(), EventFlags::IN)?;
            epoll::add(&epoll, &tcp, Token::Tcp.data(), EventFlags::IN)?;
            io::Result::Ok(epoll)
        };
        let epoll = listen().map_err(|source| BindError::Epoll { source })?;
        Ok(Self {
            epoll,
            udp,
            tcp,
            resolver: Resolver::new(config),
            forwards: Vec::new(),
            streams: Vec::new(),
            buffer: vec![0; DATAGRAM].into_boxed_slice(),
        })
    }

    /// Answers from other networks or forwards elsewhere from now on (`network connect`).
    pub fn reconfigure(&mut self, config: Config) {
        self.resolver.reconfigure(config);
    }

    /// Does whatever can be done without waiting; call it when the descriptor is readable or the deadline has passed.
    pub fn ready(&mut self) {
        let mut events = Vec::<epoll::Event>::with_capacity(EVENTS);
        let now = Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 });
        if epoll::wait(&self.epoll, spare_capacity(&mut events), now).is_err() {
            return;
        }
        for event in events {
            let (flags, data) = (event.flags, event.data);
            match Token::of(data) {
                Token::Udp => self.questions(),
                Token::Tcp => self.accept(),
                Token::Forward(i) => self.advance_forward(i),
                Token::Stream(i) if flags.intersects(EventFlags::HUP | EventFlags::ERR) => {
                    self.streams[i] = None
                }
                Token::Stream(i) | Token::StreamServer(i) => self.advance_stream(i),
            }
        }
        let now = Instant::now();
        for i in 0..self.forwards.len() {
            if self.forwards[i].as_ref().is_some_and(|forward| forward.deadline <= now) {
                self.advance_forward(i);
            }
        }
        for i in 0..self.streams.len() {
            if self.streams[i].as_ref().is_some_and(|stream| stream.deadline <= now) {
                self.advance_stream(i);
            }
        }
    }

    /// When to call [`Server::ready`] at the latest; `None` while nothing is pending.
    pub fn deadline(&self) -> Option<Instant> {
        let forwards = self.forwards.iter().flatten().map(|forward| forward.deadline);
        forwards.chain(self.streams.iter().flatten().map(|stream| stream.deadline)).min()
    }

    /// Answers datagrams, a bounded number so that others get their turn.
    fn questions(&mut self) {
        for _ in 0..BURST {
            let (len, client) = match self.udp.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let message = &self.buffer[..len];
            let reply = match Query::parse(message) {
                Err(Rejection::Ignore) => continue,
                Err(Rejection::Reply(reply)) => reply,
                Ok(query) => match self.resolver.answer(&query, true) {
                    Some(answer) => answer,
                    None => match forward(&mut self.resolver, &mut self.forwards, client, query, message) {
                        Ok(i) => {
                            self.watch_forward(i);
                            continue;
                        }
                        Err(failure) => failure,
                    },
                },
            };
            // A client that has gone meanwhile needs no answer.
            let _ = self.udp.send_to(&reply, client);
        }
    }

    fn watch_forward(&mut self, i: usize) {
        if let Some(forward) = &self.forwards[i]
            && epoll::add(&self.epoll, &forward.socket, Token::Forward(i).data(), EventFlags::IN).is_err()
        {
            self.forwards[i] = None;
        }
    }

    fn advance_forward(&mut self, i: usize) {
        let Some(forward) = &mut self.forwards[i] else { return };
        match forward.advance(&mut self.buffer) {
            Progress::Pending => {}
            Progress::Moved => self.watch_forward(i),
            Progress::Answer(answer) => {
                let _ = self.udp.send_to(&answer, forward.client);
                self.forwards[i] = None;
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..BURST {
            let Ok((client, _)) = self.tcp.accept() else { return };
            // One client too many is told so by being cut off.
            let Some(i) = free_slot(&mut self.streams, STREAMS) else { continue };
            let Ok(stream) = Stream::new(client) else { continue };
            if epoll::add(&self.epoll, &stream.client, Token::Stream(i).data(), EventFlags::IN).is_ok() {
                self.streams[i] = Some(stream);
                self.advance_stream(i);
            }
        }
    }

    fn advance_stream(&mut self, i: usize) {
        let Some(stream) = &mut self.streams[i] else { return };
        let watch = |stream: &Stream| {
            epoll::modify(&self.epoll, &stream.client, Token::Stream(i).data(), stream.wants())?;
            let Some((server, flags)) = stream.server() else { return Ok(()) };
            let data = Token::StreamServer(i).data();
            match epoll::add(&self.epoll, server, data, flags) {
                Err(Errno::EXIST) => epoll::modify(&self.epoll, server, data, flags),
                result => result,
            }
        };
        // The old socket of a server leaves the epoll set by being closed.
        if stream.advance(&mut self.resolver).is_err() || watch(stream).is_err() {
            self.streams[i] = None;
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Sends a question on its way; the error is the answer to give instead.
fn forward(
    resolver: &mut Resolver,
    forwards: &mut Vec<Option<Forward>>,
    client: SocketAddr,
    query: Query,
    message: &[u8],
) -> Result<usize, Vec<u8>> {
    let Some(i) = free_slot(forwards, FORWARDS) else {
        return Err(query.answer(wire::Code::ServerFailure, &[], true));
    };
    let (id, servers) = (resolver.random_id(), resolver.servers());
    forwards[i] = Some(Forward::start(client, query, message, id, servers)?);
    Ok(i)
}

fn free_slot<T>(slots: &mut Vec<Option<T>>, limit: usize) -> Option<usize> {
    if let Some(free) = slots.iter().position(Option::is_none) {
        return Some(free);
    }
    (slots.len() < limit).then(|| {
        slots.push(None);
        slots.len() - 1
    })
}

/// Opens the sockets in this thread's namespace, behind a redirection of port 53 where the kernel can do that.
fn sockets() -> Result<(UdpSocket, TcpListener), BindError> {
    let redirected = bind_both(QUIET_PORT).or_else(|_| bind_both(0))?;
    let ports = (redirected.0.local_addr(), redirected.1.local_addr());
    if let (Ok(udp), Ok(tcp)) = ports
        && redirect::install(udp.port(), tcp.port()).is_ok()
    {
        return Ok(redirected);
    }
    bind_both(53)
}

fn bind_both(port: u16) -> Result<(UdpSocket, TcpListener), BindError> {
    let failed = |source| BindError::Bind { port, source };
    Ok((
        UdpSocket::bind((ADDRESS, port)).map_err(failed)?,
        TcpListener::bind((ADDRESS, port)).map_err(failed)?,
    ))
}

/// What an event is about, as the number epoll keeps.
#[derive(Clone, Copy)]
enum Token {
    Udp,
    Tcp,
    Forward(usize),
    Stream(usize),
    StreamServer(usize),
}

impl Token {
    fn data(self) -> EventData {
        let (kind, index) = match self {
            Self::Udp => (0, 0),
            Self::Tcp => (1, 0),
            Self::Forward(i) => (2, i),
            Self::Stream(i) => (3, i),
            Self::StreamServer(i) => (4, i),
        };
        EventData::new_u64(kind << 32 | index as u64)
    }

    fn of(data: EventData) -> Self {
        let index = data.u64() as u32 as usize;
        match data.u64() >> 32 {
            0 => Self::Udp,
            1 => Self::Tcp,
            2 => Self::Forward(index),
            3 => Self::Stream(index),
            _ => Self::StreamServer(index),
        }
    }
}
