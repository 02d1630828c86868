//! `POST /build` with `version=2`: BuildKit's build for clients that drive none, asked for like the classic one.
//!
//! The context comes with the request or one beside it, from the web, or from the client's session, on which credentials, secrets and agents
//! are asked for as well. The answer is lines of JSON: what the build tells, a `StatusResponse` in base64 (`moby.buildkit.trace`), and the image that
//! came of it (`moby.image.id`).

use std::collections::HashMap;
use std::sync::Arc;

use api::buildkit::control::Exporter;
use api::buildkit::{Status, code};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use build::{BuildRequest, Cancel};
use engine::Engine;
use oci::Reference;
use prost::Message as _;
use serde_json::json;
use tokio::runtime::Handle;

use super::attachments::OfSession;
use super::attributes::Attributes;
use super::export::{self, Export, Kind};
use super::journal::Journal;
use super::session::Session;
use super::solve::{self, Solved};
use crate::classic::{Context, Wanted};
use crate::images::{Session as Registries, registries};
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::stream::{Late, Sink, Upload, report};

/// Builds what `wanted` describes, or takes the context of another build.
pub async fn build(mut request: Request, mut wanted: Wanted) -> Result<Response, Refusal> {
    let body = std::mem::take(&mut request.body);
    let uploads = &request.state.builds.uploads;
    let id = request.query.get("buildid").unwrap_or_default().to_owned();
    if let Some(id) = id.strip_prefix("upload-request:") {
        uploads.offer(id, body).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    let exporter = exporter(&mut wanted)?;
    let export = exporter.as_ref().map(Export::parse).transpose().map_err(refused)?;
    let is_image = export.as_ref().is_some_and(|export| export.kind == Kind::Image);
    let is_on_session = wanted.context == Context::Session || export.is_some() && !is_image;
    // Names that are not for an image here are those of an archive.
    let names = export.filter(|_| is_image).map(|export| export.names).unwrap_or_default();
    wanted.request.tags = names.iter().map(Reference::canonical).collect();
    let session = match request.query.get("session") {
        Some(id) => Some(request.state.builds.sessions.get(id).await.map_err(refused)?),
        None if is_on_session => {
            let text = "session: it is missing, and the client is to send or take files on it";
            return Err(Refusal::invalid(text));
        }
        None => None,
    };
    let (state, handle) = (request.state.clone(), Handle::current());
    let registries = match &session {
        Some(session) => {
            let client = Arc::new(OfSession { session: session.clone(), handle: handle.clone() });
            wanted.request.attachments = client.clone();
            Registries::with(state.engine.clone(), client)
        }
        None => registries(&request)?,
    };
    let quiet = request.query.flag("q");
    let upload = match wanted.context {
        Context::Upload => uploads.take(&id).await?,
        _ => body,
    };
    let upload = Upload::new(upload);
    let work = move |sink: &Arc<Sink>| {
        let telling = sink.clone();
        let journal = Arc::new(Journal::telling("posted", move |update| {
            let trace = STANDARD.encode(update.encode_to_vec());
            if !quiet {
                // A client that has gone is noticed elsewhere.
                let _ = telling.line(&json!({"id": "moby.buildkit.trace", "aux": trace}));
            }
        }));
        wanted.request.progress = journal.clone();
        let stop = sink.stop();
        if !id.is_empty() {
            state.builds.make_stoppable(&id, &stop);
        }
        wanted.request.cancel = Cancel::from_flag(stop);
        let engine = &state.engine;
        let work = Work { engine, registries: &registries, journal: &journal, session, handle };
        let solved = work.solve(wanted, upload, sink).map_err(refused)?;
        let exporters = exporter.as_slice();
        let session = work.session.as_ref();
        export::export(engine, &journal, session, work.handle.clone(), exporters, &solved)
            .map_err(refused)?;
        let id = &solved.image_id;
        if is_image {
            let _ = sink.line(&match quiet {
                true => json!({"stream": format!("{id}\n")}),
                false => json!({"id": "moby.image.id", "aux": {"ID": id}}),
            });
        }
        Ok(())
    };
    report("application/json", Late::Line, work).await
}

/// What becomes of the result: an image with all tags, unless something else is said.
fn exporter(wanted: &mut Wanted) -> Result<Option<Exporter>, Refusal> {
    let mut outputs = std::mem::take(&mut wanted.outputs).into_iter();
    let (kind, mut attrs) = match (outputs.next(), outputs.next()) {
        (None, _) => ("moby".to_owned(), HashMap::new()),
        (Some(output), None) => (output.kind, output.attributes.unwrap_or_default()),
        (Some(_), Some(_)) => return Err(Refusal::invalid("multiple outputs not supported")),
    };
    let tags = std::mem::take(&mut wanted.request.tags);
    if matches!(kind.as_str(), "moby" | "image") && !tags.is_empty() {
        attrs.insert("name".to_owned(), tags.join(","));
    }
    Ok((kind != "cacheonly").then_some(Exporter { kind, attrs }))
}

fn refused(status: Status) -> Refusal {
    let number = match status.code {
        code::NOT_FOUND => StatusCode::NOT_FOUND,
        code::INTERNAL => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    Refusal::new(number, status.message)
}

/// What a build works with, on a thread that may wait.
struct Work<'a> {
    engine: &'a Engine,
    registries: &'a Registries,
    journal: &'a Journal,
    session: Option<Session>,
    handle: Handle,
}

impl Work<'_> {
    fn solve(&self, wanted: Wanted, upload: Upload, sink: &Sink) -> Result<Solved, Status> {
        let Self { engine, registries, journal, session, handle } = self;
        let Wanted { request, file_name, context, .. } = wanted;
        if let Some(session) = session.as_ref().filter(|_| context == Context::Session) {
            let handle = handle.clone();
            let work = solve::Work { engine, registries, journal, session, handle };
            return work.run(Attributes::new(file_name, request));
        }
        let begun_ns = monitor::time::now_ns();
        let (context, dockerfile) =
            solve::fetch(engine, journal, &context, upload, &file_name, &sink.stop())?;
        let request = BuildRequest { context, dockerfile, ..request };
        let built = solve::execute(engine, registries, request);
        let built = built.map_err(|error| solve::explain(&error, &file_name, &journal.dockerfile()))?;
        Ok(Solved { image_id: built.image_id, begun_ns })
    }
}
