//! Images as archives: saving and loading.

use std::sync::Arc;

use ::image::SaveOptions;
use serde_json::json;

use super::platform;
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::stream::{Late, Sink, Upload, pieces, report};

/// `GET /images/get?names=…`.
pub async fn save(request: Request) -> Result<Response, Refusal> {
    let names: Vec<String> = request.query.all("names").map(str::to_owned).collect();
    match names.is_empty() {
        true => Err(Refusal::invalid("names: no image is named")),
        false => write(request, names).await,
    }
}

/// `GET /images/{name}/get`.
pub async fn save_one(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    write(request, vec![name.join("/")]).await
}

async fn write(request: Request, names: Vec<String>) -> Result<Response, Refusal> {
    let options = SaveOptions { platform: platform(&request, 48)?, ..SaveOptions::default() };
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| pieces(sink, |output| engine.image_save(&names, output, &options));
    report("application/x-tar", Late::Broken, work).await
}

/// `POST /images/load`. With `quiet` nothing is told but the names: hull reads an archive in one go, layers have no turns.
pub async fn load(mut request: Request) -> Result<Response, Refusal> {
    let platform = platform(&request, 48)?;
    let mut archive = Upload::new(std::mem::take(&mut request.body));
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| {
        for loaded in engine.image_load(&mut archive, platform.as_ref())? {
            let id = loaded.references.is_empty().then(|| format!("Loaded image ID: {}\n", loaded.image));
            let names = loaded.references.iter().map(|name| format!("Loaded image: {}\n", name.familiar()));
            for line in id.into_iter().chain(names) {
                let _ = sink.line(&json!({ "stream": line }));
            }
        }
        Ok(())
    };
    report("application/json", Late::Line, work).await
}
