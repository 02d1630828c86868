//! Which handler a request is for: every path of the API, and no other.

use axum::http::Method;

use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::{containers, system};

const GET: &Method = &Method::GET;
const HEAD: &Method = &Method::HEAD;
const POST: &Method = &Method::POST;
const DELETE: &Method = &Method::DELETE;

/// Answers a request.
///
/// # Errors
/// Whatever its handler refuses, and paths nobody handles.
pub async fn answer(request: Request) -> Result<Response, Refusal> {
    let segments = request.segments.clone();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method.clone();
    match (&method, segments.as_slice()) {
        (GET | HEAD, ["_ping"]) => Ok(system::ping()),
        (GET, ["version"]) => Ok(system::version()),
        (GET, ["info"]) => system::info(request).await,
        (GET, ["events"]) => system::events(request).await,

        (GET, ["containers", "json"]) => containers::list::list(request).await,
        (POST, ["containers", "create"]) => containers::create::create(request).await,
        (GET, ["containers", id, "json"]) => containers::list::inspect(request, id).await,
        (GET, ["containers", id, "logs"]) => containers::logs::logs(request, id).await,
        (POST, ["containers", id, "start"]) => containers::control::start(request, id).await,
        (POST, ["containers", id, "stop"]) => containers::control::stop(request, id).await,
        (POST, ["containers", id, "restart"]) => containers::control::restart(request, id).await,
        (POST, ["containers", id, "kill"]) => containers::control::kill(request, id).await,
        (POST, ["containers", id, "pause"]) => containers::control::pause(request, id).await,
        (POST, ["containers", id, "unpause"]) => containers::control::unpause(request, id).await,
        (POST, ["containers", id, "rename"]) => containers::control::rename(request, id).await,
        (POST, ["containers", id, "resize"]) => containers::control::resize(request, id).await,
        (POST, ["containers", id, "wait"]) => containers::wait::wait(request, id).await,
        (POST, ["containers", id, "attach"]) => containers::attach::attach(request, id).await,
        (DELETE, ["containers", id]) => containers::control::remove(request, id).await,
        _ => Err(Refusal::no_page()),
    }
}
