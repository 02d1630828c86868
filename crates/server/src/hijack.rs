//! Connections that stop being HTTP and become a container's input and output.
//!
//! Clients that ask for an upgrade get `101 UPGRADED` and speak both ways from then on; one that closes its sending side closes the
//! container's input and goes on reading. Clients that do not ask get the output as an ordinary body.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::{Version, stream};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use engine::detach::{DetachKeys, Matcher};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use monitor::client::{AttachStream, Frame, encode_control, encode_stdin, next_frame};
use monitor::logs::Stream;
use monitor::protocol::Control;
use sys::event::{PollFlags, poll_one};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::connection::Line;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// How long a client that wants a connection to itself may take to read that it has it, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(1);
/// How often a client that sends nothing any more is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes moved at once.
pub const PIECE: usize = 32 << 10;

/// What finds the keys that a client detaches with in its input: there are none but at a terminal.
///
/// # Errors
/// Keys that are none.
pub fn detach_keys(keys: Option<&str>, is_terminal: bool) -> Result<Matcher, Refusal> {
    Ok(DetachKeys::from_flag(keys)?.matcher(is_terminal))
}

/// How a hijacked connection carries output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A terminal's, as it is.
    Raw,
    /// With a header before each piece.
    Multiplexed,
}

impl Framing {
    pub fn of(tty: bool) -> Self {
        if tty { Self::Raw } else { Self::Multiplexed }
    }

    /// The media type, which tells the two apart since 1.42.
    pub fn media_type(self, version: Version) -> &'static str {
        match self {
            Self::Multiplexed if version >= Version::minor(42) => stream::MULTIPLEXED,
            _ => stream::RAW,
        }
    }

    /// A piece of output as it is sent.
    pub fn encode(self, from: Stream, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Raw => bytes,
            Self::Multiplexed => {
                let output = match from {
                    Stream::Stdout => stream::Output::Stdout,
                    Stream::Stderr => stream::Output::Stderr,
                };
                let length = u32::try_from(bytes.len()).expect("a piece is small");
                let mut framed = Vec::with_capacity(bytes.len() + 8);
                framed.extend_from_slice(&stream::header(output, length));
                framed.extend_from_slice(&bytes);
                framed
            }
        }
    }
}

/// What is done with what a client sends.
pub struct Input {
    /// Whether it goes to the container.
    pub is_taken: bool,
    /// Whether the client may still read when it has ended: connections can be half closed, websockets cannot.
    pub ends_alone: bool,
    /// What finds the keys that the client detaches with.
    pub keys: Matcher,
}

/// A connection to a client, whatever it is made of.
pub type Client = Box<dyn Duplex>;

/// Comes when a client has gone altogether, and not when it has only ended its input.
pub type Gone = BoxFuture<'static, ()>;

/// What can be read from and written to.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The connection of a client that asks for another protocol on it.
pub fn wanted(request: &mut Request) -> Option<OnUpgrade> {
    request.upgrade.take().filter(|_| request.headers.contains_key(header::UPGRADE))
}

/// Gives `session` the connection, once the client knows that it speaks `protocol` from now on.
pub fn switch<F>(
    upgrade: OnUpgrade,
    protocol: &'static str,
    session: impl FnOnce(Client) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        if let Ok(connection) = upgrade.await {
            session(Box::new(TokioIo::new(connection))).await;
        }
    });
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// Gives `session` the connection, once the client knows that HTTP is over on it; or, when it did not ask for that, something that
/// carries the bodies of request and answer.
pub fn take<F>(
    request: &mut Request,
    media_type: &str,
    session: impl FnOnce(Client, Gone) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    // A client that goes away in the middle is none of our errors, in all of these tasks.
    match wanted(request) {
        Some(upgrade) => {
            let line = request.line.take();
            let response = switch(upgrade, "tcp", move |client| async move {
                let head = Some(head_is_read(line.clone()).boxed());
                drop(session(Box::new(Addressed { client, head }), Box::pin(hung_up(line))).await);
            });
            reply::with(response, header::CONTENT_TYPE, media_type)
        }
        None => {
            let (ours, theirs) = tokio::io::duplex(PIECE);
            let (output, mut input) = tokio::io::split(theirs);
            let mut body = std::mem::take(&mut request.body);
            tokio::spawn(async move {
                while let Some(Ok(frame)) = body.frame().await {
                    if let Ok(piece) = frame.into_data() {
                        input.write_all(&piece).await?;
                    }
                }
                input.shutdown().await
            });
            let (here, gone) = presence();
            tokio::spawn(async move {
                let _ = session(Box::new(ours), gone).await;
            });
            reply::typed(media_type, Body::from_stream(pieces(output, here)))
        }
    }
}

/// A client that is sent nothing until it has read the answer's head: what it sends is taken all the same.
///
/// docker-py reads the head through a buffer, and loses whatever else comes with it.
struct Addressed {
    client: Client,
    /// Comes when it has; taken then.
    head: Option<BoxFuture<'static, ()>>,
}

impl Addressed {
    /// What can be written to.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Pin<&mut Client>> {
        if let Some(head) = &mut self.head {
            ready!(head.as_mut().poll(cx));
            self.head = None;
        }
        Poll::Ready(Pin::new(&mut self.client))
    }
}

impl AsyncRead for Addressed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Addressed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_client(cx)).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_client(cx)).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_client(cx)).poll_shutdown(cx)
    }
}

/// Waits until the client has read the answer's head, or has had the time to.
async fn head_is_read(line: Option<Line>) {
    let Some(Line::Unix(socket)) = line else { return };
    let read = async {
        while sys::socket::unread(socket.as_fd()).is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, read).await;
}

/// Comes when the client has hung up on `line`; where there is none, that shows only when something is sent.
///
/// Half closed, a Unix socket can still be written to. TLS ends one side without closing the socket.
async fn hung_up(line: Option<Line>) {
    let (socket, end) = match line {
        Some(Line::Unix(socket)) => (socket, PollFlags::HUP),
        Some(Line::Tcp(socket)) => (socket, PollFlags::RDHUP),
        None => return std::future::pending().await,
    };
    while poll_one(socket.as_fd(), end, Some(Duration::ZERO)).is_ok_and(|has_ended| !has_ended) {
        tokio::time::sleep(LOOK).await;
    }
}

/// What a client's side of a session holds, and what comes when it holds that no longer.
pub fn presence() -> (oneshot::Sender<Infallible>, Gone) {
    let (here, gone) = oneshot::channel();
    (here, Box::pin(async move { drop(gone.await) }))
}

/// What is read, piece by piece, while `here` is held.
fn pieces(
    from: impl AsyncRead + Unpin,
    here: oneshot::Sender<Infallible>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold((from, here), |(mut from, here)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        match from.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), (from, here))),
            Err(error) => Some((Err(error), (from, here))),
        }
    })
}

/// The container's side of a session, in the asynchronous runtime.
pub struct Attached {
    socket: UnixStream,
    read: Vec<u8>,
}

impl Attached {
    /// # Errors
    /// The runtime cannot wait for the socket.
    pub fn new(stream: AttachStream) -> io::Result<Self> {
        let (socket, read): (StdUnixStream, _) = stream.into_socket();
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixStream::from_std(socket)?, read })
    }

    /// Moves bytes both ways until the container, or its output, has ended, or the client has left.
    ///
    /// # Errors
    /// The client went away.
    pub async fn bridge(
        self,
        (client, gone): (Client, Gone),
        framing: Framing,
        input: Input,
    ) -> io::Result<()> {
        let Self { mut socket, read } = self;
        let Input { mut is_taken, ends_alone, mut keys } = input;
        let (mut from_container, mut to_container) = socket.split();
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let output = async {
            let mut buffer = read;
            loop {
                let (frame, length) = next_frame(&buffer)?;
                buffer.drain(..length);
                match frame {
                    Some(Frame::Output(stream, bytes)) => {
                        to_client.write_all(&framing.encode(stream, bytes)).await?;
                        to_client.flush().await?;
                    }
                    Some(Frame::Exited(_)) => break,
                    None => {
                        if from_container.read_buf(&mut buffer).await? == 0 {
                            break;
                        }
                    }
                }
            }
            to_client.shutdown().await
        };
        let input = async {
            let mut piece = vec![0; PIECE];
            loop {
                let length = from_client.read(&mut piece).await?;
                if !is_taken && length > 0 {
                    continue;
                }
                let mut frames = Vec::new();
                let (bytes, has_detached) = keys.feed(&piece[..length]);
                match length {
                    0 => encode_control(&mut frames, &Control::CloseStdin),
                    _ => encode_stdin(&mut frames, &bytes),
                }
                // One that has ended takes no more; what it wrote last may still be on its way.
                is_taken = is_taken && to_container.write_all(&frames).await.is_ok();
                if length == 0 || has_detached {
                    return Ok::<bool, io::Error>(has_detached || !ends_alone);
                }
            }
        };
        let mut output = std::pin::pin!(output);
        let has_left = tokio::select! {
            biased;
            ended = &mut output => return ended,
            ended = input => ended?,
        };
        if has_left {
            return Ok(());
        }
        tokio::select! {
            ended = output => ended,
            () = gone => Ok(()),
        }
    }
}
