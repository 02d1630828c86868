//! Creating a container.

mod translate;

pub use translate::endpoint;

use api::container::CreateRequest;
use axum::http::StatusCode;
use image::PullPolicy;
use oci::image::Platform;
use serde_json::json;

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `POST /containers/create`.
pub async fn create(mut request: Request) -> Result<Response, Refusal> {
    let body: CreateRequest = request.required().await?;
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
            Ok(engine.create(spec)?)
        })
        .await?;
    let body = json!({"Id": created.id.as_str(), "Warnings": created.warnings});
    Ok(reply::json(StatusCode::CREATED, &body))
}
