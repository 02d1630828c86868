//! Removing images, and making one of a container.

use ::image::Removed;
use axum::http::StatusCode;
use engine::model::{CommitSpec, Pruned};
use oci::image::Config;
use serde_json::{Value, json};

use super::with_tag;
use crate::networks::none_if_empty;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `DELETE /images/{name}`. There are no untagged parents that `noprune` could keep.
pub async fn remove(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    if request.query.get("platforms").is_some() {
        return Err(Refusal::unsupported("platforms: images are kept for one platform at a time"));
    }
    let (name, force) = (name.join("/"), request.query.flag("force"));
    let removed = request.engine(move |engine| engine.image_remove(&name, force)).await?;
    let line = |removed: &Removed| match removed {
        Removed::Untagged(reference, _) => json!({"Untagged": reference.familiar()}),
        Removed::Deleted(digest) | Removed::DeletedLayer(digest) => json!({"Deleted": digest.to_string()}),
    };
    Ok(reply::ok(&removed.iter().map(line).collect()))
}

/// `POST /images/prune`.
pub async fn prune(request: Request) -> Result<Response, Refusal> {
    let filters = request.query.filters()?;
    let Pruned { untagged, images, reclaimed_bytes, .. } =
        request.engine(move |engine| engine.prune_images(&filters, false)).await?;
    let untagged = untagged.iter().map(|name| json!({ "Untagged": name }));
    let deleted = images.iter().map(|id| json!({ "Deleted": id }));
    let all: Vec<Value> = untagged.chain(deleted).collect();
    Ok(reply::ok(&json!({"ImagesDeleted": none_if_empty(&all), "SpaceReclaimed": reclaimed_bytes})))
}

/// `POST /commit`.
pub async fn commit(mut request: Request) -> Result<Response, Refusal> {
    // Go clients send `null` for no configuration.
    let config = request.document::<Option<Config>>().await?.flatten();
    let query = &request.query;
    let repository = query.get("repo").map(|name| with_tag(name, query.get("tag").unwrap_or_default()));
    let reference = repository.transpose()?;
    if reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Err(Refusal::invalid("repo: an image is named by a tag, not by a digest"));
    }
    let text = |key: &str| query.get(key).unwrap_or_default().to_owned();
    let spec = CommitSpec {
        reference: reference.map(|reference| reference.familiar()),
        comment: text("comment"),
        author: text("author"),
        // What says something about containers only is no part of an image.
        config: config.map(|config| Config { extra: Default::default(), ..config }),
        changes: query.all("changes").flat_map(str::lines).map(str::to_owned).collect(),
        pause: query.get("pause").is_none() || query.flag("pause"),
    };
    let container = text("container");
    let image = request.engine(move |engine| engine.commit(&container, &spec)).await?;
    Ok(reply::json(StatusCode::CREATED, &json!({"Id": image.id.to_string()})))
}

/// `POST /build/prune`.
pub async fn prune_cache(request: Request) -> Result<Response, Refusal> {
    let query = &request.query;
    for limit in ["keep-storage", "reserved-space", "max-used-space", "min-free-space"] {
        if query.number::<i64>(limit)?.is_some_and(|bytes| bytes != 0) {
            return Err(Refusal::unsupported(format!(
                "{limit}: entries are pruned by age and use, not by size"
            )));
        }
    }
    let (filters, all) = (query.filters()?, query.flag("all"));
    let pruned = request.engine(move |engine| engine.prune_build_cache(&filters, all)).await?;
    let deleted = none_if_empty(&pruned.build_cache);
    Ok(reply::ok(&json!({"CachesDeleted": deleted, "SpaceReclaimed": pruned.reclaimed_bytes})))
}
