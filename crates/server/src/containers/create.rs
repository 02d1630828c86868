//! Creating a container.

mod translate;

pub use translate::{endpoint, ulimit};

use api::Version;
use api::container::{CreateRequest, UpdateRequest};
use axum::http::StatusCode;
use engine::model::{Limits, UpdateSpec};
use image::PullPolicy;
use oci::image::Platform;
use serde_json::json;

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `POST /containers/create`.
pub async fn create(mut request: Request) -> Result<Response, Refusal> {
    let mut body: CreateRequest = request.required().await?;
    if request.version < Version::minor(40) {
        // Since then it is the engine's own choice.
        let host = body.host_config.get_or_insert_default();
        host.ipc_mode = host.ipc_mode.take().filter(|mode| !mode.is_empty()).or(Some("shareable".to_owned()));
    }
    let name = request.query.get("name").map(str::to_owned);
    let platform = request.query.get("platform").map(str::to_owned);
    if let Some(platform) = &platform {
        Platform::parse(platform).map_err(|error| Refusal::invalid(error.to_string()))?;
    }
    let mut spec = translate::container(body)?;
    (spec.name, spec.platform) = (name, platform);
    let created = request
        .engine(move |engine| -> Result<_, Refusal> {
            // Clients pull when they are told that there is no such image.
            let wanted = spec.image.clone();
            if !wanted.is_empty() {
                engine.image_ensure(&wanted, PullPolicy::Never, &image::PullOptions::default())?;
            }
            // Of whatever else is not there they must not be told the same, or they pull for nothing.
            engine.create(spec).map_err(|error| match Refusal::from(error) {
                refusal if refusal.status == StatusCode::NOT_FOUND => Refusal::invalid(refusal.message),
                refusal => refusal,
            })
        })
        .await?;
    let body = json!({"Id": created.id.as_str(), "Warnings": created.warnings});
    Ok(reply::json(StatusCode::CREATED, &body))
}

/// `POST /containers/{id}/update`.
pub async fn update(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let body: UpdateRequest = request.required().await?;
    let restart =
        body.restart_policy.filter(|policy| policy.name.as_ref().is_some_and(|name| !name.is_empty()));
    translate::refuse_resources(&body.resources)?;
    translate::refuse_in_update(&body.resources)?;
    let pids = body.resources.pids_limit;
    let update = UpdateSpec {
        // Of nothing else zero is a new value.
        limits: Limits { pids, ..translate::limits(body.resources)? },
        restart: restart.map(|policy| translate::restart(Some(policy))).transpose()?,
    };
    let id = id.to_owned();
    request.engine(move |engine| engine.update(&id, &update)).await?;
    Ok(reply::ok(&json!({"Warnings": null})))
}
