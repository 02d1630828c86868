//! What clients of a socket may do.
//!
//! A dashboard looks at containers; it need not be root for that. A socket can be served so that its clients only look (`read-only`), so
//! that they have to do with one Compose project only (`project=<name>`), or both. Whatever is not known to be harmless is refused.

use std::str::FromStr;

use axum::http::{Method, StatusCode};
use diag::{Class, Diagnose};
use engine::lookup::LookupError;

use crate::refusal::Refusal;
use crate::request::Request;

/// The label that says to which Compose project something belongs.
const PROJECT: &str = "com.docker.compose.project";

/// What clients may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Look, and change nothing.
    pub read_only: bool,
    /// See and touch only what belongs to this Compose project.
    pub project: Option<String>,
}

/// A scope that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope {0:?}: it is `read-only`, `project=<name>`, or both with a comma between")]
pub struct ScopeError(String);

impl Diagnose for ScopeError {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut scope = Self::default();
        for word in text.split(',') {
            match word.split_once('=') {
                None if word == "read-only" => scope.read_only = true,
                Some(("project", name)) if !name.is_empty() => scope.project = Some(name.to_owned()),
                _ => return Err(ScopeError(text.to_owned())),
            }
        }
        Ok(scope)
    }
}

/// What a request is about, as far as scopes are concerned.
#[derive(Debug, PartialEq, Eq)]
enum Subject<'a> {
    /// The server itself: no secret of anybody's.
    Server,
    /// A list that filters by label.
    List,
    Container(&'a str),
    Exec(&'a str),
    Network(&'a str),
    Volume(&'a str),
    /// Anything else of the host's.
    Host,
}

fn subject<'a>(path: &[&'a str]) -> Subject<'a> {
    match path {
        ["_ping" | "version"] => Subject::Server,
        ["containers", "json"] | ["networks"] | ["volumes"] | ["events"] => Subject::List,
        ["containers", "create" | "prune"] | ["networks" | "volumes", "create" | "prune"] => Subject::Host,
        ["containers", id, ..] => Subject::Container(id),
        ["exec", id, ..] => Subject::Exec(id),
        ["networks", id] => Subject::Network(id),
        ["volumes", name] => Subject::Volume(name),
        _ => Subject::Host,
    }
}

/// Whether a request changes nothing and tells nothing but what a dashboard shows: no files and no terminal of a container's.
fn only_looks(method: &Method, path: &[&str]) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    match path {
        ["containers", _, what] => matches!(*what, "json" | "logs" | "stats" | "top" | "changes"),
        ["containers", _, _, ..] => false,
        // Whole images are read by whoever may pull.
        ["images", .., "get"] => false,
        ["session" | "grpc", ..] => false,
        _ => true,
    }
}

/// Refuses a request that is outside its socket's scope, and narrows down what it lists.
///
/// # Errors
/// 403, or 404 for what a client of the scope does not see.
pub async fn admit(request: &mut Request) -> Result<(), Refusal> {
    let scope = request.state.scope.clone();
    if scope == Scope::default() {
        return Ok(());
    }
    let path: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let forbidden = |why: String| Refusal::new(StatusCode::FORBIDDEN, format!("this socket {why}"));
    if scope.read_only && !only_looks(&request.method, &path) {
        return Err(forbidden("is read-only".to_owned()));
    }
    let Some(project) = scope.project else { return Ok(()) };
    match subject(&path) {
        Subject::Server => Ok(()),
        Subject::List => request.query.add_filter("label", &format!("{PROJECT}={project}")),
        Subject::Container(name) => {
            // The name could be another one's when the request is done: what is admitted is this container.
            let id = container(request, name.to_owned(), &project).await?;
            request.segments[1] = id;
            Ok(())
        }
        Subject::Exec(id) => {
            let id = id.to_owned();
            let exec = request.engine(move |engine| engine.exec_inspect(&id)).await?;
            container(request, exec.record.container.to_string(), &project).await.map(drop)
        }
        Subject::Network(id) if request.method == Method::GET => {
            let id = id.to_owned();
            let network = request.engine(move |engine| engine.network_inspect(&id)).await?;
            seen(network.labels.get(PROJECT) == Some(&project), "network", &network.name)
        }
        Subject::Volume(name) if request.method == Method::GET => {
            let name = name.to_owned();
            let volume = request.engine(move |engine| engine.volume_inspect(&name)).await?;
            seen(volume.labels.get(PROJECT) == Some(&project), "volume", &volume.name)
        }
        _ => Err(forbidden(format!("is for the containers of project {project:?} only"))),
    }
}

/// The id of a container, if it is of the project.
fn container(
    request: &Request,
    name: String,
    project: &str,
) -> impl Future<Output = Result<String, Refusal>> + use<> {
    let (wanted, project) = (name.clone(), project.to_owned());
    let inspect = request.engine(move |engine| engine.inspect(&wanted));
    async move {
        let inspect = inspect.await?;
        match inspect.spec.labels.get(PROJECT) == Some(&project) {
            true => Ok(inspect.id.to_string()),
            false => Err(LookupError::NotFound { name }.into()),
        }
    }
}

fn seen(is_seen: bool, kind: &str, name: &str) -> Result<(), Refusal> {
    match is_seen {
        true => Ok(()),
        false => Err(Refusal::new(StatusCode::NOT_FOUND, format!("{kind} {name} not found"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_with_commas_between() {
        let both = Scope { read_only: true, project: Some("shop".to_owned()) };
        assert_eq!("read-only,project=shop".parse(), Ok(both));
        for wrong in ["", "readonly", "project=", "read-only,", "project"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn looking_reads_no_files_and_opens_no_terminal() {
        let looks = |method: &Method, path: &str| only_looks(method, &path.split('/').collect::<Vec<_>>());
        for path in
            ["info", "events", "containers/json", "containers/x/logs", "images/a/b/json", "networks/n"]
        {
            assert!(looks(&Method::GET, path), "{path}");
        }
        for path in [
            "containers/x/archive",
            "containers/x/export",
            "containers/x/attach/ws",
            "images/a/b/get",
            "images/get",
            "grpc",
        ] {
            assert!(!looks(&Method::GET, path), "{path}");
        }
        assert!(!looks(&Method::POST, "containers/x/stop") && !looks(&Method::DELETE, "volumes/v"));
    }
}
