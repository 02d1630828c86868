//! Answers that are made piece by piece, by a thread of their own.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::refusal::Refusal;

/// Pieces that wait for the client before their maker does.
const WAITING: usize = 16;

/// Where a thread puts its pieces.
pub struct Sink {
    pieces: mpsc::Sender<Bytes>,
    gone: PipeReader,
}

/// The client takes nothing any more.
#[derive(Debug)]
pub struct Gone;

struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    _alive: PipeWriter,
}

/// A body whose pieces `make` puts into the sink; it ends when `make` returns.
///
/// # Errors
/// No descriptor or no thread is to be had.
pub fn body(make: impl FnOnce(Sink) + Send + 'static) -> Result<Body, Refusal> {
    let exhausted = |error: io::Error| {
        Refusal::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            format!("the server is out of resources: {error}"),
        )
    };
    let (gone, alive) = io::pipe().map_err(exhausted)?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let thread = std::thread::Builder::new().name("api stream".to_owned()).stack_size(512 << 10);
    thread.spawn(move || make(Sink { pieces: sender, gone })).map_err(exhausted)?;
    Ok(Body::from_stream(Pieces { pieces, _alive: alive }))
}

impl Sink {
    /// Passes on a piece, waiting for room.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.pieces.blocking_send(piece.into()).map_err(|_| Gone)
    }

    /// Passes on a document on a line of its own.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn line(&self, document: &serde_json::Value) -> Result<(), Gone> {
        self.send(format!("{document}\r\n"))
    }

    /// Readable when the client has gone.
    pub fn gone(&self) -> BorrowedFd<'_> {
        self.gone.as_fd()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Bytes::copy_from_slice(bytes)).map_err(|Gone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}
