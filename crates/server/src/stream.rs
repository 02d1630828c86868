//! Answers that are made piece by piece, and bodies that are read so, by a thread of their own.

use std::io::{self, BufWriter, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Buf as _, Bytes};
use futures_util::{Stream, StreamExt as _};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::refusal::Refusal;
use crate::reply::{self, Response};

/// Pieces that wait for the client before their maker does.
const WAITING: usize = 16;
/// Bytes of an archive that are passed on at once.
const PIECE: usize = 64 << 10;
/// For threads that only pass on what others make.
const SMALL_STACK: usize = 512 << 10;
/// For threads that pull, push and build.
const STACK: usize = 8 << 20;

/// Where a thread puts its pieces.
pub struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    gone: PipeReader,
    stop: Arc<AtomicBool>,
    begun: AtomicBool,
}

/// The client takes nothing any more.
#[derive(Debug)]
pub struct Gone;

struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    stop: Arc<AtomicBool>,
    _alive: PipeWriter,
}

/// How a failure is told when an answer has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// By a line with `errorDetail`.
    Line,
    /// By the connection's end.
    Broken,
}

/// A body whose pieces `make` puts into the sink; it ends when `make` returns.
///
/// # Errors
/// No descriptor or no thread is to be had.
pub fn body(make: impl FnOnce(Sink) + Send + 'static) -> Result<Body, Refusal> {
    Ok(Body::from_stream(start(SMALL_STACK, make)?))
}

/// What `work` tells while it goes on, of some media type. A failure before its first piece is the whole answer.
///
/// # Errors
/// That of `work`; no descriptor or no thread is to be had.
pub async fn report(
    media_type: &str,
    late: Late,
    work: impl FnOnce(&Arc<Sink>) -> Result<(), Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let (sender, early) = oneshot::channel();
    let mut pieces = start(STACK, move |sink| {
        let sink = Arc::new(sink);
        let Err(refusal) = work(&sink) else { return };
        // Nobody listens when the client has gone.
        let _ = match late {
            _ if !sink.begun.load(Ordering::Acquire) => sender.send(refusal).map_err(|_| Gone),
            Late::Line => sink.line(&failure(&refusal.message, None)),
            Late::Broken => {
                sink.pieces.blocking_send(Err(io::Error::other(refusal.message))).map_err(|_| Gone)
            }
        };
    })?;
    let first = pieces.pieces.recv().await;
    if first.is_none()
        && let Ok(refusal) = early.await
    {
        return Err(refusal);
    }
    let whole = futures_util::stream::iter(first).chain(pieces);
    Ok(reply::typed(media_type, Body::from_stream(whole)))
}

/// Passes on what `write` writes, in pieces of some size. When it fails before the first one is full, nothing is sent, so that the answer
/// can still be the failure.
///
/// # Errors
/// That of `write`.
pub fn pieces<E: Into<Refusal>>(
    sink: &Sink,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), Refusal> {
    let mut output = BufWriter::with_capacity(PIECE, sink);
    match write(&mut output) {
        // A client that has gone is none of our errors.
        Ok(()) => drop(output.flush()),
        Err(error) => {
            drop(output.into_parts());
            return Err(error.into());
        }
    }
    Ok(())
}

/// A failure as a line of a stream, with the exit status of a step where one failed.
pub fn failure(message: &str, code: Option<i32>) -> Value {
    let mut detail = json!({ "message": message });
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    json!({"errorDetail": detail, "error": message})
}

fn start(stack: usize, make: impl FnOnce(Sink) + Send + 'static) -> Result<Pieces, Refusal> {
    let exhausted = |error: io::Error| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("the server is out of resources: {error}"))
    };
    let (gone, alive) = io::pipe().map_err(exhausted)?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let stop = Arc::new(AtomicBool::new(false));
    let sink = Sink { pieces: sender, gone, stop: stop.clone(), begun: AtomicBool::new(false) };
    let thread = std::thread::Builder::new().name("api stream".to_owned()).stack_size(stack);
    thread.spawn(move || make(sink)).map_err(exhausted)?;
    Ok(Pieces { pieces, stop, _alive: alive })
}

impl Sink {
    /// Passes on a piece, waiting for room.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.begun.store(true, Ordering::Release);
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| Gone)
    }

    /// Passes on a document on a line of its own.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn line(&self, document: &Value) -> Result<(), Gone> {
        self.send(format!("{document}\r\n"))
    }

    /// Readable when the client has gone.
    pub fn gone(&self) -> BorrowedFd<'_> {
        self.gone.as_fd()
    }

    /// Set when the client has gone.
    pub fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }
}

impl Write for &Sink {
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
        self.pieces.poll_recv(cx)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// A request's body, for a thread that may wait for it.
pub struct Upload {
    body: Body,
    runtime: Handle,
    piece: Bytes,
}

impl Upload {
    /// Takes `body`; called within the asynchronous runtime.
    pub fn new(body: Body) -> Self {
        Self { body, runtime: Handle::current(), piece: Bytes::new() }
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.body.frame()) {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
