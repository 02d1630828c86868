//! `moby.buildkit.v1.frontend.LLBBridge`, as far as clients need it that have a Dockerfile built.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::buildkit::control::SolveRequest as Wanted;
use api::buildkit::gateway::{
    ApiCap, EvaluateRequest, PongResponse, Ref, Result as Solution, ReturnRequest, SolveRequest,
    SolveResponse,
};
use api::buildkit::{Opaque, Status, code};
use axum::http::HeaderMap;

use super::grpc::{self, Messages, failure};
use super::{Build, GATEWAY, solve, worker};
use crate::State;
use crate::reply::Response;

/// How long the gateway waits for `Control.Solve`, which its client calls at the same time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a call of this service; its headers say for which build it is.
pub async fn call(state: Arc<State>, method: &str, headers: &HeaderMap, mut messages: Messages) -> Response {
    let Some(reference) = super::header(headers, "buildkit-controlapi-buildid") else {
        let text = "buildkit-controlapi-buildid is missing: it says for which build the call is";
        return grpc::answer::<Opaque>(Err(failure(code::INVALID_ARGUMENT, text)));
    };
    let build = state.builds.get(reference);
    // Nobody holds the build before that: what is said of it sooner, which takes but a moment when nothing is built, would be lost.
    let wanted = match wanted(&build).await {
        Ok(wanted) => wanted,
        Err(status) => return grpc::answer::<Opaque>(Err(status)),
    };
    match method {
        "Ping" => grpc::answer(Ok(pong())),
        "Solve" => grpc::answer(solve(&state, &build, &wanted, &mut messages).await),
        "Evaluate" => grpc::answer(evaluate(&build, &mut messages).await),
        "Return" => grpc::answer(end(&build, &mut messages).await),
        _ => super::unknown(GATEWAY, method),
    }
}

/// What the build's client wants, as soon as it has said so.
///
/// # Errors
/// It does not.
async fn wanted(build: &Build) -> Result<Arc<Wanted>, Status> {
    let mut wanted = build.wanted.subscribe();
    let wanted = tokio::time::timeout(PATIENCE, wanted.wait_for(Option::is_some)).await;
    let wanted = wanted.ok().and_then(|wanted| wanted.expect("the build is held").clone());
    wanted.ok_or_else(|| failure(code::NOT_FOUND, "no such build: nobody has called Control.Solve for it"))
}

/// What clients may ask for.
fn pong() -> PongResponse {
    let frontend =
        ["solve.base", "return", "returnmap", "proto.refarray", "gateway.evaluate", "importcaches"];
    PongResponse {
        frontend_api_caps: frontend.map(ApiCap::enabled).to_vec(),
        llb_caps: ["source.local", "exporter.multiple"].map(ApiCap::enabled).to_vec(),
        workers: vec![worker()],
    }
}

async fn solve(
    state: &Arc<State>,
    build: &Arc<Build>,
    wanted: &Wanted,
    messages: &mut Messages,
) -> Result<SolveResponse, Status> {
    let request: SolveRequest = messages.single().await?;
    solve::check_parts(
        &request.frontend,
        request.definition.is_some(),
        !request.frontend_inputs.is_empty(),
        !request.source_policies.is_empty(),
    )?;
    if request.frontend.is_empty() {
        // A client that only wants to see what the server can do.
        return Ok(SolveResponse { result: Some(Solution::default()) });
    }
    let solved = solve::build(state, build, wanted, &request.frontend_opt).await?;
    let mut all = build.solved.lock().unwrap_or_else(PoisonError::into_inner);
    let id = all.len().to_string();
    all.insert(id.clone(), Arc::new(solved));
    let result = Solution { reference: Some(Ref { id }), ..Solution::default() };
    Ok(SolveResponse { result: Some(result) })
}

/// Whatever was solved has been evaluated.
async fn evaluate(build: &Build, messages: &mut Messages) -> Result<Opaque, Status> {
    let request: EvaluateRequest = messages.single().await?;
    build.solved(&request.reference).map(|_| Opaque {})
}

async fn end(build: &Build, messages: &mut Messages) -> Result<Opaque, Status> {
    let request: ReturnRequest = messages.single().await?;
    let returned = match request {
        ReturnRequest { error: Some(status), .. } => Err(status),
        ReturnRequest { result: Some(Solution { references: Some(_), .. }), .. } => {
            Err(failure(code::UNKNOWN, "results for several platforms are not supported"))
        }
        ReturnRequest { result, .. } => {
            let reference = result.and_then(|result| result.reference);
            Ok(reference.map(|reference| reference.id).filter(|id| !id.is_empty()))
        }
    };
    build.returned.send_replace(Some(returned));
    Ok(Opaque {})
}
