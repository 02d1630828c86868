//! Connections: how many there are, how long they may take, and how they end.

mod unwanted;

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::listen::{Accept, Incoming};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::{Log, State, route};

/// Who comes when there are so many waits for one to go.
const MOST_CONNECTIONS: usize = 4096;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// For the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(60);

/// A client's socket, for what the kernel can say of it.
#[derive(Clone)]
pub enum Line {
    Unix(Arc<OwnedFd>),
    /// That of a TLS connection.
    Tcp(Arc<OwnedFd>),
}

/// Serves connections until `stopped` changes, and returns when the last of them has got its answer.
pub async fn serve(accept: Accept, state: Arc<State>, log: Log, mut stopped: watch::Receiver<u32>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = accept.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let client = match accepted {
            Ok(client) => client,
            Err(e) => {
                // Out of descriptors, most likely: some will be given back.
                log(&format!("cannot accept a connection: {e}"));
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (state, stopped) = (state.clone(), stopped.clone());
        tokio::spawn(async move {
            // A client that goes away in the middle, or has no business here, is none of our errors.
            match client {
                Incoming::Unix(stream) => {
                    let line = stream.as_fd().try_clone_to_owned().ok();
                    let line = line.map(|socket| Line::Unix(Arc::new(socket)));
                    drop(exchange(stream, line, state, stopped).await);
                }
                Incoming::Tls(stream, tls) => {
                    let line = stream.as_fd().try_clone_to_owned().ok();
                    let line = line.map(|socket| Line::Tcp(Arc::new(socket)));
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                        drop(exchange(stream, line, state, stopped).await);
                    }
                }
            }
            drop(permit);
        });
    }
    drop(accept);
    let all = u32::try_from(MOST_CONNECTIONS).expect("it is small");
    let _ = room.acquire_many(all).await;
}

/// Answers the requests of one connection; `line` is its socket once more, where it has one.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    line: Option<Line>,
    state: Arc<State>,
    mut stopped: watch::Receiver<u32>,
) -> hyper::Result<()> {
    let Ok(Ok((is_http2, stream))) = timeout(HEAD_LIMIT, version(stream)).await else { return Ok(()) };
    if is_http2 {
        return exchange_http2(stream, state, stopped).await;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        if let Some(line) = &line {
            request.extensions_mut().insert(line.clone());
        }
        answer(request, state.clone())
    });
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        result = serving.as_mut() => return result,
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// Answers requests that come over HTTP/2, which BuildKit's services need.
pub async fn exchange_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
    mut stopped: watch::Receiver<u32>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(request, state.clone()));
    let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => return result,
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// Whether a client speaks HTTP/2 from its first byte on; and its connection as if nothing had been read of it.
async fn version<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<(bool, impl AsyncRead + AsyncWrite + Unpin)> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut start = Vec::new();
    while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
        let missing = (PREFACE.len() - start.len()) as u64;
        if (&mut stream).take(missing).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    let is_http2 = start == PREFACE;
    let (input, output) = tokio::io::split(stream);
    Ok((is_http2, tokio::io::join(io::Cursor::new(start).chain(input), output)))
}

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    state: Arc<State>,
) -> Result<Response, Infallible> {
    let is_head = request.method() == hyper::Method::HEAD;
    // Whoever waits to be told to send it is told the answer instead.
    let waits = request.headers().contains_key(header::EXPECT);
    let request =
        request.map(|body| if waits { Body::new(body) } else { Body::new(unwanted::Taken::of(body)) });
    let answered = match Request::new(request, state) {
        Ok(request) => route::answer(request).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(Refusal::into_response);
    crate::reply::sign(&mut response);
    if is_head {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}
