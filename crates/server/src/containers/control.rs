//! Starting, stopping and otherwise acting on containers.

use axum::http::StatusCode;
use diag::Diagnose as _;
use engine::model::{RemoveOptions, StopOptions};
use engine::start::StartError;
use serde_json::json;

use crate::networks::none_if_empty;
use crate::refusal::{Refusal, with_sources};
use crate::reply::{self, Response};
use crate::request::Request;

/// Docker's words, without those about parts that hull does not have.
const NOT_EXECUTED: &str =
    "failed to create task for container: OCI runtime create failed: unable to start container process";

fn done() -> Response {
    reply::empty(StatusCode::NO_CONTENT)
}

fn stop_options(request: &Request) -> Result<StopOptions, Refusal> {
    let signal = request.query.get("signal").map(str::to_owned);
    Ok(StopOptions { timeout_s: request.query.number("t")?, signal })
}

/// `POST /containers/{id}/start`; 304 for one that runs.
pub async fn start(request: Request, id: &str) -> Result<Response, Refusal> {
    if request.query.get("checkpoint").is_some() {
        return Err(Refusal::unsupported("checkpoint: starting from a checkpoint is not supported"));
    }
    let id = id.to_owned();
    let runs = request
        .engine(move |engine| {
            if engine.inspect(&id)?.state.status.is_running() {
                return Ok(true);
            }
            engine.start(&id).map(|_| false).map_err(|error| match &error {
                // It is the request that names what cannot be executed.
                StartError::Launch { source, .. } if source.exit_status().is_some() => {
                    Refusal::invalid(format!("{NOT_EXECUTED}: {}", with_sources(source)))
                }
                _ => error.into(),
            })
        })
        .await?;
    Ok(if runs { reply::empty(StatusCode::NOT_MODIFIED) } else { done() })
}

/// `POST /containers/{id}/stop`; 304 for one that does not run.
pub async fn stop(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, options) = (id.to_owned(), stop_options(&request)?);
    let ran = request.engine(move |engine| engine.stop(&id, &options)).await?;
    Ok(if ran { done() } else { reply::empty(StatusCode::NOT_MODIFIED) })
}

/// `POST /containers/{id}/restart`.
pub async fn restart(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, options) = (id.to_owned(), stop_options(&request)?);
    request.engine(move |engine| engine.restart(&id, &options)).await?;
    Ok(done())
}

/// `POST /containers/{id}/kill`.
pub async fn kill(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, signal) = (id.to_owned(), request.query.get("signal").unwrap_or("KILL").to_owned());
    request.engine(move |engine| engine.kill(&id, &signal)).await?;
    Ok(done())
}

/// `POST /containers/{id}/pause`.
pub async fn pause(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    request.engine(move |engine| engine.pause(&id)).await?;
    Ok(done())
}

/// `POST /containers/{id}/unpause`.
pub async fn unpause(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    request.engine(move |engine| engine.unpause(&id)).await?;
    Ok(done())
}

/// `POST /containers/{id}/rename`.
pub async fn rename(request: Request, id: &str) -> Result<Response, Refusal> {
    let name = request.query.get("name").unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Refusal::invalid("Neither old nor new names may be empty"));
    }
    let id = id.to_owned();
    request.engine(move |engine| engine.rename(&id, &name)).await?;
    Ok(done())
}

/// `POST /containers/{id}/resize`.
pub async fn resize(request: Request, id: &str) -> Result<Response, Refusal> {
    let (rows, columns) = size(&request)?;
    let id = id.to_owned();
    request.engine(move |engine| engine.resize(&id, rows, columns)).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// Rows and columns of a terminal, `h` and `w`.
pub fn size(request: &Request) -> Result<(u16, u16), Refusal> {
    let number = |key| {
        let missing = || Refusal::invalid(format!("{key} is missing: it is the size of the terminal"));
        request.query.number(key)?.ok_or_else(missing)
    };
    Ok((number("h")?, number("w")?))
}

/// `DELETE /containers/{id}`.
pub async fn remove(request: Request, id: &str) -> Result<Response, Refusal> {
    if request.query.flag("link") {
        return Err(Refusal::unsupported("link: the default network has no links"));
    }
    let options = RemoveOptions { force: request.query.flag("force"), volumes: request.query.flag("v") };
    let id = id.to_owned();
    request.engine(move |engine| engine.remove(&id, &options)).await?;
    Ok(done())
}

/// `POST /containers/prune`.
pub async fn prune(request: Request) -> Result<Response, Refusal> {
    let filters = request.query.filters()?;
    let pruned = request.engine(move |engine| engine.prune_containers(&filters)).await?;
    let deleted = none_if_empty(&pruned.containers);
    Ok(reply::ok(&json!({"ContainersDeleted": deleted, "SpaceReclaimed": pruned.reclaimed_bytes})))
}
