//! BuildKit's services, for `docker build` and `docker compose build`: hull's own builder behind them.
//!
//! ```text
//! client ──POST /session (h2c)──▶ session    the client serves: its files, secrets, credentials, agents
//!        ──POST /grpc (h2c)─────▶ control    Solve: what is to become of a build; Status: what it tells
//!                                            DiskUsage, Prune: what the builder keeps
//!                                 gateway    Solve: what is to be built; Return: that this was all
//! ```
//!
//! A client that drives its build itself, as buildx does, calls `Control.Solve` first and leaves it waiting; the gateway's calls name
//! the build by its reference and do the work; `Return` lets `Control.Solve` export the result and answer. A build is cancelled
//! when the call that waits for it, or its session, has gone.

mod arrivals;
mod attachments;
mod attributes;
mod control;
mod export;
mod files;
mod gateway;
mod grpc;
mod journal;
mod posted;
mod session;
mod solve;
mod uploads;
mod usage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use api::buildkit::{BuildkitVersion, Platform, Status, WorkerRecord, code, control::SolveRequest};
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::{connection, hijack};
use grpc::failure;
use journal::Journal;
pub use posted::build as posted;
use session::Sessions;
use solve::Solved;
pub use solve::execute;
use uploads::Uploads;

/// The only protocol that is spoken on a connection of BuildKit's.
const H2C: &str = "h2c";
const CONTROL: &str = "moby.buildkit.v1.Control";
const GATEWAY: &str = "moby.buildkit.v1.frontend.LLBBridge";
const HEALTH: &str = "grpc.health.v1.Health";

/// The builds under way, and the sessions of their clients.
#[derive(Default)]
pub struct Builds {
    sessions: Sessions,
    uploads: Uploads,
    /// By their references. Whoever takes part in a build holds it.
    running: Mutex<HashMap<String, Weak<Build>>>,
    /// What stops those that were posted, by the ids that their clients gave them.
    posted: Mutex<HashMap<String, Weak<AtomicBool>>>,
}

/// A build under way.
struct Build {
    journal: Arc<Journal>,
    /// What its client wants, as soon as that is known.
    wanted: watch::Sender<Option<Arc<SolveRequest>>>,
    /// The result its client returned, or why there is none.
    returned: watch::Sender<Option<Result<Option<String>, Status>>>,
    /// What was built, by the names the client has for it.
    solved: Mutex<HashMap<String, Arc<Solved>>>,
}

impl Builds {
    /// The build of a reference; a new one when nobody knows it yet.
    fn get(&self, reference: &str) -> Arc<Build> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(build) = running.get(reference).and_then(Weak::upgrade) {
            return build;
        }
        running.retain(|_, build| build.strong_count() > 0);
        let build = Arc::new(Build {
            journal: Arc::new(Journal::new(reference)),
            wanted: watch::Sender::new(None),
            returned: watch::Sender::new(None),
            solved: Mutex::default(),
        });
        running.insert(reference.to_owned(), Arc::downgrade(&build));
        build
    }

    /// Lets [`cancel`] stop the build `id` until nobody holds `stop` any more.
    fn make_stoppable(&self, id: &str, stop: &Arc<AtomicBool>) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.retain(|_, stop| stop.strong_count() > 0);
        posted.insert(id.to_owned(), Arc::downgrade(stop));
    }

    fn stop(&self, id: &str) {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = posted.get(id).and_then(Weak::upgrade) {
            stop.store(true, Ordering::Release);
        }
    }
}

impl Build {
    fn solved(&self, id: &str) -> Result<Arc<Solved>, Status> {
        let solved = self.solved.lock().unwrap_or_else(PoisonError::into_inner);
        solved.get(id).cloned().ok_or_else(|| failure(code::NOT_FOUND, format!("no such result: {id}")))
    }
}

/// `POST /session`: a client offers its services on this connection.
pub fn session(mut request: Request) -> Result<Response, Refusal> {
    let upgrade = wanted(&mut request)?;
    let state = request.state.clone();
    let id = session::id(&request.headers).ok_or_else(|| {
        Refusal::invalid("X-Docker-Expose-Session-Uuid is missing: it is what the session is called")
    })?;
    Ok(hijack::switch(
        upgrade,
        H2C,
        move |client| async move { state.builds.sessions.serve(id, client).await },
    ))
}

/// `POST /grpc`: a client calls the builder on this connection.
pub fn grpc(mut request: Request) -> Result<Response, Refusal> {
    let upgrade = wanted(&mut request)?;
    let (state, stopped) = (request.state.clone(), request.state.stopped.clone());
    Ok(hijack::switch(upgrade, H2C, move |client| async move {
        drop(connection::exchange_http2(client, state, stopped).await);
    }))
}

/// `POST /build/cancel`: stops the posted build with the `buildid` that `id` tells, if it is under way.
pub fn cancel(request: &Request) -> Result<Response, Refusal> {
    let id = request.query.get("id").filter(|id| !id.is_empty());
    let missing = || Refusal::invalid("id: it is missing, and is the buildid of the build");
    request.state.builds.stop(id.ok_or_else(missing)?);
    Ok(reply::empty(StatusCode::OK))
}

fn wanted(request: &mut Request) -> Result<hyper::upgrade::OnUpgrade, Refusal> {
    let protocol = request.headers.get("upgrade").and_then(|value| value.to_str().ok());
    if protocol.is_some_and(|protocol| protocol != H2C) {
        return Err(Refusal::invalid(format!("only an upgrade to {H2C} is supported")));
    }
    let missing = || Refusal::new(StatusCode::UPGRADE_REQUIRED, format!("an upgrade to {H2C} is missing"));
    hijack::wanted(request).ok_or_else(missing)
}

/// Whether a service is one of those that [`call`] answers for.
pub fn serves(service: &str) -> bool {
    [CONTROL, GATEWAY, HEALTH].contains(&service)
}

/// Answers a call of gRPC.
pub async fn call(request: Request, service: &str, method: &str) -> Response {
    let Request { state, headers, body, .. } = request;
    let messages = grpc::Messages::of_request(body);
    match (service, method) {
        (CONTROL, _) => control::call(state, method, &headers, messages).await,
        (GATEWAY, _) => gateway::call(state, method, &headers, messages).await,
        (HEALTH, "Check") => grpc::answer(Ok(control::serving())),
        _ => unknown(service, method),
    }
}

fn unknown(service: &str, method: &str) -> Response {
    let text = format!("unknown method {method} for service {service}");
    grpc::answer::<api::buildkit::Opaque>(Err(failure(code::UNIMPLEMENTED, text)))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "hull".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: String::new(),
    }
}

/// The builder as clients see it.
fn worker() -> WorkerRecord {
    let host = oci::image::Platform::host();
    let platform = Platform { architecture: host.architecture, os: host.os, variant: host.variant };
    WorkerRecord {
        id: "hull".to_owned(),
        // By this buildx knows that outputs of types oci and docker are to be had.
        labels: HashMap::from([(
            "org.mobyproject.buildkit.worker.snapshotter".to_owned(),
            "overlayfs".to_owned(),
        )]),
        platforms: vec![platform],
        buildkit_version: Some(version()),
    }
}
