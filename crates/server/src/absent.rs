//! What hull does not have, answered as an engine does that is no swarm manager and has neither plugins nor
//! checkpoints.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::refusal::Refusal;
use crate::reply::{self, Response};

/// Swarm, its nodes, services, tasks, secrets and configs.
pub fn swarm(method: &Method, path: &[&str]) -> Refusal {
    let text = match (method, path) {
        (&Method::POST, ["swarm", "init" | "join" | "unlock"]) => {
            return Refusal::unsupported("hull has no swarm mode: use Compose on one host");
        }
        (&Method::POST, ["swarm", "leave"]) => "This node is not part of a swarm",
        _ => {
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
        }
    };
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Plugins: there are none, and none can be installed.
///
/// # Errors
/// Whatever is asked of a plugin.
pub fn plugins(method: &Method, path: &[&str]) -> Result<Response, Refusal> {
    match (method, path) {
        (&Method::GET, ["plugins"]) => Ok(reply::ok(&json!([]))),
        (_, ["plugins", "pull" | "create" | "privileges"]) => Err(Refusal::unsupported(
            "plugins are not supported: networks, volumes and logs have hull's own drivers",
        )),
        (_, ["plugins", name @ ..]) => {
            let name: Vec<&str> = name.iter().copied().take_while(|word| !VERBS.contains(word)).collect();
            Err(Refusal::new(StatusCode::NOT_FOUND, format!("plugin {:?} not found", name.join("/"))))
        }
        _ => Err(Refusal::no_page()),
    }
}

/// Checkpoints, as an engine answers whose experiments are off.
pub fn checkpoints() -> Refusal {
    Refusal::unsupported(
        "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.",
    )
}

/// What can be asked of a plugin after its name.
const VERBS: &[&str] = &["json", "enable", "disable", "upgrade", "push", "set"];
