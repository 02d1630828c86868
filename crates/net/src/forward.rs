//! The program that serves the published ports of one container of an ordinary user, one process per container.
//!
//! It accepts on sockets of the host's network and connects in its own, where the container is: the container sees its bridge's
//! address as the client's. Each connection has two threads, each of which copies one way until that way ends.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Protocol, Published};
use crate::ports;

/// Where the forwarder finds the pidfd of its parent.
const PARENT_FD: i32 = 3;
/// The number of the first socket; the others follow.
const FIRST_FD: i32 = 4;
const BUFFER: usize = 64 * 1024;
/// Enough: the buffers are on the heap.
const STACK: usize = 64 * 1024;
/// How long a UDP client that is silent is remembered.
const SILENCE: Duration = Duration::from_secs(90);
/// How long to wait when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

const SIGKILL: i32 = 9;
const RLIMIT_NOFILE: u32 = 7;

/// A running forwarder; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    process: OwnedFd,
    started: Instant,
}

impl Forwarder {
    /// Starts one, a child of this process that ends with it, for the ports of the container at `address`.
    pub(crate) fn start(address: Ipv4Addr, published: &[Published], sockets: &[OwnedFd]) -> io::Result<Self> {
        let count = i32::try_from(sockets.len()).map_err(io::Error::other)?;
        // Out of the way of the numbers they get.
        let sockets: Vec<OwnedFd> = sockets
            .iter()
            .map(|socket| sys::spawn::duplicate_above(socket.as_fd(), FIRST_FD + count))
            .collect::<io::Result<_>>()?;
        let own = sys::process::open(std::process::id().cast_signed())?;
        let own = sys::spawn::duplicate_above(own.as_fd(), FIRST_FD + count)?;
        let mut fds: Vec<_> = sockets.iter().map(AsFd::as_fd).zip(FIRST_FD..).collect();
        fds.push((own.as_fd(), PARENT_FD));
        let target = |port: &Published| format!("{} {address}:{}", port.protocol, port.container_port);
        let targets: Vec<String> = published.iter().map(target).collect();
        let mut args: Vec<&OsStr> = vec!["hull".as_ref(), "forward".as_ref()];
        args.extend(targets.iter().map(|target| -> &OsStr { target.as_ref() }));
        let program = Path::new("/proc/self/exe");
        let pid = sys::spawn::spawn_forgotten(&sys::spawn::Spawn {
            program,
            args: &args,
            fds: &fds,
            new_session: true,
        })?;
        Ok(Self { process: sys::process::open(pid)?, started: Instant::now() })
    }

    pub(crate) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn has_ended(&self) -> bool {
        let ended = sys::event::poll_one(self.process(), sys::event::PollFlags::IN, Some(Duration::ZERO));
        ended.unwrap_or(false)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = sys::process::send_signal(self.process(), SIGKILL);
        let _ = sys::process::wait(self.process());
    }
}

/// Runs the forwarder: for each socket the protocol and where it leads, as `tcp 172.17.0.2:80`.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(sockets) = inherit(args) else { return ExitCode::FAILURE };
    if let Ok((_, hard)) = sys::process::limit(RLIMIT_NOFILE) {
        let _ = sys::process::set_limit(RLIMIT_NOFILE, hard, hard);
    }
    let serve = |((protocol, target), socket)| match protocol {
        Protocol::Tcp => spawn(move || serve_tcp(socket, target)),
        Protocol::Udp => spawn(move || serve_udp(socket.into(), target)),
    };
    let threads: Vec<_> = sockets.into_iter().map(serve).collect();
    for thread in threads {
        let Ok(thread) = thread else { return ExitCode::FAILURE };
        let _ = thread.join();
    }
    ExitCode::SUCCESS
}

/// Where each socket leads; an error when the parent is gone already.
fn inherit(args: impl Iterator<Item = OsString>) -> io::Result<Vec<((Protocol, SocketAddrV4), OwnedFd)>> {
    let parent = sys::spawn::claim_inherited(PARENT_FD)?;
    let mut sockets = Vec::new();
    for (target, number) in args.zip(FIRST_FD..) {
        let target = target.to_str().and_then(ports::parse).ok_or(io::ErrorKind::InvalidInput)?;
        sockets.push((target, sys::spawn::claim_inherited(number)?));
    }
    sys::process::die_with_parent()?;
    // Had it ended before that, nobody would say so any more.
    match sys::event::poll_one(parent.as_fd(), sys::event::PollFlags::IN, Some(Duration::ZERO))? {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(sockets),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(STACK).spawn(work)
}

fn serve_tcp(socket: OwnedFd, target: SocketAddrV4) {
    for client in TcpListener::from(socket).incoming() {
        // Without a thread for it the connection is closed again, which its client is told.
        let served = client.and_then(|client| spawn(move || drop(connect(client, target))));
        if served.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

fn connect(client: TcpStream, target: SocketAddrV4) -> io::Result<()> {
    let container = TcpStream::connect(target)?;
    for stream in [&client, &container] {
        stream.set_nodelay(true)?;
    }
    let back = (container.try_clone()?, client.try_clone()?);
    let thread = spawn(move || copy(back.0, back.1))?;
    copy(client, container);
    let _ = thread.join();
    Ok(())
}

/// Copies until `from` ends or either side fails; a mere end is passed on, a failure ends both ways.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(length @ 1..) if to.write_all(&buffer[..length]).is_ok() => {}
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            _ => {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// The clients of a UDP port, each with the socket that speaks for it to the container.
type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

fn serve_udp(socket: UdpSocket, target: SocketAddrV4) {
    let socket = Arc::new(socket);
    let clients = Clients::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let known = clients.lock().ok().and_then(|clients| clients.get(&client).cloned());
        let speaker = match known {
            Some(speaker) => speaker,
            None => match introduce(&socket, target, client, &clients) {
                Ok(speaker) => speaker,
                Err(_) => continue,
            },
        };
        // A datagram may be lost.
        let _ = speaker.send(&buffer[..length]);
    }
}

fn introduce(
    socket: &Arc<UdpSocket>,
    target: SocketAddrV4,
    client: SocketAddr,
    clients: &Clients,
) -> io::Result<Arc<UdpSocket>> {
    let speaker = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    speaker.connect(target)?;
    speaker.set_read_timeout(Some(SILENCE))?;
    let speaker = Arc::new(speaker);
    let (socket, answers, all) = (Arc::clone(socket), Arc::clone(&speaker), Arc::clone(clients));
    spawn(move || {
        let mut buffer = vec![0; BUFFER];
        loop {
            match answers.recv(&mut buffer) {
                Ok(length) => drop(socket.send_to(&buffer[..length], client)),
                // Nobody listens in the container yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        if let Ok(mut clients) = all.lock() {
            clients.remove(&client);
        }
    })?;
    if let Ok(mut clients) = clients.lock() {
        clients.insert(client, Arc::clone(&speaker));
    }
    Ok(speaker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(address: io::Result<SocketAddr>) -> SocketAddrV4 {
        match address {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_connection_is_passed_on_both_ways_and_so_are_its_ends() {
        let container = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        let (target, published) = (v4(container.local_addr()), host.local_addr().unwrap());
        spawn(move || serve_tcp(host.into(), target)).unwrap();
        let mut client = TcpStream::connect(published).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut server, _) = container.accept().unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        let answer = "answer".repeat(BUFFER);
        server.write_all(answer.as_bytes()).unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), answer.len());
        // Nobody listens any more: the client is told.
        drop(container);
        let mut client = TcpStream::connect(published).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }

    #[test]
    fn each_client_gets_its_own_datagrams_back() {
        let container = UdpSocket::bind("127.0.0.1:0").unwrap();
        let host = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (target, published) = (v4(container.local_addr()), host.local_addr().unwrap());
        spawn(move || serve_udp(host, target)).unwrap();
        let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for (client, question) in clients.iter().zip(["one", "two"]) {
            client.send_to(question.as_bytes(), published).unwrap();
        }
        let mut buffer = [0; 64];
        for _ in &clients {
            let (length, from) = container.recv_from(&mut buffer).unwrap();
            container.send_to(&buffer[..length], from).unwrap();
        }
        for (client, question) in clients.iter().zip(["one", "two"]) {
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (question.as_bytes(), published));
        }
    }
}
