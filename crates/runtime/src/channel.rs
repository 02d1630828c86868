//! What the caller and the child tell each other over a socket that closes when the child executes its program.
//!
//! ```text
//! child -> caller   BORN    in its namespaces; only where the caller has a share in the set-up, before anything else
//! caller -> child   GOODS   with mounts, any number of times
//!                   GO_ON   that was all, with the child's pid as the caller sees it
//! child -> caller   READY   with the controlling side of the terminal, if there is one
//! caller -> child   GO      execute
//! child -> caller   LISTENER  only where calls will wait for an agent: who it is, and a pidfd to copy the listener from
//! caller -> child   GO_ON   the agent has it
//! child -> caller   a fault, then the end of the stream
//!                   the end of the stream alone: the program runs
//! ```

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::error::{LaunchError, Step};
use crate::listener::Listener;

pub const GO: u8 = b'G';
const GOODS: u8 = b'M';
pub const GO_ON: u8 = b'O';
const READY: u8 = 200;
const BORN: u8 = 210;
const LISTENER: u8 = 211;

/// Why the child gave up, in a form that fits through the channel.
#[derive(Debug)]
pub enum Fault {
    Setup {
        step: Step,
        object: String,
        errno: i32,
    },
    NotFound(String),
    NotExecutable(String),
    NoSuchUser(String),
    NoSuchGroup(String),
    /// A hook failed; the text is all of its error.
    Hook(String),
    /// The other side is gone; there is nobody to tell.
    Abandoned,
}

impl Fault {
    pub fn new(step: Step, object: impl Into<String>, error: &io::Error) -> Self {
        Self::Setup { step, object: object.into(), errno: error.raw_os_error().unwrap_or(EIO) }
    }

    /// One byte that says what it is (below `READY`: the step), the errno, the text.
    fn encode(self) -> Vec<u8> {
        let (code, errno, text) = match self {
            Self::Setup { step, object, errno } => (step.number(), errno, object),
            Self::NotFound(text) => (READY + 1, 0, text),
            Self::NotExecutable(text) => (READY + 2, 0, text),
            Self::NoSuchUser(name) => (READY + 3, 0, name),
            Self::NoSuchGroup(name) => (READY + 4, 0, name),
            Self::Hook(text) => (READY + 5, 0, text),
            Self::Abandoned => (READY + 6, 0, String::new()),
        };
        [&[code][..], &errno.to_le_bytes(), text.as_bytes()].concat()
    }

    fn decode(message: &[u8]) -> Option<LaunchError> {
        let (&code, rest) = message.split_first()?;
        let (errno, text) = rest.split_first_chunk::<4>()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(match code {
            201 => LaunchError::NotFound { text },
            202 => LaunchError::NotExecutable { text },
            203 => LaunchError::NoSuchUser { name: text },
            204 => LaunchError::NoSuchGroup { name: text },
            205 => LaunchError::Hook { text },
            206 => LaunchError::Abandoned,
            code => LaunchError::Setup {
                step: Step::from_number(code)?,
                object: text,
                source: io::Error::from_raw_os_error(i32::from_le_bytes(*errno)),
            },
        })
    }
}

const EIO: i32 = 5;

impl From<Fault> for LaunchError {
    /// For what went wrong on the caller's side.
    fn from(fault: Fault) -> Self {
        Fault::decode(&fault.encode()).expect("a fault survives the way")
    }
}

/// Adds the step and its object to an I/O error.
pub trait At<T> {
    fn at(self, step: Step, object: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step, object: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(step, object(), &error))
    }
}

/// A connected pair: the caller's end and the child's.
pub fn pair() -> io::Result<(Caller, Child)> {
    let (caller, child) = UnixStream::pair()?;
    Ok((Caller(caller), Child(child)))
}

/// The caller's end.
#[derive(Debug)]
pub struct Caller(UnixStream);

/// What the child answered.
#[derive(Debug)]
pub enum Answer {
    Ready {
        terminal: Option<OwnedFd>,
    },
    Failed(LaunchError),
    /// The stream ended: the program runs, or the child was killed.
    Ended,
    /// Its seccomp listener will be descriptor `number` of the process behind `pidfd`.
    Listening {
        listener: Listener,
        number: RawFd,
        pidfd: OwnedFd,
    },
    /// It exists and waits for the caller's share.
    Born,
}

impl Caller {
    /// Gives the child, `pid` to the caller, what was prepared for it, and lets it go on.
    pub fn hand_over(&self, pid: i32, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        for some in fds.chunks(sys::socket::MAX_FDS) {
            sys::socket::send_with_fds(self.0.as_fd(), &[GOODS], some)?;
        }
        self.tell(GO_ON)?;
        (&self.0).write_all(&pid.to_le_bytes())
    }

    pub fn tell(&self, word: u8) -> io::Result<()> {
        (&self.0).write_all(&[word])
    }

    /// Lets the program be executed, and what its filter has to ask reach its agent.
    pub fn start(&self) -> io::Result<Answer> {
        // A child that has given up already cannot be told; why it did is heard next.
        let _ = self.tell(GO);
        match self.hear()? {
            Answer::Listening { listener, number, pidfd } => {
                if let Err(fault) = listener.pass_on(pidfd.as_fd(), number) {
                    return Ok(Answer::Failed(fault.into()));
                }
                let _ = self.tell(GO_ON);
                self.hear()
            }
            other => Ok(other),
        }
    }

    pub fn hear(&self) -> io::Result<Answer> {
        let mut buffer = [0; 512];
        let mut message = Vec::new();
        loop {
            let (length, fds) = match sys::socket::recv_with_fds(self.0.as_fd(), &mut buffer) {
                // A child that ends before it has read all we told it: the end of the stream under another name.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (0, Vec::new()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            message.extend_from_slice(&buffer[..length]);
            match (length, message.first()) {
                (0, None) => return Ok(Answer::Ended),
                (0, Some(_)) => break,
                (_, Some(&READY)) => return Ok(Answer::Ready { terminal: fds.into_iter().next() }),
                (_, Some(&BORN)) => return Ok(Answer::Born),
                (_, Some(&LISTENER)) => {
                    let pidfd = fds.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
                    return self.hear_of_listener(pidfd);
                }
                _ => {}
            }
        }
        Fault::decode(&message).map(Answer::Failed).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The rest of a message that starts with `LISTENER`.
    fn hear_of_listener(&self, pidfd: OwnedFd) -> io::Result<Answer> {
        let mut words = [[0; 4]; 2];
        for word in &mut words {
            (&self.0).read_exact(word)?;
        }
        let [number, length] = words.map(u32::from_le_bytes);
        let mut text = vec![0; length as usize];
        (&self.0).read_exact(&mut text)?;
        Ok(Answer::Listening { listener: serde_json::from_slice(&text)?, number: number as RawFd, pidfd })
    }
}

/// The child's end.
#[derive(Debug)]
pub struct Child(UnixStream);

impl From<UnixStream> for Child {
    fn from(stream: UnixStream) -> Self {
        Self(stream)
    }
}

impl From<UnixStream> for Caller {
    fn from(stream: UnixStream) -> Self {
        Self(stream)
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Child {
    /// Waits for `word`.
    pub fn expect(&self, word: u8) -> Result<(), Fault> {
        let mut got = [0];
        match (&self.0).read_exact(&mut got) {
            Ok(()) if got[0] == word => Ok(()),
            _ => Err(Fault::Abandoned),
        }
    }

    /// Waits for the caller's share of the set-up: this process's pid, and descriptors in the order in which the plan wants them.
    pub fn receive_goods(&self) -> Result<(i32, Vec<OwnedFd>), Fault> {
        (&self.0).write_all(&[BORN]).map_err(|_| Fault::Abandoned)?;
        let mut goods = Vec::new();
        loop {
            let mut word = [0];
            match sys::socket::recv_with_fds(self.0.as_fd(), &mut word) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok((1, fds)) if word[0] == GOODS => goods.extend(fds),
                Ok((1, _)) if word[0] == GO_ON => {
                    let mut pid = [0; 4];
                    (&self.0).read_exact(&mut pid).map_err(|_| Fault::Abandoned)?;
                    return Ok((i32::from_le_bytes(pid), goods));
                }
                _ => return Err(Fault::Abandoned),
            }
        }
    }

    pub fn ready(&self, terminal: Option<OwnedFd>) -> Result<(), Fault> {
        let fds: Vec<_> = terminal.iter().map(|fd| fd.as_fd()).collect();
        sys::socket::send_with_fds(self.0.as_fd(), &[READY], &fds).map(drop).map_err(|_| Fault::Abandoned)
    }

    /// Announces that `listener`'s agent will find it as descriptor `number` of this process.
    pub fn announce(&self, listener: &Listener, number: RawFd, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        let text = serde_json::to_vec(listener)?;
        // Apart from the rest, so that the first byte comes with the descriptor and nothing else.
        sys::socket::send_with_fds(self.0.as_fd(), &[LISTENER], &[pidfd])?;
        let words = [number as u32, text.len() as u32].map(u32::to_le_bytes);
        (&self.0).write_all(&[words.as_flattened(), &text].concat())
    }

    pub fn report(&self, fault: Fault) {
        // Nobody left to tell when this fails.
        let _ = (&self.0).write_all(&fault.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_survive_the_way() {
        let check = |fault: Fault, expected: &str| {
            let error = Fault::decode(&fault.encode()).expect("a known fault");
            assert_eq!(error.to_string(), expected);
        };
        let errno = io::Error::from_raw_os_error(2);
        check(Fault::new(Step::Mount, "/x", &errno), "cannot mount /x");
        check(Fault::new(Step::Channel, "c", &errno), "cannot talk to c");
        check(Fault::NotFound("exec: \"a\"".to_owned()), "exec: \"a\"");
        check(Fault::NoSuchUser("u".to_owned()), "unable to find user u: no matching entries in passwd file");
    }
}
