//! `/volumes`.

use api::Version;
use api::volume::VolumeCreate;
use axum::http::StatusCode;
use engine::model::VolumeSpec;
use engine::view;
use serde_json::{Value, json};

use crate::networks::none_if_empty;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `GET /volumes`.
pub async fn list(request: Request) -> Result<Response, Refusal> {
    let filters = request.query.filters()?;
    let volumes = request.engine(move |engine| engine.volumes(&filters)).await?;
    let volumes: Vec<Value> = volumes.iter().map(view::volume).collect();
    Ok(reply::ok(&json!({"Volumes": volumes, "Warnings": null})))
}

/// `POST /volumes/create`.
pub async fn create(mut request: Request) -> Result<Response, Refusal> {
    let wire: VolumeCreate = request.document().await?.unwrap_or_default();
    if wire.cluster_volume_spec.is_some() {
        return Err(Refusal::unsupported("ClusterVolumeSpec: hull is no swarm manager"));
    }
    let spec = VolumeSpec {
        name: wire.name,
        driver: wire.driver,
        driver_opts: wire.driver_opts.unwrap_or_default(),
        labels: wire.labels.unwrap_or_default(),
    };
    let volume = request.engine(move |engine| engine.volume_create(spec)).await?;
    Ok(reply::json(StatusCode::CREATED, &view::volume(&volume)))
}

/// `GET /volumes/{name}`.
pub async fn inspect(request: Request, name: &str) -> Result<Response, Refusal> {
    let name = name.to_owned();
    let volume = request.engine(move |engine| engine.volume_inspect(&name)).await?;
    Ok(reply::ok(&view::volume(&volume)))
}

/// `DELETE /volumes/{name}`.
pub async fn remove(request: Request, name: &str) -> Result<Response, Refusal> {
    let (name, force) = (name.to_owned(), request.query.flag("force"));
    request.engine(move |engine| engine.volume_remove(&name, force)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /volumes/prune`; clients before 1.42 mean named volumes, too.
pub async fn prune(request: Request) -> Result<Response, Refusal> {
    let (filters, all) = (request.query.filters()?, request.version < Version::minor(42));
    let pruned = request.engine(move |engine| engine.volume_prune(&filters, all)).await?;
    let body =
        json!({"VolumesDeleted": none_if_empty(&pruned.volumes), "SpaceReclaimed": pruned.reclaimed_bytes});
    Ok(reply::ok(&body))
}
