//! The stream of a container's input and output.
//!
//! For a poll loop: read one's own stdin only while [`AttachWriter::pending`] is zero, poll the socket for writing while it is
//! not, and call [`AttachWriter::flush`] then. Anything simpler can deadlock: a container that is not reading its input
//! because nobody reads its output. With two threads the halves block on their own: [`AttachWriter::flush_all`].

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::Ended;
use crate::frame;
use crate::logs::Stream;
use crate::protocol::Control;

/// What came from the container.
#[derive(Debug)]
pub enum Frame {
    Output(Stream, Vec<u8>),
    /// It has ended. The stream ends, too, as soon as everything of the run is cleaned up; whoever acts on the end (removes the
    /// container, starts it again, exits) waits for that.
    Exited(Ended),
}

/// Both halves of an attached stream.
#[derive(Debug)]
pub struct AttachStream {
    pub reader: AttachReader,
    pub writer: AttachWriter,
    tty: bool,
}

/// The half that receives.
#[derive(Debug)]
pub struct AttachReader {
    socket: UnixStream,
    buffer: Vec<u8>,
    parsed: usize,
}

/// The half that sends.
#[derive(Debug)]
pub struct AttachWriter {
    socket: UnixStream,
    queue: Vec<u8>,
}

impl AttachStream {
    pub(super) fn new(socket: UnixStream, tty: bool) -> Self {
        let other = socket.try_clone().expect("a process attaching has a descriptor to spare");
        Self {
            reader: AttachReader { socket, buffer: Vec::new(), parsed: 0 },
            writer: AttachWriter { socket: other, queue: Vec::new() },
            tty,
        }
    }

    /// Whether the container has a terminal: its output is then one raw stream.
    pub fn is_tty(&self) -> bool {
        self.tty
    }

    /// The socket, for whoever waits for it in another way, and what was already read from it.
    ///
    /// What comes is split by [`next_frame`]; input is sent by [`encode_stdin`] and [`encode_control`].
    pub fn into_socket(self) -> (UnixStream, Vec<u8>) {
        (self.reader.socket, self.reader.buffer)
    }

    /// The halves, for two threads.
    pub fn split(self) -> (AttachReader, AttachWriter) {
        (self.reader, self.writer)
    }
}

/// The first frame in `bytes`, when all of it is there, and how many bytes it and what it is preceded by took.
pub fn next_frame(bytes: &[u8]) -> io::Result<(Option<Frame>, usize)> {
    let mut parsed = 0;
    while let Some((kind, range)) = frame::decode(&bytes[parsed..])? {
        let payload = &bytes[parsed..][range.clone()];
        parsed += range.end;
        let frame = match kind {
            frame::STDOUT => Frame::Output(Stream::Stdout, payload.to_vec()),
            frame::STDERR => Frame::Output(Stream::Stderr, payload.to_vec()),
            frame::CONTROL => match serde_json::from_slice(payload)? {
                Control::Exited(ended) => Frame::Exited(ended),
                _ => continue,
            },
            _ => continue,
        };
        return Ok((Some(frame), parsed));
    }
    Ok((None, parsed))
}

/// Appends input for the container to `out`, as a client sends it.
pub fn encode_stdin(out: &mut Vec<u8>, bytes: &[u8]) {
    for piece in bytes.chunks(32 * 1024) {
        frame::encode(out, frame::STDIN, piece);
    }
}

/// Appends a message to the monitor to `out`.
pub fn encode_control(out: &mut Vec<u8>, control: &Control) {
    let json = serde_json::to_vec(control).expect("controls have only strings for keys");
    frame::encode(out, frame::CONTROL, &json);
}

impl AttachReader {
    /// Waits for the next frame; `None` when the stream has ended.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    /// Takes a frame out of what [`AttachReader::receive`] read.
    pub fn buffered(&mut self) -> io::Result<Option<Frame>> {
        let (frame, length) = next_frame(&self.buffer[self.parsed..])?;
        self.parsed += length;
        if frame.is_none() {
            self.buffer.drain(..self.parsed);
            self.parsed = 0;
        }
        Ok(frame)
    }

    /// Reads once from the socket, waiting if nothing is there; false at the end of the stream.
    pub fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 32 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            // The monitor was killed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of the stream, whatever comes before it.
    pub fn wait_end(&mut self) -> io::Result<()> {
        while self.receive()? {
            self.buffer.clear();
            self.parsed = 0;
        }
        Ok(())
    }
}

impl AttachWriter {
    /// Sends input for the container's stdin, as far as it goes now.
    pub fn stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        encode_stdin(&mut self.queue, bytes);
        self.flush()
    }

    /// Says that there is no more input.
    pub fn close_stdin(&mut self) -> io::Result<()> {
        self.control(&Control::CloseStdin)
    }

    /// Says that the client's terminal has this size now.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        self.control(&Control::Resize { rows, columns })
    }

    /// Says that this client saw the end and removes the container; see [`super::AttachOptions::will_remove`].
    ///
    /// Waits until it is said, because input may be queued before it. The monitor reads on for that. Not to be said of an end
    /// that is followed by a restart.
    pub fn reaping(&mut self) -> io::Result<()> {
        self.control(&Control::Reaping)?;
        self.flush_all()
    }

    fn control(&mut self, control: &Control) -> io::Result<()> {
        encode_control(&mut self.queue, control);
        self.flush()
    }

    /// How many bytes wait for the socket to take more.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Sends what the socket takes without waiting.
    pub fn flush(&mut self) -> io::Result<()> {
        // The process may have ended, or its monitor been killed. The reader tells which.
        sys::socket::send_queued(self.socket.as_fd(), &mut self.queue)
    }

    /// Sends everything, waiting as long as it takes.
    pub fn flush_all(&mut self) -> io::Result<()> {
        use sys::event::{PollFlags, poll_one};
        while self.pending() > 0 {
            poll_one(self.socket.as_fd(), PollFlags::OUT, None)?;
            self.flush()?;
        }
        Ok(())
    }
}

impl AsFd for AttachStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl AsFd for AttachReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for AttachWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn input_for_what_has_ended_is_lost_and_its_output_is_not() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut said = Vec::new();
        frame::encode(&mut said, frame::STDOUT, b"last words");
        encode_control(&mut said, &Control::Exited(Ended::default()));
        theirs.write_all(&said).unwrap();
        drop(theirs);
        let AttachStream { mut reader, mut writer, .. } = AttachStream::new(ours, false);
        writer.stdin(b"too late").unwrap();
        writer.close_stdin().unwrap();
        writer.reaping().unwrap();
        assert_eq!(writer.pending(), 0);
        assert!(
            matches!(reader.next_frame().unwrap(), Some(Frame::Output(_, bytes)) if bytes == b"last words")
        );
        assert!(matches!(reader.next_frame().unwrap(), Some(Frame::Exited(_))));
        assert!(reader.next_frame().unwrap().is_none());
    }
}
