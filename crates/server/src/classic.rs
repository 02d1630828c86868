//! `POST /build`: the classic builder, whose client sends the whole context, or says where it is, and reads lines.

mod parameters;
mod steps;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::build::{BuildError, BuildRequest, Cancel, DockerfileSource, Source, StepError, sources};
use axum::http::StatusCode;
use engine::Engine;
use serde_json::json;

use crate::build;
use crate::images::registries;
use crate::refusal::{Refusal, with_sources};
use crate::reply::Response;
use crate::request::Request;
use crate::stream::{Late, Sink, Upload, failure, report};
pub use parameters::{Context, Wanted};
use steps::Steps;

/// Builds an image.
pub async fn build(mut request: Request) -> Result<Response, Refusal> {
    let wanted = parameters::read(&request.query)?;
    if wanted.is_buildkit {
        return build::posted(request, wanted).await;
    }
    let quiet = request.query.flag("q");
    let session = registries(&request)?;
    let engine = request.state.engine.clone();
    let upload = Upload::new(std::mem::take(&mut request.body));
    let work = move |sink: &Arc<Sink>| {
        let steps = Arc::new(Steps::new(sink, quiet));
        let stop = sink.stop();
        let (context, dockerfile) = fetch(&engine, &wanted.context, upload, &wanted.file_name, &stop)?;
        let request = BuildRequest {
            context,
            dockerfile,
            progress: steps.clone(),
            cancel: Cancel::from_flag(stop),
            ..wanted.request
        };
        match build::execute(&engine, &session, request) {
            Ok(output) => {
                if quiet {
                    let _ = sink.line(&json!({"stream": format!("{}\n", output.image_id)}));
                }
                Ok(())
            }
            Err(error) => failed(sink, &steps, error),
        }
    };
    report("application/json", Late::Line, work).await
}

/// Tells why a build failed; a step's exit status is what the client ends with.
fn failed(sink: &Sink, steps: &Steps, error: BuildError) -> Result<(), Refusal> {
    match &error {
        BuildError::Step { error: StepError::Exit { command, code }, .. } => {
            steps.show_failed();
            let text = format!("The command '{command}' returned a non-zero code: {code}");
            let _ = sink.line(&failure(&text, Some(*code)));
            Ok(())
        }
        BuildError::Step { location, error: cause, .. } if steps.have_begun() => {
            steps.show_failed();
            let text = format!("{}: {}", location.instruction, with_sources(cause));
            let _ = sink.line(&failure(&text, None));
            Ok(())
        }
        BuildError::Dockerfile { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let text = format!("Cannot locate specified Dockerfile: {}", path.display());
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
        _ => Err(error.into()),
    }
}

/// The context and the Dockerfile in it: those in `upload`, or at an address. Repositories are for the builder to clone.
pub fn fetch(
    engine: &Engine,
    context: &Context,
    upload: impl io::Read + Send + 'static,
    file_name: &str,
    stop: &Arc<AtomicBool>,
) -> Result<(Source, DockerfileSource), Refusal> {
    let read = match context {
        Context::Repository(repository) => {
            let dockerfile = DockerfileSource::InContext(file_name.into());
            return Ok((Source::Repository(repository.clone()), dockerfile));
        }
        Context::Remote(address) => {
            let client = engine.registry()?.until(stop);
            let download = client.download(address).map_err(|error| {
                let refusal = Refusal::from(error);
                let shown = registry::without_credentials(address);
                let message = format!("error downloading remote context {shown}: {}", refusal.message);
                match refusal.status {
                    // It is the other server that is not there.
                    StatusCode::SERVICE_UNAVAILABLE => {
                        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
                    }
                    status => Refusal::new(status, message),
                }
            });
            sources(download?, file_name.as_ref())
        }
        Context::Body | Context::Session | Context::Upload => sources(upload, file_name.as_ref()),
    };
    read.map_err(|error| Refusal::invalid(format!("cannot read the build context: {error}")))
}
