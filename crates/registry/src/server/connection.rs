//! Connections: how many there are, how long they may take, and how they end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use super::Registry;
use super::content::Content;
use super::reply::Response;

/// Who comes when there are so many waits for one to go.
const MOST_CONNECTIONS: usize = 512;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// For the head of a request, and between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is taken for dead.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// What one connection may buffer of what arrives.
const BUFFER: usize = 256 << 10;

/// Serves connections until `stopped` changes, and returns when the last of them has got its answer.
pub async fn serve<C: Content>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    registry: Arc<Registry<C>>,
    mut stopped: watch::Receiver<u32>,
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, most likely: some will be given back.
                registry.report(&format!("cannot accept a connection: {e}"));
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, registry, stopped) = (tls.clone(), registry.clone(), stopped.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // A client that goes away in the middle is none of our errors.
            let _ = connection(stream, peer, tls, registry, stopped).await;
        });
    }
    drop(listener);
    let all = u32::try_from(MOST_CONNECTIONS).expect("it is small");
    let _ = room.acquire_many(all).await;
}

async fn connection<C: Content>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    registry: Arc<Registry<C>>,
    stopped: watch::Receiver<u32>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = Patient { stream, stalled: None };
    match tls {
        None => exchange(stream, peer.ip(), registry, stopped).await,
        Some(tls) => {
            let stream = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await??;
            exchange(stream, peer.ip(), registry, stopped).await
        }
    }
}

async fn exchange<C: Content>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    registry: Arc<Registry<C>>,
    mut stopped: watch::Receiver<u32>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let registry = registry.clone();
        async move {
            // In a task of its own: what has begun is brought to an end although the client goes away meanwhile.
            let answered = tokio::spawn(registry.answer(request.map(Body::new), peer)).await;
            Ok::<Response, Infallible>(answered.expect("a panic ends the process"))
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(BUFFER);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        result = serving.as_mut() => return Ok(result?),
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    Ok(serving.await?)
}

/// A stream that fails when its peer takes nothing for too long.
struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_LIMIT)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
