//! Published ports of an ordinary user: hull's networks are then in a namespace apart, and the host's ports are not there.
//!
//! The keeper of that namespace lives on the host's side. Asked through its socket, it binds a port there and sends the
//! descriptor; whoever holds that has the port, as where the port is bound directly, and [`crate::forward`] serves it.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::plan::Protocol;

/// The variable that names the directory of the keeper, in all its processes.
pub const HOME: &str = "HULL_HOME";
/// The keeper's socket in that directory.
pub const SOCKET: &str = "ports.sock";

/// The length of an answer: an errno, and the first port that users may bind, which is another in each network namespace.
const ANSWER: usize = 6;
/// No request is longer.
const LONGEST: usize = 64;
/// Ports from here on are everybody's.
const FREE_FROM: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// The keeper waits no longer for a request.
const PATIENCE: Duration = Duration::from_secs(2);

/// The directory of the keeper, for a process that lives apart from the host's network.
pub(crate) fn keeper() -> Option<PathBuf> {
    sys::user::is_in_subordinate_namespace().then(|| std::env::var_os(HOME))?.map(PathBuf::from)
}

/// Why a port is not to be had.
#[derive(Debug)]
pub(crate) struct Refused {
    pub source: io::Error,
    /// The first port that users may bind where this one was asked for.
    pub free_from: u16,
}

impl<E: Into<io::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { source: error.into(), free_from: free_from() }
    }
}

fn free_from() -> u16 {
    let text = std::fs::read_to_string(FREE_FROM).unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

/// Listens on an address of the host's, wherever this process lives.
///
/// # Errors
/// Why the address cannot be had; without root, IPv6 is unsupported.
pub fn listen_on_host(address: SocketAddr) -> io::Result<TcpListener> {
    match (keeper(), address) {
        (None, address) => TcpListener::bind(address),
        (Some(keeper), SocketAddr::V4(v4)) => ask(&keeper, *v4.ip(), v4.port(), Protocol::Tcp)
            .map(TcpListener::from)
            .map_err(|refused| refused.source),
        (Some(_), SocketAddr::V6(_)) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Has the keeper in `directory` bind a port of the host.
pub(crate) fn ask(
    directory: &std::path::Path,
    ip: Ipv4Addr,
    port: u16,
    protocol: Protocol,
) -> Result<OwnedFd, Refused> {
    let directory = sys::fs::open_dir(directory)?;
    let stream = sys::socket::connect_in(directory.as_fd(), SOCKET)?;
    sys::socket::send_with_fds(stream.as_fd(), format!("{protocol} {ip}:{port}").as_bytes(), &[])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = [0; ANSWER];
    let (length, fds) = sys::socket::recv_with_fds(stream.as_fd(), &mut answer)?;
    let [a, b, c, d, e, f] = answer;
    match (length, fds.into_iter().next()) {
        (ANSWER, Some(socket)) => Ok(socket),
        (ANSWER, None) => Err(Refused {
            source: io::Error::from_raw_os_error(i32::from_le_bytes([a, b, c, d])),
            free_from: u16::from_le_bytes([e, f]),
        }),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// Answers one request, as the keeper; who sends nonsense gets no answer.
pub fn answer(stream: &UnixStream) {
    let own = sys::user::effective_uid();
    if !sys::socket::peer_credentials(stream.as_fd()).is_ok_and(|peer| peer.uid == own) {
        return;
    }
    let Some((protocol, address)) = read(stream) else { return };
    let (errno, socket) = match listen(address, protocol) {
        Ok(socket) => (0, Some(socket)),
        Err(errno) => (Errno::raw_os_error(errno), None),
    };
    let fds: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
    let answer = [&errno.to_le_bytes()[..], &free_from().to_le_bytes()].concat();
    let _ = sys::socket::send_with_fds(stream.as_fd(), &answer, &fds);
}

/// Binds a socket that [`crate::forward`] serves.
fn listen(address: SocketAddrV4, protocol: Protocol) -> rustix::io::Result<OwnedFd> {
    const BACKLOG: i32 = 4096;
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        // Connections that ended just now must not keep the port from its next owner. It does not let two have it, as both listen.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn read(mut stream: &UnixStream) -> Option<(Protocol, SocketAddrV4)> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut text = String::new();
    stream.by_ref().take(LONGEST as u64).read_to_string(&mut text).ok()?;
    parse(&text)
}

/// `tcp 0.0.0.0:8080`.
pub(crate) fn parse(text: &str) -> Option<(Protocol, SocketAddrV4)> {
    let (protocol, address) = text.split_once(' ')?;
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.to_string() == protocol)?;
    Some((protocol, address.parse().ok()?))
}
