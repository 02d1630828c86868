//! Uploading what is made while it is sent: its digest is known when the last byte is.
//!
//! As Docker does it: one request that opens the upload, one with all the bytes, one that says what they were.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oci::{Digest, Hasher, Reference};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::request::{Request, expect, failed, no_body, same_host};
use super::upload::upload_scope;
use super::{Client, Endpoint};
use crate::RegistryError;

const PIECE: usize = 256 << 10;
const PIECES: usize = 4;
const ATTEMPTS: u32 = 3;
/// A registry that takes nothing for so long, although there is something to take, is dead.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How long a registry that has everything may think about it.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// What became of a blob that was to be streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// The registry took it from another of its repositories.
    Mounted,
    Uploaded {
        digest: Digest,
        size: u64,
    },
}

impl Client {
    /// Gives the repository of `reference` the blob that `open` makes, whose digest nobody knows yet.
    ///
    /// `mount` is a blob that does as well, and where the registry has it. `open` is called for each attempt and gives the bytes
    /// from the beginning.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Source`] when `open` or what it gives fails.
    pub fn push_stream(
        &self,
        reference: &Reference,
        mount: Option<(&Digest, &Reference)>,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<Streamed, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        let scope = upload_scope(reference, mount.map(|(_, from)| from));
        let mut attempt = 1;
        loop {
            let Some(location) = self.begin_upload(&endpoint, reference, &scope, mount)? else {
                return Ok(Streamed::Mounted);
            };
            let source = open().map_err(RegistryError::Source)?;
            match self.stream(&endpoint, location, &scope, source) {
                Err(RegistryError::Connect { .. } | RegistryError::Transfer { .. }) if attempt < ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(200 << attempt));
                    attempt += 1;
                }
                other => {
                    return other.map(|(digest, size)| Streamed::Uploaded { digest, size });
                }
            }
        }
    }

    /// Sends everything and says what it was.
    fn stream(
        &self,
        endpoint: &Endpoint,
        location: Url,
        scope: &str,
        mut source: Box<dyn Read + Send>,
    ) -> Result<(Digest, u64), RegistryError> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (accepted, (digest, size)) = std::thread::scope(|threads| {
            let feeder = threads.spawn(move || feed(&mut *source, &sender));
            let accepted = self.block_on(self.send_all(endpoint, &location, scope, receiver));
            let fed = feeder.join().expect("a panic ends the process").map_err(RegistryError::Source)?;
            Ok::<_, RegistryError>((accepted?, fed))
        })?;
        let mut url = accepted;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        self.block_on(async {
            let request =
                Request { method: Method::PUT, url, headers: HeaderMap::new(), body: &no_body, scope };
            let response = self.send(endpoint, &request).await?;
            expect(&endpoint.domain, response, &[StatusCode::CREATED]).await
        })?;
        Ok((digest, size))
    }

    /// Sends the pieces that arrive in `pieces`; returns where the upload goes on.
    ///
    /// Not by [`Client::send`]: the bytes cannot be sent twice, and the time limit there is one for answers.
    async fn send_all(
        &self,
        endpoint: &Endpoint,
        location: &Url,
        scope: &str,
        mut pieces: mpsc::Receiver<io::Result<bytes::Bytes>>,
    ) -> Result<Url, RegistryError> {
        let progress = Arc::new(Progress::default());
        let seen = progress.clone();
        let body = Body::wrap_stream(futures_util::stream::poll_fn(move |cx| {
            let piece = pieces.poll_recv(cx);
            seen.note(&piece);
            piece
        }));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if same_host(location, &endpoint.base)
            && let Some(token) = endpoint.access.granted(scope)
        {
            headers.insert(AUTHORIZATION, token);
        }
        let sent = endpoint.uploads.patch(location.clone()).headers(headers).body(body).send();
        let response = tokio::select! {
            response = sent => response.map_err(|source| failed(endpoint, location, source))?,
            () = progress.stalled() => {
                return Err(RegistryError::Stalled { host: endpoint.domain.clone(), url: location.to_string() });
            }
        };
        let expected = [StatusCode::ACCEPTED, StatusCode::CREATED, StatusCode::NO_CONTENT];
        let response = expect(&endpoint.domain, response, &expected).await?;
        Ok(next_location(&response).unwrap_or_else(|| location.clone()))
    }
}

/// Where the next request of an upload goes.
pub(super) fn next_location(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
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
    fn note<T>(&self, piece: &std::task::Poll<Option<T>>) {
        self.hungry.store(piece.is_pending(), Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let std::task::Poll::Ready(None) = piece {
            self.complete.store(true, Ordering::Relaxed);
        }
    }

    /// Ends when the other side has done nothing for too long.
    async fn stalled(&self) {
        let mut before = self.taken.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(STALL_LIMIT).await;
            let now = self.taken.load(Ordering::Relaxed);
            if self.complete.load(Ordering::Relaxed) {
                return tokio::time::sleep(ANSWER_LIMIT).await;
            }
            if now == before && !self.hungry.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }
}

/// Passes `source` on piece by piece until it ends or nobody listens; returns what it was.
fn feed(source: &mut dyn Read, sender: &mpsc::Sender<io::Result<bytes::Bytes>>) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (Hasher::new(), 0);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if let Err(error) = source.take(PIECE as u64).read_to_end(&mut piece) {
            // Breaks the request off; the reason is reported by whoever waits for this thread.
            let _ = sender.blocking_send(Err(io::ErrorKind::Interrupted.into()));
            return Err(error);
        }
        if piece.is_empty() {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&piece);
        size += piece.len() as u64;
        if sender.blocking_send(Ok(piece.into())).is_err() {
            return Ok((hasher.finish(), size));
        }
    }
}
