//! `POST /build`: the classic builder, whose client sends the whole context and reads lines.

mod parameters;
mod steps;

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use ::build::{BuildContext, BuildError, BuildRequest, Cancel, DockerfileSource, Source, StepError};
use axum::http::StatusCode;
use serde_json::json;

use crate::images::registries;
use crate::refusal::{Refusal, with_sources};
use crate::reply::Response;
use crate::request::Request;
use crate::stream::{Late, Sink, Upload, failure, report};
use steps::Steps;

/// Builds an image of the archive that the body is.
pub async fn build(mut request: Request) -> Result<Response, Refusal> {
    let wanted = parameters::read(&request.query)?;
    let quiet = request.query.flag("q");
    let session = registries(&request)?;
    let engine = request.state.engine.clone();
    let upload = Upload::new(std::mem::take(&mut request.body));
    let work = move |sink: &Arc<Sink>| {
        let steps = Arc::new(Steps::new(sink, quiet));
        let (context, dockerfile) = source(upload, wanted.dockerfile)
            .map_err(|error| Refusal::invalid(format!("cannot read the build context: {error}")))?;
        let request = BuildRequest {
            context,
            dockerfile,
            progress: steps.clone(),
            cancel: Cancel::from_flag(sink.stop()),
            ..wanted.request
        };
        let (images, endpoints) = (engine.images(), engine.build_endpoints());
        let building = BuildContext {
            store: engine.store(),
            images: &images,
            registries: Some(&session),
            endpoints: &endpoints,
            network: engine.net_context().clone(),
        };
        match ::build::build(&building, request) {
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
        BuildError::Read { what: "Dockerfile", path, source } if source.kind() == io::ErrorKind::NotFound => {
            let text = format!("Cannot locate specified Dockerfile: {}", path.display());
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
        _ => Err(error.into()),
    }
}

/// The context and the Dockerfile in it; a body that is no archive is the Dockerfile itself.
fn source(upload: Upload, dockerfile: DockerfileSource) -> io::Result<(Source, DockerfileSource)> {
    let mut input = BufReader::with_capacity(1024, upload);
    let mut start = Vec::new();
    while start.len() < 512 {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let taken = piece.len();
        start.extend_from_slice(piece);
        input.consume(taken);
    }
    let is_archive = image::archive::Compression::of(&start) != image::archive::Compression::None
        || start.get(257..262) == Some(b"ustar")
        || start.iter().all(|byte| *byte == 0);
    let mut whole = io::Cursor::new(start).chain(input);
    if is_archive {
        return Ok((Source::Tar(Box::new(whole)), dockerfile));
    }
    let mut text = String::new();
    whole.read_to_string(&mut text)?;
    Ok((Source::Empty, DockerfileSource::Text(text)))
}
