//! Listing and inspecting.

use api::Version;
use engine::model::ListOptions;
use engine::view;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `GET /containers/json`.
pub async fn list(request: Request) -> Result<Response, Refusal> {
    let limit = request.query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let options = ListOptions {
        all: request.query.flag("all"),
        last: limit.filter(|limit| *limit > 0),
        size: request.query.flag("size"),
        filters: request.query.filters()?,
    };
    let version = request.version;
    let containers = request.engine(move |engine| engine.list(&options)).await?;
    let now = monitor::time::now_ns();
    Ok(reply::ok(&containers.iter().map(|one| summary(view::container_summary(one, now), version)).collect()))
}

/// A list entry as a version has it.
pub fn summary(mut container: Value, version: Version) -> Value {
    if let Some(host) = container["HostConfig"].as_object_mut().filter(|_| version < Version::minor(46)) {
        host.remove("Annotations");
    }
    container
}

/// `GET /containers/{id}/json`.
pub async fn inspect(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, sized, version) = (id.to_owned(), request.query.flag("size"), request.version);
    let inspect = request
        .engine(move |engine| if sized { engine.inspect_sized(&id) } else { engine.inspect(&id) })
        .await?;
    let mut container = view::container(&inspect);
    if version < Version::minor(45) {
        add_names(&mut container);
    }
    Ok(reply::ok(&container))
}

/// Puts among the aliases what `DNSNames` has alone since 1.45: the short id and the host's name.
fn add_names(container: &mut Value) {
    let short = container["Id"].as_str().map(|id| id[..12].to_owned());
    let own = [short, container["Config"]["Hostname"].as_str().map(str::to_owned)];
    let networks = container["NetworkSettings"]["Networks"].as_object_mut().into_iter().flatten();
    for (_, endpoint) in networks.filter(|(name, _)| !matches!(name.as_str(), "bridge" | "host" | "none")) {
        let mut names: Vec<Value> = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
        for name in own.iter().flatten().filter(|name| !name.is_empty()) {
            if !names.iter().any(|have| have == name) {
                names.push(json!(name));
            }
        }
        endpoint["Aliases"] = names.into();
    }
}
