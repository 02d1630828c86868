//! `moby.buildkit.v1.Control`.

use std::sync::Arc;
use std::time::Duration;

use api::buildkit::control::{
    BytesMessage, InfoResponse, ListWorkersResponse, SolveRequest, SolveResponse, StatusRequest,
};
use api::buildkit::{Opaque, Status, code};
use axum::http::HeaderMap;
use futures_util::StreamExt as _;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::grpc::{self, Messages, failure};
use super::solve::{self, Solved};
use super::{Build, CONTROL, export, session, usage, version, worker};
use crate::State;
use crate::reply::Response;

/// How long what a build told is kept for those who ask late.
const AFTERMATH: Duration = Duration::from_secs(10);
/// Bytes moved at once.
const PIECE: usize = 32 << 10;

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// That there is somebody.
pub fn serving() -> Health {
    Health { status: 1 }
}

/// Answers a call of this service.
pub async fn call(state: Arc<State>, method: &str, headers: &HeaderMap, mut messages: Messages) -> Response {
    match method {
        "Solve" => grpc::answer(solve(&state, &mut messages).await),
        "Status" => match messages.single::<StatusRequest>().await {
            Ok(request) => {
                let build = state.builds.get(&request.reference);
                let journal = build.journal.clone();
                // The build is held as long as somebody listens to it.
                grpc::messages(journal.follow().map(move |update| {
                    let _ = &build;
                    Ok(update)
                }))
            }
            Err(status) => grpc::answer::<Opaque>(Err(status)),
        },
        "DiskUsage" => grpc::answer(match messages.single().await {
            Ok(request) => usage::disk_usage(state, request).await,
            Err(status) => Err(status),
        }),
        "Prune" => {
            let pruned = match messages.single().await {
                Ok(request) => usage::prune(state, request).await,
                Err(status) => Err(status),
            };
            match pruned {
                Ok(records) => grpc::messages(futures_util::stream::iter(records.into_iter().map(Ok))),
                Err(status) => grpc::answer::<Opaque>(Err(status)),
            }
        }
        "ListWorkers" => grpc::answer(Ok(ListWorkersResponse { record: vec![worker()] })),
        "Info" => grpc::answer(Ok(InfoResponse { buildkit_version: Some(version()) })),
        "Session" => match session::id(headers) {
            Some(id) => serve_session(state, id, messages),
            None => grpc::answer::<Opaque>(Err(failure(
                code::INVALID_ARGUMENT,
                "x-docker-expose-session-uuid is missing: it is what the session is called",
            ))),
        },
        _ => super::unknown(CONTROL, method),
    }
}

/// Ends a build's journal however its call ends.
struct Ending(Arc<Build>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.journal.end();
        let build = self.0.clone();
        tokio::spawn(async move {
            tokio::time::sleep(AFTERMATH).await;
            drop(build);
        });
    }
}

async fn solve(state: &Arc<State>, messages: &mut Messages) -> Result<SolveResponse, Status> {
    let mut request: SolveRequest = messages.single().await?;
    if request.exporters.is_empty() && !request.exporter_deprecated.is_empty() {
        request.exporters.push(api::buildkit::control::Exporter {
            kind: std::mem::take(&mut request.exporter_deprecated),
            attrs: std::mem::take(&mut request.exporter_attrs_deprecated),
        });
    }
    solve::check(&request)?;
    let build = state.builds.get(&request.reference);
    let _ending = Ending(build.clone());
    let request = Arc::new(request);
    if build.wanted.send_replace(Some(request.clone())).is_some() {
        return Err(failure(code::INVALID_ARGUMENT, format!("{} is being built already", request.reference)));
    }
    let solved: Option<Arc<Solved>> = match request.frontend.as_str() {
        "" => {
            let session = state.builds.sessions.get(&request.session).await?;
            let mut returned = build.returned.subscribe();
            let result = tokio::select! {
                result = returned.wait_for(Option::is_some) => result.expect("the build is held").clone(),
                () = session.gone() => return Err(solve::session_gone()),
            };
            match result.expect("it was waited for")? {
                Some(id) => Some(build.solved(&id)?),
                None => None,
            }
        }
        _ => Some(Arc::new(solve::build(state, &build, &request, &request.frontend_attrs).await?)),
    };
    let exporter_response = match solved {
        Some(solved) => export::all(state, &build, request, solved).await?,
        None => Default::default(),
    };
    Ok(SolveResponse { exporter_response })
}

/// A session whose bytes come in messages, of clients that have one connection for everything.
fn serve_session(state: Arc<State>, id: String, mut messages: Messages) -> Response {
    let (ours, theirs) = tokio::io::duplex(PIECE);
    let (output, mut input) = tokio::io::split(theirs);
    tokio::spawn(async move {
        while let Ok(Some(message)) = messages.next::<BytesMessage>().await {
            input.write_all(&message.data).await?;
        }
        input.shutdown().await
    });
    tokio::spawn(async move { state.builds.sessions.serve(id, Box::new(ours)).await });
    grpc::messages(futures_util::stream::unfold(output, |mut output| async {
        let mut data = Vec::with_capacity(PIECE);
        match output.read_buf(&mut data).await {
            Ok(length) if length > 0 => Some((Ok(BytesMessage { data }), output)),
            _ => None,
        }
    }))
}
