//! `POST /images/create`: pulling an image, or making one of an archive.

use std::sync::Arc;

use ::image::{ImportOptions, PullOptions};
use engine::Engine;
use oci::Reference;
use oci::image::Platform;
use serde_json::json;

use super::progress::Lines;
use super::{Session, at_registry, is_exact, with_tag};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::stream::{Late, Sink, Upload, report};

pub async fn create(request: Request) -> Result<Response, Refusal> {
    let platform = request.query.get("platform").map(Platform::parse).transpose();
    let platform = platform.map_err(|error| Refusal::invalid(error.to_string()))?;
    match request.query.get("fromImage").map(str::to_owned) {
        Some(name) => pull(request, name, platform).await,
        None => import(request, platform).await,
    }
}

/// Pulls what `fromImage` and `tag` name: without a tag, all of the repository.
async fn pull(request: Request, name: String, platform: Option<Platform>) -> Result<Response, Refusal> {
    let tag = request.query.get("tag").unwrap_or_default();
    let all = tag.is_empty() && !is_exact(&name);
    let wanted = with_tag(&name, tag)?.pullable();
    let session = Session::new(&request, wanted.domain())?;
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| {
        let client = session.client()?.until(&sink.stop());
        let lines = Arc::new(Lines::new(sink));
        let options =
            PullOptions { platform, progress: lines.clone(), stop: sink.stop(), ..PullOptions::default() };
        let names = match all {
            true => client
                .tags(&wanted)
                .map_err(|error| at_registry(error.into()))?
                .iter()
                .filter_map(|tag| wanted.with_tag(tag).ok())
                .collect(),
            false => vec![wanted],
        };
        for name in &names {
            pull_one(&engine, &client, name, &options, &lines)?;
        }
        Ok(())
    };
    report("application/json", Late::Line, work).await
}

fn pull_one(
    engine: &Engine,
    client: &::registry::Client,
    name: &Reference,
    options: &PullOptions,
    lines: &Lines,
) -> Result<(), Refusal> {
    let pulled = engine.image_pull(client, name, options).map_err(at_registry)?;
    if let (Some(actual), Some(wanted)) = (pulled.other_platform, &options.platform) {
        lines.say(&format!(
            "WARNING: image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {actual}",
            name.canonical()
        ));
    }
    Ok(())
}

/// Makes an image of the archive that the body is.
async fn import(mut request: Request, platform: Option<Platform>) -> Result<Response, Refusal> {
    let query = &request.query;
    match query.get("fromSrc") {
        Some("-") => {}
        Some(address) => {
            let text = format!("fromSrc: importing from {address} is not supported: send the archive itself");
            return Err(Refusal::unsupported(text));
        }
        None => {
            return Err(Refusal::invalid("neither fromImage nor fromSrc says where the image comes from"));
        }
    }
    let repository = query.get("repo").map(|name| with_tag(name, query.get("tag").unwrap_or_default()));
    let options = ImportOptions {
        changes: query.all("changes").map(str::to_owned).collect(),
        message: query.get("message").unwrap_or("Imported from -").to_owned(),
        reference: repository.transpose()?,
        platform,
    };
    if options.reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Err(Refusal::invalid("cannot import digest reference"));
    }
    let mut archive = Upload::new(std::mem::take(&mut request.body));
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| {
        let image = engine.image_import(&mut archive, &options)?;
        let _ = sink.line(&json!({"status": image.id.to_string()}));
        Ok(())
    };
    report("application/json", Late::Line, work).await
}

/// `POST /images/{name}/tag`.
pub async fn tag(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    let (repository, tag) = (request.query.get("repo"), request.query.get("tag").unwrap_or_default());
    let target = with_tag(repository.unwrap_or_default(), tag)?;
    if target.digest().is_some() {
        return Err(Refusal::invalid("refusing to create a tag with a digest reference"));
    }
    let name = name.join("/");
    request.engine(move |engine| engine.image_tag(&name, &target)).await?;
    Ok(crate::reply::empty(axum::http::StatusCode::CREATED))
}
