//! The Docker Engine API over hull's engine: what the `docker` command line, Compose and the SDKs talk to.
//!
//! A [`Server`] holds an opened engine and nothing else: whatever a client is told comes from the store, the run directories and the
//! monitors, so killing a server hurts nobody, and what other processes do is seen at once.
//!
//! ```text
//! connection   sockets, limits, the end             route      which handler a request is for
//! request      a parsed request                     refusal    errors as clients read them
//! stream       answers made piece by piece          hijack     connections that stop being HTTP
//! websocket    the same in messages                build      BuildKit's services
//! ```
//!
//! One asynchronous runtime waits on the sockets; the engine's calls are made on its blocking threads. What only waits for something
//! (an end, a log line, an event) is given up when its client has gone.
//!
//! Spec: Docker Engine API 1.24 to 1.50. Start reading at [`route`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod absent;
mod build;
mod classic;
mod connection;
mod containers;
mod exec;
mod hijack;
mod images;
mod listen;
mod networks;
mod refusal;
mod reply;
mod request;
mod route;
mod scope;
mod stream;
mod system;
mod volumes;
mod websocket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use diag::{Class, Diagnose};
use engine::Engine;
use tokio::sync::watch;

pub use listen::{ListenError, Listener, SocketOptions, TlsFiles};
pub use scope::{Scope, ScopeError};

/// Calls of the engine at once. Those that wait for something occupy a thread each.
const BLOCKING_THREADS: usize = 2048;
/// How long answers that are under way may take once the server is to end.
const GRACE: Duration = Duration::from_secs(10);

/// Where a line about each trouble goes.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// A server that does not run yet.
pub struct Server {
    listeners: Vec<Listener>,
    log: Log,
    stop: watch::Sender<u32>,
}

/// Ends a server.
#[derive(Clone)]
pub struct Stopper(watch::Sender<u32>);

/// A server cannot run.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the server")]
pub struct ServerError(#[source] io::Error);

impl Diagnose for ServerError {
    fn class(&self) -> Class {
        Class::of_io(&self.0)
    }
}

/// What every request is answered with.
pub(crate) struct State {
    pub engine: Arc<Engine>,
    pub scope: Scope,
    pub builds: Arc<build::Builds>,
    /// Changes when the server is to end.
    pub stopped: watch::Receiver<u32>,
}

impl Server {
    /// A server for the clients of `listeners`.
    pub fn new(listeners: Vec<Listener>, log: Log) -> Self {
        let (stop, _) = watch::channel(0);
        Self { listeners, log, stop }
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves `engine` until a [`Stopper`] is used.
    ///
    /// # Errors
    /// [`ServerError`] when the system has no threads to give.
    pub fn run(self, engine: Engine) -> Result<(), ServerError> {
        let Self { listeners, log, stop } = self;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("api")
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServerError)?;
        let (engine, builds) = (Arc::new(engine), Arc::new(build::Builds::default()));
        let served = runtime.block_on(async {
            let mut serving = tokio::task::JoinSet::new();
            for listener in listeners {
                let (accept, scope) = listener.into_async().map_err(ServerError)?;
                let (engine, builds) = (engine.clone(), builds.clone());
                let state = Arc::new(State { engine, scope, builds, stopped: stop.subscribe() });
                serving.spawn(connection::serve(accept, state, log.clone(), stop.subscribe()));
            }
            tokio::select! {
                _ = serving.join_all() => {}
                () = out_of_patience(stop.subscribe()) => {}
            }
            Ok(())
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
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
