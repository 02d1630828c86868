//! Netlink sockets: several messages in one system call, answers matched by sequence number, the kernel's own words in errors.
//!
//! [`route`] speaks rtnetlink, [`crate::nftables`] nf_tables; both encode through [`Batch`].

pub mod conntrack;
pub mod message;
pub mod route;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

pub use message::{Attributes, Batch, Writer};

/// Which part of the kernel a socket speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Route,
    Netfilter,
}

/// What the kernel refused, or that it could not be asked.
#[derive(Debug)]
pub enum Error {
    /// The socket failed.
    Io(io::Error),
    /// A message was refused.
    Refused {
        /// Which message of the batch, counted from 0.
        index: usize,
        errno: Errno,
        /// The kernel's extended acknowledgement, where it gave one.
        message: Option<String>,
        /// What the message was about, where the encoder knows.
        about: Option<String>,
    },
}

impl Error {
    /// The kernel's error number, when there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io(error) => Errno::from_io_error(error),
            Self::Refused { errno, .. } => Some(*errno),
        }
    }

    /// Which message of the batch was refused.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Io(_) => None,
            Self::Refused { index, .. } => Some(*index),
        }
    }

    /// Whether the kernel said `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Refused { errno, message, about, .. } => {
                if let Some(about) = about {
                    write!(f, "{about}: ")?;
                }
                if let Some(message) = message {
                    write!(f, "{message}: ")?;
                }
                io::Error::from(*errno).fmt(f)
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Refused { errno, message: None, about: None, .. } => errno.into(),
            refused => {
                let kind =
                    refused.errno().map_or(io::ErrorKind::Other, |errno| io::Error::from(errno).kind());
                io::Error::new(kind, refused)
            }
        }
    }
}

/// The largest answer read at once: acknowledgements and single objects, or a part of a dump, which the kernel cuts to size.
const ANSWER_BYTES: usize = 8 * 1024;
const DUMP_BYTES: usize = 32 * 1024;

/// A blocking netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// Whether answers to an exchange that was given up may be waiting.
    used: Cell<bool>,
}

impl Socket {
    /// Opens a socket that reports errors in words and without echoing the request.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let protocol = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        // Old kernels lack these options; errors are then only numbers, and longer.
        let _ = set_option(fd.as_fd(), libc::NETLINK_EXT_ACK, 1);
        let _ = set_option(fd.as_fd(), libc::NETLINK_CAP_ACK, 1);
        Ok(Self { fd, used: Cell::new(false) })
    }

    /// Lets dumps be filtered by the kernel, as `NETLINK_GET_STRICT_CHK` says; older kernels send everything.
    pub fn strict(&self) {
        let _ = set_option(self.fd.as_fd(), libc::NETLINK_GET_STRICT_CHK, 1);
    }

    /// Sends the whole batch and waits until its last message is answered; the first refusal is the one returned.
    ///
    /// The kernel handles messages of a route batch one by one and goes on after a refusal; an nf_tables batch is one transaction.
    pub fn transact(&self, batch: &Batch) -> Result<(), Error> {
        self.exchange(batch, |_, _| Ok(()))
    }

    /// Like [`Socket::transact`]; calls `each` with type and payload of every message that answers.
    pub fn exchange(
        &self,
        batch: &Batch,
        mut each: impl FnMut(u16, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut buffer = vec![0; if batch.is_dump() { DUMP_BYTES } else { ANSWER_BYTES }];
        if self.used.replace(true) {
            while rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
        }
        rustix::net::send(&self.fd, batch.bytes(), SendFlags::empty())?;
        let mut first: Option<Error> = None;
        loop {
            let (_, size) = match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                // The kernel could not queue every answer, so some refusals are unknown.
                Err(errno) => return Err(first.unwrap_or_else(|| errno.into())),
                Ok(size) => size,
            };
            if size > buffer.len() {
                return Err(Error::Io(io::Error::other("netlink answer longer than its buffer")));
            }
            for answer in message::answers(&buffer[..size]) {
                let Some(index) = batch.index_of(answer.sequence) else { continue };
                match answer.kind {
                    message::ERROR => {
                        if let Some(error) = refusal(index, answer.flags, answer.payload, batch)
                            && first.as_ref().and_then(Error::index).is_none_or(|earlier| index < earlier)
                        {
                            first = Some(error);
                        }
                        // An nf_tables batch that fails as a whole answers only its opening message.
                        if index >= batch.last() || (batch.is_transaction() && index == 0) {
                            return first.map_or(Ok(()), Err);
                        }
                    }
                    message::DONE => return first.map_or(Ok(()), Err),
                    kind => each(kind, answer.payload)?,
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What an `NLMSG_ERROR` says; `None` when it is an acknowledgement.
fn refusal(index: usize, flags: u16, payload: &[u8], batch: &Batch) -> Option<Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    // With NETLINK_CAP_ACK the request's header alone is repeated, then come the attributes.
    let capped = flags & libc::NLM_F_CAPPED as u16 != 0;
    let original = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?) as usize;
    let skip = 4 + if capped { message::HEADER } else { message::align(original) };
    let message = (flags & libc::NLM_F_ACK_TLVS as u16 != 0)
        .then(|| Attributes::new(payload.get(skip..)?).find_map(|(kind, value)| (kind == 1).then_some(value)))
        .flatten()
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    let errno = Errno::from_raw_os_error(-code);
    Some(Error::Refused { index, errno, message, about: batch.about(index) })
}

fn set_option(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is one c_int, which `value` is and outlives the call; the borrow keeps `fd` open.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
