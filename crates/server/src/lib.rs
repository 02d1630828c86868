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

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use diag::{Class, Diagnose};
use engine::Engine;
use sys::event::{PollFd, PollFlags, poll};
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
        let runtime = runtime()?;
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

/// Serves `engine` to one client, which writes to `input` and reads from `output`, until it or the connection has gone.
///
/// # Errors
/// [`ServerError`] when the system has no threads or descriptors to give.
pub fn serve_one(
    engine: Engine,
    mut input: impl Read + Send + 'static,
    mut output: impl Write + AsFd,
) -> Result<(), ServerError> {
    let (ours, theirs) = UnixStream::pair().map_err(ServerError)?;
    theirs.set_nonblocking(true).map_err(ServerError)?;
    let mut from_client = ours.try_clone().map_err(ServerError)?;
    let runtime = runtime()?;
    // It lasts as long as the runtime.
    let (_stop, stopped) = watch::channel(0);
    let (engine, builds) = (Arc::new(engine), Arc::new(build::Builds::default()));
    let state = Arc::new(State { engine, scope: Scope::default(), builds, stopped: stopped.clone() });
    let entered = runtime.enter();
    let theirs = tokio::net::UnixStream::from_std(theirs).map_err(ServerError)?;
    drop(entered);
    runtime.spawn(connection::exchange(theirs, None, state, stopped));
    std::thread::spawn(move || {
        let _ = io::copy(&mut input, &mut from_client);
        let _ = sys::socket::finish_writing(&from_client);
    });
    pass_on(&ours, &mut output).map_err(ServerError)?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Passes on what `from` has until that ends or nobody takes it any more, which a client that is silent shows, too.
fn pass_on(mut from: &UnixStream, to: &mut (impl Write + AsFd)) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let gone = {
            let mut fds = [
                PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(to.as_fd(), PollFlags::empty()),
            ];
            poll(&mut fds, None)?;
            fds[1].revents().intersects(PollFlags::HUP | PollFlags::ERR)
        };
        let read = if gone { 0 } else { from.read(&mut piece)? };
        if read == 0 || to.write_all(&piece[..read]).and_then(|()| to.flush()).is_err() {
            return Ok(());
        }
    }
}

/// Waits on sockets with two threads, and makes the engine's calls on others.
fn runtime() -> Result<tokio::runtime::Runtime, ServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("api")
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServerError)
}

/// Returns when answers that are under way are not to be waited for any more.
async fn out_of_patience(mut stopped: watch::Receiver<u32>) {
    if stopped.wait_for(|count| *count >= 1).await.is_ok() {
        let _ = tokio::time::timeout(GRACE, stopped.wait_for(|count| *count >= 2)).await;
    }
}
