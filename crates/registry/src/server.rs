//! The server: the distribution protocol over anything that is [`Content`].
//!
//! One asynchronous runtime waits on the sockets; whatever touches the disk happens on its blocking threads. Memory is bounded
//! by the number of connections: bodies go through in pieces both ways, and manifests have a limit.
//!
//! Spec: OCI distribution-spec 1.1, and what Docker's registry adds to it (`_catalog`, its headers). Start reading at
//! [`Registry::answer`].

mod blobs;
mod body;
mod connection;
pub mod content;
mod listing;
mod manifests;
mod query;
mod range;
mod refusal;
mod reply;
mod route;
mod tls;
mod uploads;
mod users;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, header};
use diag::{Class, Diagnose};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;

pub use content::{Content, ContentError};
pub use tls::{TlsError, config as tls_config};
pub use users::UsersError;

use query::Query;
use refusal::{Code, Refusal};
use reply::Response;
use route::Route;
use uploads::Uploads;
use users::Users;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// File work at once; as many clients wait for each other, not for memory.
const BLOCKING_THREADS: usize = 32;
/// How often abandoned uploads are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(300);
/// How long answers that are under way may take once the server is to end.
const GRACE: Duration = Duration::from_secs(30);

/// Where a line about each request, and about each trouble, goes.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What a server is told once.
pub struct ServerOptions {
    pub tls: Option<TlsFiles>,
    /// A file of users, made by `htpasswd -B`; anybody may do anything without one.
    pub htpasswd: Option<PathBuf>,
    pub access: Access,
    /// A longer blob is refused.
    pub blob_limit: u64,
    pub log: Log,
}

/// A certificate with its chain, and its key.
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// A server that does not run yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    users: Option<Users>,
    options: ServerOptions,
    stop: watch::Sender<u32>,
}

/// Ends a server.
#[derive(Clone)]
pub struct Stopper(watch::Sender<u32>);

/// A server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot start the server")]
    Setup(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Users(#[from] UsersError),
}

impl Diagnose for ServerError {
    fn class(&self) -> Class {
        match self {
            Self::Setup(e) => Class::of_io(e),
            Self::Tls(e) => e.class(),
            Self::Users(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setup(_) => None,
            Self::Tls(e) => e.hint(),
            Self::Users(e) => e.hint(),
        }
    }
}

impl Server {
    /// Prepares to serve the connections of `listener`.
    ///
    /// # Errors
    /// [`ServerError`] when certificate or users cannot be used.
    pub fn new(listener: TcpListener, options: ServerOptions) -> Result<Self, ServerError> {
        let tls = options.tls.as_ref().map(|files| tls::config(&files.cert, &files.key, None)).transpose()?;
        let users = options.htpasswd.as_deref().map(Users::read).transpose()?;
        let (stop, _) = watch::channel(0);
        Ok(Self { listener, tls: tls.map(TlsAcceptor::from), users, options, stop })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// [`ServerError::Setup`].
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        self.listener.local_addr().map_err(ServerError::Setup)
    }

    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves `content` until a [`Stopper`] is used.
    ///
    /// # Errors
    /// [`ServerError::Setup`] when the system has no threads to give.
    pub fn run<C: Content>(self, content: C) -> Result<(), ServerError> {
        let Self { listener, tls, users, options, stop } = self;
        listener.set_nonblocking(true).map_err(ServerError::Setup)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("registry")
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServerError::Setup)?;
        let registry = Arc::new(Registry {
            content: Arc::new(content),
            uploads: Uploads::default(),
            users: users.map(Arc::new),
            checks: Semaphore::new(2),
            options,
        });
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Setup)?;
            tokio::spawn(registry.clone().keep_tidy());
            let serving = connection::serve(listener, tls, registry, stop.subscribe());
            tokio::select! {
                () = serving => {}
                () = out_of_patience(stop.subscribe()) => {}
            }
            Ok(())
        });
        // What still writes to the disk may finish its step; what it made without naming it is removed with it.
        runtime.shutdown_timeout(Duration::from_secs(5));
        served
    }
}

impl Stopper {
    /// Lets the server take no more requests and end with the last answer; used again, it ends at once.
    pub fn stop(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

/// Returns when answers that are under way are not to be waited for any more.
async fn out_of_patience(mut stopped: watch::Receiver<u32>) {
    if stopped.wait_for(|count| *count >= 1).await.is_ok() {
        let _ = tokio::time::timeout(GRACE, stopped.wait_for(|count| *count >= 2)).await;
    }
}

/// A registry at work.
struct Registry<C: Content> {
    content: Arc<C>,
    uploads: Uploads<C::Upload>,
    users: Option<Arc<Users>>,
    /// Passwords that are checked at once: each takes a processor for a while, which guessing must not take from the others.
    checks: Semaphore,
    options: ServerOptions,
}

impl<C: Content> Registry<C> {
    /// Answers one request.
    async fn answer(self: Arc<Self>, request: Request<Body>, peer: IpAddr) -> Response {
        let line = format!("{peer} {} {}", request.method(), request.uri().to_string().escape_debug());
        let response = match self.handle(request).await {
            Ok(response) => response,
            Err(mut refusal) => {
                if let Some(trouble) = refusal.trouble.take() {
                    self.report(&format!("{line}: {}", diag::with_sources(&*trouble)));
                }
                refusal.into_response()
            }
        };
        self.report(&format!("{line} {}", response.status().as_u16()));
        reply::with(response, API_VERSION, "registry/2.0")
    }

    async fn handle(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let (method, headers) = (&parts.method, &parts.headers);
        self.authenticate(headers).await?;
        let route = Route::parse(parts.uri.path())?;
        let query = Query::parse(parts.uri.query());
        let is_reading = matches!(*method, Method::GET | Method::HEAD);
        if !is_reading && self.options.access == Access::ReadOnly {
            return Err(Refusal::new(Code::Unsupported, "this registry is read-only")
                .header(header::ALLOW, "GET, HEAD")
                .hanging_up());
        }
        match (route, method.as_str()) {
            (Route::Ping, "GET" | "HEAD") => Ok(listing::ping()),
            (Route::Catalog, "GET" | "HEAD") => self.catalog(&query).await,
            (Route::Tags(name), "GET" | "HEAD") => self.tags(name, &query).await,
            (Route::Referrers(name, digest), "GET" | "HEAD") => self.referrers(name, digest, &query).await,
            (Route::Manifest(name, target), "GET" | "HEAD") => self.manifest(name, target, headers).await,
            (Route::Manifest(name, target), "PUT") => {
                self.put_manifest((name, target), &query, headers, body).await
            }
            (Route::Manifest(name, target), "DELETE") => self.remove_manifest(name, target).await,
            (Route::Blob(name, digest), "GET" | "HEAD") => self.blob(name, digest, method, headers).await,
            (Route::Blob(name, digest), "DELETE") => self.remove_blob(name, digest).await,
            (Route::Uploads(name), "POST") => self.begin_upload(name, &query, headers, body).await,
            (Route::Upload(name, id), "GET") => self.upload_status(name, &id).await,
            (Route::Upload(name, id), "PATCH") => self.patch_upload(name, &id, headers, body).await,
            (Route::Upload(name, id), "PUT") => self.finish_upload(name, &id, &query, headers, body).await,
            (Route::Upload(name, id), "DELETE") => self.cancel_upload(name, &id).await,
            (route, _) => Err(listing::not_allowed(&route).hanging_up()),
        }
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(users) = &self.users else { return Ok(()) };
        if users.knows(headers) {
            return Ok(());
        }
        if !headers.contains_key(header::AUTHORIZATION) {
            return Err(users::who_are_you());
        }
        let _turn = self.checks.acquire().await.expect("the semaphore is never closed");
        let (users, headers) = (users.clone(), headers.clone());
        match spawn_blocking(move || users.check(&headers)).await {
            Ok(true) => Ok(()),
            _ => Err(users::who_are_you()),
        }
    }

    /// Asks the content, on a thread that may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&C) -> Result<T, ContentError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let content = self.content.clone();
        let answered = spawn_blocking(move || ask(&content)).await;
        Ok(answered.map_err(|e| ContentError::Internal(e.into()))??)
    }

    async fn keep_tidy(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TIDY_INTERVAL).await;
            self.uploads.tidy();
            if let Err(refusal) = self.blocking(|content| content.tidy()).await
                && let Some(trouble) = refusal.trouble
            {
                self.report(&format!("cannot tidy up: {}", diag::with_sources(&*trouble)));
            }
        }
    }

    fn report(&self, line: &str) {
        (self.options.log)(line);
    }
}
