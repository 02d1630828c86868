//! Which handler a request is for: every path of the API, and no other.

use axum::http::{Method, StatusCode};

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::{absent, build, classic, containers, exec, images, networks, scope, system, volumes};

const GET: &Method = &Method::GET;
const HEAD: &Method = &Method::HEAD;
const POST: &Method = &Method::POST;
const PUT: &Method = &Method::PUT;
const DELETE: &Method = &Method::DELETE;

/// Answers a request.
///
/// # Errors
/// Whatever its handler refuses, and paths nobody handles.
pub async fn answer(mut request: Request) -> Result<Response, Refusal> {
    if request.method == Method::OPTIONS {
        // Of any path, as dockerd answers it; nothing is told.
        return Ok(reply::empty(StatusCode::OK));
    }
    scope::admit(&mut request).await?;
    let segments = request.segments.clone();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method.clone();
    match (&method, segments.as_slice()) {
        (GET | HEAD, ["_ping"]) => Ok(system::ping()),
        (GET, ["version"]) => Ok(system::version()),
        (GET, ["info"]) => system::info(request).await,
        (GET, ["events"]) => system::events(request).await,

        (POST, ["session"]) => build::session(request),
        (POST, ["grpc"]) => build::grpc(request),
        (POST, [service, method]) if build::serves(service) => {
            Ok(build::call(request, service, method).await)
        }

        (GET, ["containers", "json"]) => containers::list::list(request).await,
        (POST, ["containers", "create"]) => containers::create::create(request).await,
        (GET, ["containers", id, "json"]) => containers::list::inspect(request, id).await,
        (GET, ["containers", id, "logs"]) => containers::logs::logs(request, id).await,
        (GET, ["containers", id, "top"]) => containers::watch::top(request, id).await,
        (GET, ["containers", id, "stats"]) => containers::watch::stats(request, id).await,
        (GET, ["containers", id, "changes"]) => containers::watch::changes(request, id).await,
        (HEAD, ["containers", id, "archive"]) => containers::files::stat(request, id).await,
        (GET, ["containers", id, "archive"]) => containers::files::get(request, id).await,
        (PUT, ["containers", id, "archive"]) => containers::files::put(request, id).await,
        (GET, ["containers", id, "export"]) => containers::files::export(request, id).await,
        (POST, ["containers", id, "update"]) => containers::create::update(request, id).await,
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
        (GET, ["containers", id, "attach", "ws"]) => containers::attach::websocket(request, id).await,
        (POST, ["containers", id, "exec"]) => exec::create(request, id).await,
        (POST, ["exec", id, "start"]) => exec::start(request, id).await,
        (POST, ["exec", id, "resize"]) => exec::resize(request, id).await,
        (GET, ["exec", id, "json"]) => exec::inspect(request, id).await,
        (GET | POST, ["containers", _, "checkpoints"]) => Err(absent::checkpoints()),
        (DELETE, ["containers", _, "checkpoints", _]) => Err(absent::checkpoints()),
        (POST, ["containers", "prune"]) => containers::control::prune(request).await,
        (DELETE, ["containers", id]) => containers::control::remove(request, id).await,

        (POST, ["commit"]) => images::change::commit(request).await,

        (GET, ["images", "json"]) => images::list::list(request).await,
        (GET, ["images", "search"]) => images::registry::search(request).await,
        (GET, ["images", "get"]) => images::archive::save(request).await,
        (POST, ["images", "create"]) => images::create::create(request).await,
        (POST, ["images", "load"]) => images::archive::load(request).await,
        (POST, ["images", "prune"]) => images::change::prune(request).await,
        (GET, ["images", name @ .., "json"]) => images::list::inspect(request, name).await,
        (GET, ["images", name @ .., "history"]) => images::list::history(request, name).await,
        (GET, ["images", name @ .., "get"]) => images::archive::save_one(request, name).await,
        (POST, ["images", name @ .., "push"]) => images::push::push(request, name).await,
        (POST, ["images", name @ .., "tag"]) => images::create::tag(request, name).await,
        (DELETE, ["images", name @ ..]) => images::change::remove(request, name).await,
        (GET, ["distribution", name @ .., "json"]) => images::registry::distribution(request, name).await,
        (POST, ["auth"]) => images::registry::login(request).await,
        (GET, ["system", "df"]) => images::list::disk_usage(request).await,
        (POST, ["build"]) => classic::build(request).await,
        (POST, ["build", "cancel"]) => build::cancel(&request),
        (POST, ["build", "prune"]) => images::change::prune_cache(request).await,

        (GET, ["networks"]) => networks::list(request).await,
        (POST, ["networks", "create"]) => networks::create(request).await,
        (POST, ["networks", "prune"]) => networks::prune(request).await,
        (GET, ["networks", id]) => networks::inspect(request, id).await,
        (DELETE, ["networks", id]) => networks::remove(request, id).await,
        (POST, ["networks", id, "connect"]) => networks::connect(request, id).await,
        (POST, ["networks", id, "disconnect"]) => networks::disconnect(request, id).await,

        (GET, ["volumes"]) => volumes::list(request).await,
        (POST, ["volumes", "create"]) => volumes::create(request).await,
        (POST, ["volumes", "prune"]) => volumes::prune(request).await,
        (GET, ["volumes", name]) => volumes::inspect(request, name).await,
        (DELETE, ["volumes", name]) => volumes::remove(request, name).await,

        (PUT, ["volumes", _]) => Err(absent::swarm(&method, &segments)),
        (_, ["swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs", ..]) => {
            Err(absent::swarm(&method, &segments))
        }
        (_, ["plugins", ..]) => absent::plugins(&method, &segments),
        _ => Err(Refusal::no_page()),
    }
}
