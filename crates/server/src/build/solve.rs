//! One build: the client's files fetched, the Dockerfile built, the result exported.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use api::buildkit::control::SolveRequest;
use api::buildkit::status::{Position, Range, Source as Blame, SourceInfo};
use api::buildkit::{CacheOptionsEntry, Status, code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use build::{
    BuildContext, BuildError, BuildOutput, BuildRequest, CacheSource, CacheTarget, Cancel, DockerfileSource,
    GitSetup, NamedContext, Source,
};
use engine::Engine;
use oci::Reference;
use tokio::runtime::Handle;

use super::attributes::Attributes;
use super::export::{Export, Kind};
use super::files::{self, Wanted};
use super::grpc::failure;
use super::journal::Journal;
use super::session::Session;
use super::{Build, attachments};
use crate::State;
use crate::classic::{self, Context};
use crate::images::Session as Registries;
use crate::refusal::with_sources;

/// Frontends by which clients mean the Dockerfile language.
const FRONTEND: &str = "dockerfile.v0";

/// A finished build.
pub struct Solved {
    pub image_id: String,
    /// In nanoseconds since 1970.
    pub begun_ns: i64,
}

/// The session has ended while it was needed.
pub fn session_gone() -> Status {
    failure(code::CANCELLED, "the session of the build has ended")
}

/// Refuses what `Control.Solve` is not done for.
///
/// # Errors
/// It names what.
pub fn check(request: &SolveRequest) -> Result<(), Status> {
    check_parts(
        &request.frontend,
        request.definition.is_some(),
        !request.frontend_inputs.is_empty(),
        request.source_policy.is_some(),
    )?;
    if let Some(other) = request.entitlements.iter().find(|name| *name != "network.host") {
        return Err(failure(code::UNKNOWN, format!("entitlement {other} is not supported")));
    }
    for exporter in &request.exporters {
        Export::parse(exporter)?;
    }
    caches(request).map(drop)
}

/// The caches that a build is to read and to write.
fn caches(request: &SolveRequest) -> Result<(Vec<CacheSource>, Vec<CacheTarget>), Status> {
    let Some(caches) = &request.cache else { return Ok((Vec::new(), Vec::new())) };
    let source = |entry: &CacheOptionsEntry| {
        let source = CacheSource::new(&entry.kind, pairs(entry));
        source.map_err(|error| failure(code::UNKNOWN, format!("cache-from: {error}")))
    };
    let target = |entry: &CacheOptionsEntry| {
        let target = CacheTarget::new(&entry.kind, pairs(entry));
        target.map_err(|error| failure(code::UNKNOWN, format!("cache-to: {error}")))
    };
    let from = caches.imports.iter().map(source).collect::<Result<_, _>>()?;
    let to = caches.exports.iter().map(target).collect::<Result<_, _>>()?;
    Ok((from, to))
}

fn pairs(entry: &CacheOptionsEntry) -> impl Iterator<Item = (&str, &str)> {
    entry.attrs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Refuses builds that are not of a Dockerfile.
///
/// # Errors
/// It names what.
pub fn check_parts(frontend: &str, definition: bool, inputs: bool, policy: bool) -> Result<(), Status> {
    let refused = |text: String| Err(failure(code::UNKNOWN, text));
    match frontend {
        "" | FRONTEND if definition => refused("definitions in LLB are not supported".to_owned()),
        "" | FRONTEND if inputs => refused("frontend inputs are not supported".to_owned()),
        "" | FRONTEND if policy => refused("source policies are not supported".to_owned()),
        "" | FRONTEND => Ok(()),
        other => refused(format!("frontend {other} is not supported: hull has no frontend but {FRONTEND}")),
    }
}

/// Cancels a build that nobody waits for any more.
struct Guard(Cancel);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Builds what `attributes` describe for a client that wants `wanted`.
///
/// # Errors
/// The build failed; its details name the lines to blame.
pub async fn build(
    state: &Arc<State>,
    build: &Arc<Build>,
    wanted: &SolveRequest,
    attributes: &HashMap<String, String>,
) -> Result<Solved, Status> {
    let mut attributes = Attributes::parse(attributes, &wanted.entitlements)?;
    let (from, to) = caches(wanted)?;
    from.into_iter().for_each(|source| attributes.import(source));
    attributes.request.cache_to = to;
    for exporter in &wanted.exporters {
        let export = Export::parse(exporter)?;
        if export.kind == Kind::Image {
            attributes.request.tags.extend(export.names.iter().map(Reference::canonical));
        }
    }
    let cancel = Cancel::default();
    let _guard = Guard(cancel.clone());
    attributes.request.cancel = cancel;
    attributes.request.progress = build.journal.clone();
    let session = state.builds.sessions.get(&wanted.session).await?;
    let (engine, journal, handle) = (state.engine.clone(), build.journal.clone(), Handle::current());
    let client = Arc::new(attachments::OfSession { session: session.clone(), handle: handle.clone() });
    attributes.request.attachments = client.clone();
    let gone = session.clone();
    let solving = tokio::task::spawn_blocking(move || {
        let registries = Registries::with(engine.clone(), client);
        let work =
            Work { engine: &engine, registries: &registries, journal: &journal, session: &session, handle };
        work.run(attributes)
    });
    tokio::select! {
        solved = solving => solved.expect("a panic ends the process"),
        () = gone.gone() => Err(session_gone()),
    }
}

/// What a build works with, on a thread that may wait.
pub struct Work<'a> {
    pub engine: &'a Engine,
    /// With the client's credentials.
    pub registries: &'a Registries,
    pub journal: &'a Journal,
    pub session: &'a Session,
    pub handle: Handle,
}

impl Work<'_> {
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }

    /// The text of the ignore file of one of the client's directories, empty when it has none.
    fn ignore_file(&self, directory: &str, of: &str, into: &Path) -> Result<String, Status> {
        let task = self.journal.task(&format!("[internal] load .dockerignore{of}"));
        let follow = [".dockerignore".to_owned()];
        let wanted = Wanted { directory, follow: &follow, ..Wanted::default() };
        let bytes = self.wait(files::receive(self.session, &wanted, into));
        task.transferred("context", bytes)?;
        Ok(files::text(into, ".dockerignore")?.unwrap_or_default())
    }

    /// The text of the client's Dockerfile, and of the ignore file that is its own.
    fn definition(
        &self,
        directory: &str,
        file_name: &str,
        into: &Path,
    ) -> Result<(String, Option<String>), Status> {
        let task = self.journal.task(&format!("[internal] load build definition from {file_name}"));
        let own_ignore = format!("{file_name}.dockerignore");
        let follow = [file_name.to_owned(), own_ignore.clone()];
        let wanted = Wanted { directory, follow: &follow, ..Wanted::default() };
        let bytes = self.wait(files::receive(self.session, &wanted, into));
        task.transferred("dockerfile", bytes)?;
        let missing = || {
            failure(
                code::UNKNOWN,
                format!("failed to read dockerfile: open {file_name}: no such file or directory"),
            )
        };
        let text = files::text(into, file_name)?.ok_or_else(missing)?;
        Ok((text, files::text(into, &own_ignore)?))
    }

    /// Fetches the client's files and builds.
    ///
    /// # Errors
    /// The build failed; its details name the lines to blame.
    pub fn run(&self, attributes: Attributes) -> Result<Solved, Status> {
        let Attributes { context, remote, dockerfile, directories, file_name, mut request } = attributes;
        let begun_ns = monitor::time::now_ns();
        let scratch = self.engine.store().tmp_dir("context").map_err(|error| broken(&error))?;
        let directory = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).map(|()| path).map_err(|error| broken(&error))
        };
        let definition = |name: &str| self.definition(name, &file_name, &directory("dockerfile")?);

        let (context, dockerfile) = match remote {
            Some(place) => {
                let stop = request.cancel.flag();
                let (context, inside) =
                    fetch(self.engine, self.journal, &place, io::empty(), &file_name, &stop)?;
                let sent = dockerfile.as_deref().map(definition).transpose()?;
                let sent = sent.map(|(text, ignore)| fetched(&file_name, text, ignore));
                (context, sent.unwrap_or(inside))
            }
            None => {
                let (text, own) = definition(dockerfile.as_deref().unwrap_or("dockerfile"))?;
                let (ignore_name, ignore) = match own {
                    Some(text) => (format!("{file_name}.dockerignore"), text),
                    None => {
                        let text = self.ignore_file(&context, "", &directory("ignore")?)?;
                        (".dockerignore".to_owned(), text)
                    }
                };
                let exclude = patterns(&ignore_name, &ignore)?;
                let task = self.journal.task("[internal] load build context");
                let into = directory("files")?;
                let wanted = Wanted { directory: &context, exclude: &exclude, ..Wanted::default() };
                let bytes = self.wait(files::receive(self.session, &wanted, &into));
                task.transferred("context", bytes)?;
                (Source::Dir(into), fetched(&file_name, text, Some(ignore)))
            }
        };

        for (index, (name, from)) in directories.into_iter().enumerate() {
            let ignore =
                self.ignore_file(&from, &format!(" {name}"), &directory(&format!("ignore-{index}"))?)?;
            let exclude = patterns(".dockerignore", &ignore)?;
            let task = self.journal.task(&format!("[context {name}] load from client"));
            let into = directory(&format!("files-{index}"))?;
            let wanted = Wanted { directory: &from, exclude: &exclude, ..Wanted::default() };
            let bytes = self.wait(files::receive(self.session, &wanted, &into));
            task.transferred(&name, bytes)?;
            request.contexts.insert(name, NamedContext::Dir(into));
        }

        let request = BuildRequest { context, dockerfile, ..request };
        let built = execute(self.engine, self.registries, request);
        let built = built.map_err(|error| explain(&error, &file_name, &self.journal.dockerfile()))?;
        Ok(Solved { image_id: built.image_id, begun_ns })
    }
}

fn fetched(name: &str, text: String, ignore: Option<String>) -> DockerfileSource {
    DockerfileSource::Fetched { name: name.to_owned(), text, ignore }
}

/// As [`classic::fetch`], told of as BuildKit does. The builder tells of repositories.
///
/// # Errors
/// It cannot be read, or is no context.
pub fn fetch(
    engine: &Engine,
    journal: &Journal,
    context: &Context,
    upload: impl io::Read + Send + 'static,
    file_name: &str,
    stop: &Arc<AtomicBool>,
) -> Result<(Source, DockerfileSource), Status> {
    let fetch = || {
        let fetched = classic::fetch(engine, context, upload, file_name, stop);
        fetched.map_err(|refusal| failure(code::UNKNOWN, refusal.message))
    };
    match context {
        Context::Repository(_) => fetch(),
        _ => journal.task("[internal] load remote build context").end(fetch()),
    }
}

/// Has the builder do what is wanted.
///
/// # Errors
/// [`BuildError`].
pub fn execute(
    engine: &Engine,
    registries: &Registries,
    request: BuildRequest,
) -> Result<BuildOutput, BuildError> {
    let (images, endpoints) = (engine.images(), engine.build_endpoints());
    let building = BuildContext {
        store: engine.store(),
        images: &images,
        registries: Some(registries),
        endpoints: &endpoints,
        network: engine.net_context().clone(),
        git: GitSetup::Bare,
    };
    build::build(&building, request)
}

fn patterns(name: &str, text: &str) -> Result<Vec<String>, Status> {
    build::ignore_patterns(text).map_err(|(line, reason)| {
        failure(code::UNKNOWN, format!("invalid pattern in {name}:{line}: {reason}"))
    })
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Status {
    failure(code::INTERNAL, with_sources(error))
}

/// A failed build in BuildKit's words, with the lines to blame.
pub fn explain(error: &BuildError, file_name: &str, text: &str) -> Status {
    let (message, lines) = match error {
        BuildError::Cancelled => return failure(code::CANCELLED, "context canceled"),
        BuildError::Syntax { error, .. } => {
            let span = error.span;
            (
                format!("dockerfile parse error on line {}: {}", span.line, error.message),
                Some((span.line, span.end_line)),
            )
        }
        BuildError::Step { location, error, .. } => {
            (with_sources(error), Some((location.line, location.end_line)))
        }
        BuildError::Dockerfile { path, source } if source.kind() == io::ErrorKind::NotFound => {
            (format!("failed to read dockerfile: open {}: no such file or directory", path.display()), None)
        }
        other => (with_sources(other), None),
    };
    let mut status = failure(code::UNKNOWN, message);
    if let Some((line, end_line)) = lines {
        let info = SourceInfo {
            filename: file_name.to_owned(),
            data: STANDARD.encode(text),
            language: "Dockerfile",
        };
        let range = Range { start: Position { line }, end: Position { line: end_line } };
        status.details.push(Blame { info, ranges: vec![range] }.into());
    }
    status
}
