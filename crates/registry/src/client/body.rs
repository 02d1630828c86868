//! Bodies of requests that are read while they are sent.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, Url};
use tokio::sync::{mpsc, watch};

use super::Client;
use super::endpoint::Endpoint;
use super::request::{failed, ours, shown};
use crate::RegistryError;

const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
/// How long a registry that has everything may think about it, in silence limits.
const THINKING: u32 = 10;

/// Where a body goes.
pub struct Target<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub headers: HeaderMap,
    pub scope: &'a str,
}

impl Client {
    /// Sends all that `feed` hands over, once.
    ///
    /// Not by [`Client::send`]: the bytes cannot be sent twice, and the time limit there is one for answers. `length` is announced
    /// when it is known.
    pub(super) fn send_body<T: Send>(
        &self,
        endpoint: &Endpoint,
        target: Target<'_>,
        length: Option<u64>,
        feed: impl FnOnce(&Feeder<'_>) -> T + Send,
    ) -> (Result<Response, RegistryError>, T) {
        let (pieces, taken) = mpsc::channel(PIECES);
        let (over, is_over) = watch::channel(false);
        let feeder = Feeder { client: self, pieces, is_over };
        std::thread::scope(|threads| {
            let thread = threads.spawn(move || feed(&feeder));
            let answer = self.block_on(self.send_pieces(endpoint, target, length, taken));
            // A connection that stalls goes on holding its end of the channel.
            let _ = over.send(true);
            (answer, thread.join().expect("a panic ends the process"))
        })
    }

    async fn send_pieces(
        &self,
        endpoint: &Endpoint,
        target: Target<'_>,
        length: Option<u64>,
        mut pieces: mpsc::Receiver<io::Result<bytes::Bytes>>,
    ) -> Result<Response, RegistryError> {
        let Target { method, url, mut headers, scope } = target;
        let progress = Arc::new(Progress::default());
        let seen = progress.clone();
        let body = Body::wrap_stream(futures_util::stream::poll_fn(move |cx| {
            let piece = pieces.poll_recv(cx);
            seen.note(&piece);
            piece
        }));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        headers.extend(ours(endpoint, url, endpoint.access.granted(scope).as_ref()));
        let sent = endpoint.uploads.request(method, url.clone()).headers(headers).body(body).send();
        tokio::select! {
            response = sent => response.map_err(|source| failed(endpoint, url, source)),
            () = progress.stalled(self.inner.options.silence_limit) => {
                Err(RegistryError::Stalled { host: endpoint.domain.clone(), url: shown(url) })
            }
        }
    }
}

/// The end of a body where its bytes go in.
pub struct Feeder<'a> {
    client: &'a Client,
    pieces: mpsc::Sender<io::Result<bytes::Bytes>>,
    is_over: watch::Receiver<bool>,
}

impl Feeder<'_> {
    /// Passes `source` on until it ends or nobody listens; `see` is shown every piece.
    pub fn feed(&self, source: &mut dyn Read, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if let Err(error) = source.take(PIECE as u64).read_to_end(&mut piece) {
                // Breaks the request off; the reason is reported by whoever waits for this.
                self.pass_on(Err(io::ErrorKind::Interrupted.into()));
                return Err(error);
            }
            if piece.is_empty() {
                return Ok(());
            }
            see(&piece);
            if !self.pass_on(Ok(piece.into())) {
                return Ok(());
            }
        }
    }

    /// Waits until there is room for `piece`; returns whether anybody wants more.
    fn pass_on(&self, piece: io::Result<bytes::Bytes>) -> bool {
        let mut is_over = self.is_over.clone();
        let passed = self.client.block_on(async {
            tokio::select! {
                sent = self.pieces.send(piece) => Ok(sent.is_ok()),
                _ = is_over.wait_for(|over| *over) => Ok(false),
            }
        });
        passed.unwrap_or(false)
    }
}

/// How far the sending is, told by the side that sends.
#[derive(Default)]
struct Progress {
    taken: AtomicU64,
    /// The registry waits for the one who makes the bytes.
    hungry: AtomicBool,
    complete: AtomicBool,
}

impl Progress {
    fn note<T>(&self, piece: &Poll<Option<T>>) {
        self.hungry.store(piece.is_pending(), Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Poll::Ready(None) = piece {
            self.complete.store(true, Ordering::Relaxed);
        }
    }

    /// Ends when the other side has done nothing for too long.
    async fn stalled(&self, limit: Duration) {
        let mut before = self.taken.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(limit).await;
            let now = self.taken.load(Ordering::Relaxed);
            if self.complete.load(Ordering::Relaxed) {
                return tokio::time::sleep(limit * THINKING).await;
            }
            if now == before && !self.hungry.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }
}
