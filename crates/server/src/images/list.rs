//! Listing and inspecting images.

use api::Version;
use engine::model::ImageInspect;
use engine::view;
use serde_json::{Map, Value, json};

use super::platform;
use crate::containers;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// Members of an image's configuration that hull does not have, and Docker shows before 1.50 whether they say anything or not.
const LEGACY: &str = r#"{"AttachStderr":false,"AttachStdin":false,"AttachStdout":false,"Cmd":null,"Domainname":"","Entrypoint":null,
"Env":null,"Hostname":"","Image":"","Labels":null,"OnBuild":null,"OpenStdin":false,"StdinOnce":false,"Tty":false,"User":"",
"Volumes":null,"WorkingDir":""}"#;

/// `GET /images/json`. There are no intermediate images that `all` could show, and digests are always shown.
pub async fn list(request: Request) -> Result<Response, Refusal> {
    let query = &request.query;
    let mut filters = query.filters()?;
    if let Some(reference) = query.get("filter").filter(|_| request.version < Version::minor(41)) {
        filters.add("reference", reference);
    }
    let shared = query.flag("shared-size") && request.version >= Version::minor(42);
    let manifests = query.flag("manifests") && request.version >= Version::minor(47);
    let version = request.version;
    let images = request
        .engine(move |engine| -> Result<_, Refusal> {
            let shared = shared.then(|| engine.image_shared_bytes()).transpose()?;
            let mut images = Vec::new();
            for summary in engine.image_list(None, &filters)? {
                let mut image = view::image_summary(&summary);
                if let Some(bytes) = shared.as_ref().and_then(|shared| shared.get(&summary.id)) {
                    image["SharedSize"] = (*bytes).into();
                }
                // A damaged image is listed without them.
                if manifests && let Ok(platforms) = engine.image_platforms(&summary.id) {
                    image["Manifests"] = view::image_manifests(&platforms);
                }
                images.push(image);
            }
            Ok(images)
        })
        .await?;
    Ok(reply::ok(&images.into_iter().map(|image| summary(image, version)).collect()))
}

/// A list entry as a version has it.
pub fn summary(mut image: Value, version: Version) -> Value {
    if version < Version::minor(44) {
        image["VirtualSize"] = image["Size"].clone();
    }
    if version < Version::minor(43) && image["RepoTags"] == json!([]) && image["RepoDigests"] == json!([]) {
        image["RepoTags"] = json!(["<none>:<none>"]);
        image["RepoDigests"] = json!(["<none>@<none>"]);
    }
    image
}

/// `GET /images/{name}/json`.
pub async fn inspect(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    let (name, version) = (name.join("/"), request.version);
    let platform = platform(&request, 49)?;
    let manifests = request.query.flag("manifests") && version >= Version::minor(48);
    if manifests && platform.is_some() {
        let text = "conflicting options: manifests and platform options cannot both be set";
        return Err(Refusal::invalid(text));
    }
    let (inspect, platforms) = request
        .engine(move |engine| -> Result<_, Refusal> {
            let platforms = manifests.then(|| engine.image_platforms(&name)).transpose()?;
            Ok((engine.image_inspect(&name, platform.as_ref())?, platforms))
        })
        .await?;
    let mut image = body(&inspect, version);
    if let Some(platforms) = platforms {
        image["Manifests"] = view::image_manifests(&platforms);
    }
    Ok(reply::ok(&image))
}

/// An image as a version has it.
fn body(inspect: &ImageInspect, version: Version) -> Value {
    let mut image = view::image(inspect);
    let legacy = || serde_json::from_str::<Map<String, Value>>(LEGACY).expect("it is a document");
    if version < Version::minor(50) {
        let config = image["Config"].take();
        let mut all = legacy();
        all.extend(config.as_object().cloned().unwrap_or_default());
        image["Config"] = all.into();
    }
    let members = image.as_object_mut().expect("it is an object");
    if version < Version::minor(48) {
        members.remove("Descriptor");
    }
    if version < Version::minor(45) {
        members.insert("Container".to_owned(), "".into());
        members.insert("ContainerConfig".to_owned(), legacy().into());
    }
    if version < Version::minor(44) {
        members.insert("VirtualSize".to_owned(), inspect.summary.size_bytes.into());
    }
    image
}

/// `GET /images/{name}/history`.
pub async fn history(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    let platform = platform(&request, 48)?;
    let name = name.join("/");
    let steps = request.engine(move |engine| engine.images().history(&name, platform.as_ref())).await?;
    Ok(reply::ok(&steps.iter().map(view::image_step).collect()))
}

/// `GET /system/df`, of the kinds that `type` names, or all.
pub async fn disk_usage(request: Request) -> Result<Response, Refusal> {
    const KINDS: [(&str, &[&str]); 4] = [
        ("container", &["Containers"]),
        ("image", &["Images", "LayersSize"]),
        ("volume", &["Volumes"]),
        ("build-cache", &["BuildCache", "BuilderSize"]),
    ];
    let wanted: Vec<String> = request.query.all("type").map(str::to_owned).collect();
    if let Some(unknown) = wanted.iter().find(|kind| !KINDS.iter().any(|(known, _)| known == kind)) {
        return Err(Refusal::invalid(format!("unknown object type: {unknown}")));
    }
    let version = request.version;
    let (usage, shared) = request
        .engine(|engine| -> Result<_, Refusal> { Ok((engine.disk_usage()?, engine.image_shared_bytes()?)) })
        .await?;
    let mut body = view::disk_usage(&usage, monitor::time::now_ns());
    if version < Version::minor(42) {
        body["BuilderSize"] = usage.build_cache_bytes.into();
    }
    for container in body["Containers"].as_array_mut().into_iter().flatten() {
        *container = containers::list::summary(container.take(), version);
    }
    let images = body["Images"].take();
    let mut images = images.as_array().cloned().unwrap_or_default();
    for image in &mut images {
        if let Some(bytes) = image["Id"].as_str().and_then(|id| shared.get(id)) {
            image["SharedSize"] = (*bytes).into();
        }
    }
    body["Images"] = images.into_iter().map(|image| summary(image, version)).collect();
    if let Some(members) = body.as_object_mut().filter(|_| !wanted.is_empty()) {
        for (kind, keys) in KINDS {
            members
                .retain(|key, _| wanted.iter().any(|wanted| wanted == kind) || !keys.contains(&key.as_str()));
        }
    }
    Ok(reply::ok(&body))
}
