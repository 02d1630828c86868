//! Connections: how many there are, how long they may take, and how they end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
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
                Incoming::Unix(stream) => drop(exchange(stream, state, stopped).await),
                Incoming::Tls(stream, tls) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                        drop(exchange(stream, state, stopped).await);
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

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
    mut stopped: watch::Receiver<u32>,
) -> hyper::Result<()> {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let state = state.clone();
        async move { Ok::<Response, Infallible>(answer(request, state).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        result = serving.as_mut() => return result,
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

async fn answer(request: hyper::Request<hyper::body::Incoming>, state: Arc<State>) -> Response {
    let is_head = request.method() == hyper::Method::HEAD;
    let answered = match Request::new(request.map(Body::new), state) {
        Ok(request) => route::answer(request).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(Refusal::into_response);
    crate::reply::sign(&mut response);
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}
