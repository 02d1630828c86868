//! Requests and their answers.
//!
//! A request whose whole answer is read takes its turn on one connection that is kept; what streams, in either direction, has a
//! connection of its own.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::Version;
use bytes::{Buf as _, Bytes};
use form_urlencoded::Serializer;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connect::connect;
use crate::endpoint::Endpoint;
use crate::error::RemoteError;

/// The oldest version spoken here, that of Docker 20.10.
pub(crate) const OLDEST: Version = Version::minor(41);
/// How long an engine may think about whether it is there.
const PING_LIMIT: Duration = Duration::from_secs(60);
/// Pieces of a body on their way, and how long each of them is.
const PIECES: usize = 4;
const PIECE: usize = 64 << 10;
/// How long an ssh whose connection is over may take to end.
const SSH_LIMIT: Duration = Duration::from_secs(1);
/// What a segment of a path does not contain as it is.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One engine.
pub struct Client {
    endpoint: Endpoint,
    version: Version,
    /// The connection that is kept.
    idle: Mutex<Option<SendRequest<Body>>>,
    ssh: Mutex<Vec<Child>>,
    runtime: Option<Runtime>,
}

/// A request that is put together.
#[must_use]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Serializer<'static, String>,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An answer that is read as it comes.
pub struct Answer<'a> {
    client: &'a Client,
    body: Incoming,
    piece: Bytes,
    /// The connection lasts as long as it.
    _sender: SendRequest<Body>,
}

/// An answer that is waited for beside other things: its descriptor can be read when it is there.
pub struct Awaited<'a> {
    client: &'a Client,
    over: PipeReader,
    bytes: Receiver<Result<Bytes, hyper::Error>>,
}

/// A connection that is HTTP no more.
#[derive(Debug)]
pub struct Hijacked {
    pub socket: UnixStream,
    /// What was read of it already.
    pub read: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Connects to an engine, and agrees with it on a version.
    ///
    /// # Errors
    /// [`RemoteError`]: nobody is there, or no engine, or one that is too old.
    pub fn connect(endpoint: Endpoint) -> Result<Self, RemoteError> {
        let setup = |source| RemoteError::Setup { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("remote")
            .enable_io()
            .enable_time()
            .on_thread_start(|| {
                // They are for the threads that wait for them.
                let _ = sys::signal::block_all();
            })
            .build()
            .map_err(setup)?;
        let idle = Mutex::default();
        let mut client =
            Self { endpoint, version: OLDEST, idle, ssh: Mutex::default(), runtime: Some(runtime) };
        let version = client.ping()?;
        client.version = version.min(Version::MAX);
        match client.version < OLDEST {
            true => Err(RemoteError::TooOld { address: client.address(), version }),
            false => Ok(client),
        }
    }

    /// The newest version the engine serves.
    fn ping(&self) -> Result<Version, RemoteError> {
        let limit = match self.endpoint {
            // Whoever has to type a password is given the time for it.
            Endpoint::Ssh(_) => Duration::MAX,
            _ => PING_LIMIT,
        };
        let call = self.get(&["_ping"]);
        let answered =
            self.runtime().block_on(async { timeout(limit, call.exchange("", full(Vec::new()))).await });
        let late = |_| {
            let source = io::Error::from(io::ErrorKind::TimedOut);
            RemoteError::Connect { address: self.address(), source }
        };
        let (answer, sender) = answered.map_err(late)??;
        let version = answer.headers().get("api-version").and_then(|value| value.to_str().ok()?.parse().ok());
        let version =
            version.ok_or_else(|| RemoteError::NoEngine { address: self.address(), source: None })?;
        self.read_all(answer, sender)?;
        Ok(version)
    }

    /// The version that is spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where the engine is.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Refuses `what`, if the engine is too old for it.
    ///
    /// # Errors
    /// [`RemoteError::Missing`].
    pub fn needs(&self, needed: Version, what: &'static str) -> Result<(), RemoteError> {
        let (address, version) = (self.address(), self.version);
        if version < needed { Err(RemoteError::Missing { what, needed, address, version }) } else { Ok(()) }
    }

    pub fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub fn put(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    pub fn head(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::HEAD, path)
    }

    pub fn delete(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        let path = path.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, SEGMENT))).collect();
        let (query, headers) = (Serializer::new(String::new()), HeaderMap::new());
        Call { client: self, method, path, query, headers, body: Vec::new() }
    }

    /// The inspection of a container.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn container(&self, name: &str) -> Result<Value, RemoteError> {
        self.get(&["containers", name, "json"]).json()
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken when the client is dropped")
    }

    /// Somebody to send a request to: the connection that is kept, while it lasts, or a new one.
    async fn sender(&self) -> Result<SendRequest<Body>, RemoteError> {
        let kept = lock(&self.idle).take();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let failed = |source| RemoteError::Connect { address: self.address(), source };
        let (stream, child) = connect(&self.endpoint).await.map_err(failed)?;
        lock(&self.ssh).extend(child);
        stream.set_nonblocking(true).map_err(failed)?;
        let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| self.lost(error))?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// What an error on a connection means.
    fn lost(&self, error: hyper::Error) -> RemoteError {
        let address = self.address();
        if let Some(child) = lock(&self.ssh).last_mut()
            && let Some(status) = ended(child)
            && !status.success()
        {
            return RemoteError::Ssh { address, status };
        }
        if error.is_parse() {
            return RemoteError::NoEngine { address, source: Some(Box::new(error)) };
        }
        RemoteError::Lost { address, source: Box::new(error) }
    }

    /// Reads an answer to its end, and keeps its connection.
    fn read_all(&self, answer: Response<Incoming>, sender: SendRequest<Body>) -> Result<Bytes, RemoteError> {
        let body = self.runtime().block_on(answer.into_body().collect());
        let bytes = body.map_err(|error| self.lost(error))?.to_bytes();
        *lock(&self.idle) = Some(sender);
        Ok(bytes)
    }

    fn document(&self, bytes: &[u8]) -> Result<Value, RemoteError> {
        let unread =
            |source| RemoteError::NoEngine { address: self.address(), source: Some(Box::new(source)) };
        if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(bytes).map_err(unread) }
    }
}

/// How an ssh ended whose connection is over; one that lives on is no reason to wait for it.
fn ended(child: &mut Child) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < SSH_LIMIT => std::thread::sleep(Duration::from_millis(5)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        *lock(&self.idle) = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
        for child in lock(&self.ssh).iter_mut() {
            if ended(child).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl<'a> Call<'a> {
    /// Adds a parameter.
    pub fn query(mut self, key: &str, value: impl ToString) -> Self {
        self.query.append_pair(key, &value.to_string());
        self
    }

    /// Adds a parameter that is given.
    pub fn maybe(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Adds a parameter that is true.
    pub fn flag(self, key: &str, is_on: bool) -> Self {
        self.maybe(key, is_on.then_some(1))
    }

    /// Adds a header of ASCII.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Sends a document.
    pub fn body(mut self, document: &impl Serialize) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = serde_json::to_vec(document).expect("documents have strings for keys");
        self
    }

    /// The whole answer; null for none.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn json(self) -> Result<Value, RemoteError> {
        let client = self.client;
        let (answer, sender) = self.answered()?;
        let bytes = client.read_all(answer, sender)?;
        client.document(&bytes)
    }

    /// Waits for an answer that need not be read.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn done(self) -> Result<(), RemoteError> {
        self.headers().map(drop)
    }

    /// The headers of an answer, whatever its body is.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn headers(self) -> Result<HeaderMap, RemoteError> {
        let client = self.client;
        let (mut answer, sender) = self.answered()?;
        let headers = std::mem::take(answer.headers_mut());
        client.read_all(answer, sender)?;
        Ok(headers)
    }

    /// The answer, to be read as it comes.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn stream(self) -> Result<Answer<'a>, RemoteError> {
        let client = self.client;
        let (answer, sender) = self.answered()?;
        Ok(Answer { client, body: answer.into_body(), piece: Bytes::new(), _sender: sender })
    }

    /// Sends what `input` reads as the body, and returns the answer as [`Call::stream`] does.
    ///
    /// # Errors
    /// [`RemoteError`]; an input that cannot be read is the reason of one.
    pub fn upload(mut self, input: impl Read + Send + 'static) -> Result<Answer<'a>, RemoteError> {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        let (pieces, mut taken) = mpsc::channel(PIECES);
        // It ends when nobody takes its pieces, or with whatever it waits for.
        std::thread::spawn(move || feed(input, &pieces));
        let body = futures_util::stream::poll_fn(move |cx| taken.poll_recv(cx));
        let client = self.client;
        let sent = self.send(Body::new(StreamBody::new(body)));
        let (answer, sender) = client.runtime().block_on(sent)?;
        let accepted = client.accepted(answer, sender);
        if accepted.is_err() {
            // Its connection may be busy with the rest of the body.
            *lock(&client.idle) = None;
        }
        let (answer, sender) = accepted?;
        Ok(Answer { client, body: answer.into_body(), piece: Bytes::new(), _sender: sender })
    }

    /// Turns the connection over to a container's input and output.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn hijack(mut self) -> Result<Hijacked, RemoteError> {
        self.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        self.headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        let client = self.client;
        let (answer, _sender) = self.answered()?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(RemoteError::NoEngine { address: client.address(), source: None });
        }
        let lost =
            |source: io::Error| RemoteError::Lost { address: client.address(), source: Box::new(source) };
        let upgraded =
            client.runtime().block_on(hyper::upgrade::on(answer)).map_err(|error| client.lost(error))?;
        let parts = upgraded.downcast::<TokioIo<tokio::net::UnixStream>>().expect("it is what was connected");
        let _entered = client.runtime().enter();
        let socket = parts.io.into_inner().into_std().map_err(lost)?;
        socket.set_nonblocking(false).map_err(lost)?;
        Ok(Hijacked { socket, read: parts.read_buf.to_vec() })
    }

    /// An answer that is no refusal.
    fn answered(mut self) -> Result<(Response<Incoming>, SendRequest<Body>), RemoteError> {
        let client = self.client;
        let body = std::mem::take(&mut self.body);
        let sent = self.send(full(body));
        let (answer, sender) = client.runtime().block_on(sent)?;
        client.accepted(answer, sender)
    }

    async fn send(self, body: Body) -> Result<(Response<Incoming>, SendRequest<Body>), RemoteError> {
        let prefix = format!("/v{}", self.client.version);
        self.exchange(&prefix, body).await
    }

    async fn exchange(
        mut self,
        prefix: &str,
        body: Body,
    ) -> Result<(Response<Incoming>, SendRequest<Body>), RemoteError> {
        let client = self.client;
        let query = self.query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = hyper::Request::builder()
            .method(self.method)
            .uri(format!("{prefix}{}{mark}{query}", self.path))
            .header(HOST, "docker")
            .body(body)
            .expect("its parts are encoded");
        request.headers_mut().extend(self.headers);
        let mut sender = client.sender().await?;
        let answer = sender.send_request(request).await.map_err(|error| client.lost(error))?;
        Ok((answer, sender))
    }
}

impl Client {
    /// The answer, unless it is a refusal.
    fn accepted(
        &self,
        answer: Response<Incoming>,
        sender: SendRequest<Body>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>), RemoteError> {
        let status = answer.status();
        if status.as_u16() < 400 {
            return Ok((answer, sender));
        }
        let body = self.read_all(answer, sender)?;
        let told = serde_json::from_slice::<Value>(&body).ok();
        let told = told.as_ref().and_then(|document| document["message"].as_str());
        let message = match told {
            Some(message) => message.trim_end().to_owned(),
            None if body.is_empty() => status.to_string(),
            None => String::from_utf8_lossy(&body).trim_end().to_owned(),
        };
        Err(RemoteError::Refused { status: status.as_u16(), message })
    }
}

fn full(bytes: Vec<u8>) -> Body {
    Body::new(Full::from(bytes).map_err(|never| match never {}))
}

/// Hands on what `input` reads, its error included.
fn feed(mut input: impl Read, pieces: &mpsc::Sender<io::Result<Frame<Bytes>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = match input.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                piece.truncate(read);
                Ok(Frame::data(piece.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_over = read.is_err();
        if pieces.blocking_send(read).is_err() || is_over {
            return;
        }
    }
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.client.runtime().block_on(self.body.frame()) {
                None => return Ok(0),
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(io::Error::other(self.client.lost(error))),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl<'a> Answer<'a> {
    /// The same answer, to be waited for.
    ///
    /// # Errors
    /// [`RemoteError::Setup`] when there is no descriptor to be had.
    pub fn awaited(self) -> Result<Awaited<'a>, RemoteError> {
        let (over, alive) = io::pipe().map_err(|source| RemoteError::Setup { source })?;
        let (sender, bytes) = std::sync::mpsc::channel();
        let Self { client, body, _sender: connection, .. } = self;
        client.runtime().spawn(async move {
            let collected = body.collect().await;
            let _ = sender.send(collected.map(|body| body.to_bytes()));
            drop((connection, alive));
        });
        Ok(Awaited { client, over, bytes })
    }

    /// Takes each document the answer consists of, as it comes.
    ///
    /// # Errors
    /// [`RemoteError::Lost`]; what `take` says.
    pub fn each<E: From<RemoteError>>(self, mut take: impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
        let address = self.client.address();
        for document in serde_json::Deserializer::from_reader(io::BufReader::new(self)).into_iter() {
            let lost = |source| RemoteError::Lost { address: address.clone(), source: Box::new(source) };
            take(document.map_err(lost)?)?;
        }
        Ok(())
    }
}

impl Awaited<'_> {
    /// The whole answer, once it is there.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn document(self) -> Result<Value, RemoteError> {
        let answer = self.bytes.recv().expect("it is sent before the runtime ends");
        self.client.document(&answer.map_err(|error| self.client.lost(error))?)
    }
}

impl AsFd for Awaited<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }
}
