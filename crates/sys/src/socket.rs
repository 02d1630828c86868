//! Unix sockets beyond std: names relative to a directory descriptor, peer credentials, descriptors in messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Who is at the other end of a Unix stream, as the kernel recorded it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// Listens on `name` in `directory`.
///
/// A socket address holds 107 bytes, less than a path may have; going through the descriptor keeps any directory usable.
pub fn listen_in(directory: BorrowedFd<'_>, name: &str) -> io::Result<UnixListener> {
    UnixListener::bind(path_in(directory, name))
}

/// Connects to the socket `name` in `directory`; see [`listen_in`].
pub fn connect_in(directory: BorrowedFd<'_>, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(path_in(directory, name))
}

fn path_in(directory: BorrowedFd<'_>, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())
}

/// The credentials of the peer of a connected Unix stream.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let cred = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Credentials { pid: cred.pid.as_raw_nonzero().get(), uid: cred.uid.as_raw(), gid: cred.gid.as_raw() })
}

/// Most descriptors one message of ours carries.
pub const MAX_FDS: usize = 8;

/// Sends `bytes` with `fds` attached; at least one byte must go along. Returns how many bytes were taken.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Receives bytes and whatever descriptors came with them (close-on-exec).
pub fn recv_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}

/// How much of what was sent the peer has not read: 0 when it has read all, or is gone. Bytes, and what the kernel needs to keep them.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (unix(7)) writes one int, which is ours and outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Sends what the socket takes now, without a signal when the peer is gone; 0 when it takes nothing.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(sent) => Ok(sent),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Sends what the socket takes now of `queue`, and takes it out. What nobody reads any more is dropped: that the peer is gone shows where it
/// is read from.
pub fn send_queued(socket: BorrowedFd<'_>, queue: &mut Vec<u8>) -> io::Result<()> {
    while !queue.is_empty() {
        match send_now(socket, queue) {
            Ok(0) => break,
            Ok(sent) => drop(queue.drain(..sent)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                queue.clear();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for bytes and copies them out without taking them off the stream; 0 at its end.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::PEEK) {
            Ok((copied, _)) => return Ok(copied),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the writing side of a stream, so that the peer reads end of file while answers still come back.
pub fn finish_writing(stream: &UnixStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(stream.as_fd(), rustix::net::Shutdown::Write)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_travels() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        assert_eq!(send_with_fds(left.as_fd(), b"x", &[writer.as_fd()]).unwrap(), 1);
        drop(writer);
        let mut buffer = [0; 8];
        let (n, fds) = recv_with_fds(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((n, fds.len()), (1, 1));
        let mut file = std::fs::File::from(fds.into_iter().next().unwrap());
        file.write_all(b"hello").unwrap();
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn names_in_deep_directories_work() {
        let base = std::env::temp_dir().join(format!("hull-socket-{}", std::process::id()));
        let deep = base.join("x".repeat(100)).join("y".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let dir = std::fs::File::open(&deep).unwrap();
        let listener = listen_in(dir.as_fd(), "s").unwrap();
        let client = connect_in(dir.as_fd(), "s").unwrap();
        let (server, _) = listener.accept().unwrap();
        let peer = peer_credentials(server.as_fd()).unwrap();
        assert_eq!(u32::try_from(peer.pid).unwrap(), std::process::id());
        drop(client);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
