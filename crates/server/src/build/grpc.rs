//! gRPC over HTTP/2: messages with their lengths before them, and a status at the end. Both sides of it.
//!
//! Spec: gRPC, "PROTOCOL-HTTP2".

use std::convert::Infallible;

use api::buildkit::{Status, code};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use prost::Message;
use tokio::sync::mpsc;

use crate::hijack::Client as Connection;
use crate::refusal::with_sources;
use crate::reply::{self, Response};

const MEDIA_TYPE: &str = "application/grpc";
/// Longest message taken; Go's own limit is lower.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Messages that wait to be sent before their maker does.
const WAITING: usize = 16;
/// What `grpc-message` has in other words: anything but printable ASCII, and the percent sign.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// A failure without details.
pub fn failure(code: i32, message: impl Into<String>) -> Status {
    Status { code, message: message.into(), details: Vec::new() }
}

fn lost(error: &(dyn std::error::Error + 'static)) -> Status {
    failure(code::UNAVAILABLE, format!("the connection was lost: {}", with_sources(error)))
}

/// Messages as they arrive.
pub struct Messages {
    body: Body,
    buffer: BytesMut,
    /// Whether the other side says at the end how the call went.
    has_status: bool,
}

impl Messages {
    /// Those of a request.
    pub fn of_request(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), has_status: false }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// The status the call ended with, a lost connection, something that is no message.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.has_status = false;
                            status(&trailers)?;
                        }
                    }
                },
                Some(Err(error)) => return Err(lost(&error)),
                None if self.has_status || !self.buffer.is_empty() => {
                    return Err(failure(code::UNAVAILABLE, "the call ended in the middle"));
                }
                None => return Ok(None),
            }
        }
    }

    /// The only one.
    ///
    /// # Errors
    /// As [`Messages::next`]; also when there is none.
    pub async fn single<M: Message + Default>(&mut self) -> Result<M, Status> {
        let none = || failure(code::INTERNAL, "a message is missing");
        let message = self.next().await?.ok_or_else(none)?;
        while self.next::<M>().await?.is_some() {}
        Ok(message)
    }

    fn take<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let Some((head, _)) = self.buffer.split_first_chunk::<5>() else { return Ok(None) };
        let [compressed, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 {
            return Err(failure(code::UNIMPLEMENTED, "compressed messages are not supported"));
        }
        if length > MESSAGE_LIMIT {
            let text =
                format!("a message of {length} bytes is longer than the {MESSAGE_LIMIT} that are taken");
            return Err(failure(code::RESOURCE_EXHAUSTED, text));
        }
        if self.buffer.len() < 5 + length {
            return Ok(None);
        }
        self.buffer.advance(5);
        let message = self.buffer.split_to(length);
        let malformed = |error| failure(code::INTERNAL, format!("malformed message: {error}"));
        M::decode(message).map(Some).map_err(malformed)
    }
}

fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("messages are far shorter"));
    message.encode(&mut bytes).expect("there is room");
    bytes.freeze()
}

/// The status that trailers, or the head of an answer without a body, tell.
fn status(headers: &HeaderMap) -> Result<(), Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        code => {
            let message = percent_decode_str(text("grpc-message")).decode_utf8_lossy().into_owned();
            Err(failure(code.parse().unwrap_or(code::UNKNOWN), message))
        }
    }
}

fn trailers(status: Option<Status>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let status = status.unwrap_or_default();
    trailers.insert("grpc-status", HeaderValue::from(status.code));
    if status.code != code::OK {
        let mut insert = |name, text: String| {
            trailers.insert(name, HeaderValue::try_from(text).expect("it is ASCII"));
        };
        insert("grpc-message", percent_encode(status.message.as_bytes(), MESSAGE).to_string());
        insert("grpc-status-details-bin", STANDARD.encode(status.encode_to_vec()));
    }
    trailers
}

/// An answer of messages that are made one by one; the first failure is the last.
pub fn messages<M: Message>(messages: impl Stream<Item = Result<M, Status>> + Send + 'static) -> Response {
    let messages = messages.map(|message| message.map(|message| encode(&message)));
    let frames = stream::unfold(Some(Box::pin(messages)), |messages| async {
        let mut messages = messages?;
        Some(match messages.next().await {
            Some(Ok(message)) => (Frame::data(message), Some(messages)),
            Some(Err(status)) => (Frame::trailers(trailers(Some(status))), None),
            None => (Frame::trailers(trailers(None)), None),
        })
    });
    reply::typed(MEDIA_TYPE, Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>))))
}

/// An answer of one message, or a failure.
pub fn answer<M: Message + 'static>(result: Result<M, Status>) -> Response {
    messages(stream::iter([result]))
}

/// A connection to somebody who serves gRPC.
#[derive(Clone)]
pub struct Channel(http2::SendRequest<Body>);

/// A call under way: both sides may send.
pub struct Call {
    out: Outgoing,
    answers: Incoming,
}

/// Where this side's messages go; dropped, nothing more is sent.
pub struct Outgoing(Option<mpsc::Sender<Bytes>>);

/// Where the other side's messages come from.
pub struct Incoming {
    answer: Option<tokio::task::JoinHandle<Result<Messages, Status>>>,
    messages: Option<Messages>,
}

impl Channel {
    /// Begins to speak HTTP/2 on `connection`. The future that comes with it moves its bytes, and ends when it is closed.
    ///
    /// # Errors
    /// The other side is gone.
    pub async fn new(connection: Connection) -> hyper::Result<(Self, impl Future<Output = ()>)> {
        let (channel, moving) =
            http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(connection)).await?;
        Ok((Self(channel), async { drop(moving.await) }))
    }

    /// Calls `path` with one message, and gets one.
    ///
    /// # Errors
    /// The status it ended with.
    pub async fn unary<A: Message + Default>(&self, path: &str, message: &impl Message) -> Result<A, Status> {
        let mut call = self.call(path, HeaderMap::new());
        // Whoever refuses need not have listened: what he answers says why, or the connection's end does.
        let _ = call.out.send(message).await;
        call.finish();
        let answer = call.next().await?;
        answer.ok_or_else(|| failure(code::INTERNAL, format!("{path} answered nothing")))
    }

    /// Calls `path`.
    pub fn call(&self, path: &str, headers: HeaderMap) -> Call {
        let (out, messages) = mpsc::channel::<Bytes>(WAITING);
        let frames = stream::unfold(messages, |mut messages| async {
            messages.recv().await.map(|message| (Ok::<_, Infallible>(Frame::data(message)), messages))
        });
        let mut request = axum::http::Request::new(Body::new(StreamBody::new(frames)));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        *request.uri_mut() = format!("http://session{path}").parse().expect("it is one of ours");
        let mut channel = self.0.clone();
        // The head of the answer may come as late as its end.
        let answer = tokio::spawn(async move {
            let answer = channel.send_request(request).await.map_err(|error| lost(&error))?;
            let (head, body) = answer.into_parts();
            let has_status = !head.headers.contains_key("grpc-status");
            if !has_status {
                status(&head.headers)?;
            }
            Ok(Messages { body: Body::new(body), buffer: BytesMut::new(), has_status })
        });
        Call { out: Outgoing(Some(out)), answers: Incoming { answer: Some(answer), messages: None } }
    }
}

impl Call {
    /// Both sides apart, for two who wait at the same time.
    pub fn split(self) -> (Outgoing, Incoming) {
        (self.out, self.answers)
    }

    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// The status the call has ended with.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        let Err(ended) = self.out.send(message).await else { return Ok(()) };
        self.answers.messages().await?;
        Err(ended)
    }

    /// Says that nothing more is sent.
    pub fn finish(&mut self) {
        self.out.0 = None;
    }

    /// The next message of the other side.
    ///
    /// # Errors
    /// As [`Messages::next`].
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        self.answers.next().await
    }
}

impl Outgoing {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// The call has ended.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        let sent = match &self.0 {
            Some(out) => out.send(encode(message)).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(failure(code::UNAVAILABLE, "the call has ended")) }
    }
}

impl Incoming {
    /// The next message.
    ///
    /// # Errors
    /// As [`Messages::next`].
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        self.messages().await?.next().await
    }

    async fn messages(&mut self) -> Result<&mut Messages, Status> {
        if let Some(answer) = &mut self.answer {
            let messages = answer.await.expect("a panic ends the process");
            self.answer = None;
            self.messages = Some(messages?);
        }
        self.messages.as_mut().ok_or_else(|| failure(code::UNAVAILABLE, "the call has ended"))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}
