//! `POST /images/{name}/push`.

use std::sync::Arc;

use ::image::{Platforms, PushOptions};
use serde_json::json;

use super::progress::Lines;
use super::{Session, is_exact, platform, with_tag};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::stream::{Late, Sink, report};

/// Pushes what the path and `tag` name: without a tag, all of the repository.
pub async fn push(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    let name = name.join("/");
    let tag = request.query.get("tag").unwrap_or_default();
    let all = tag.is_empty() && !is_exact(&name);
    let wanted = with_tag(&name, tag)?;
    let platforms = platform(&request, 46)?.map_or(Platforms::Usual, Platforms::One);
    let session = Session::new(&request, wanted.domain())?;
    let engine = request.state.engine.clone();
    let work = move |sink: &Arc<Sink>| {
        let names = match all {
            true => engine.images().tags_of(&wanted)?,
            false => vec![wanted.clone()],
        };
        let client = session.client()?.until(&sink.stop());
        let lines = Arc::new(Lines::new(sink));
        lines.say(&format!("The push refers to repository [{}]", wanted.name()));
        let options = PushOptions { platforms, progress: lines.clone(), ..PushOptions::default() };
        for name in &names {
            let pushed = engine.image_push(&client, name, &options)?;
            if let Some(note) = pushed.note(name) {
                lines.say(&note);
            }
            let (tag, digest, size) = (name.tag().unwrap_or_default(), pushed.digest, pushed.size);
            lines.say(&format!("{tag}: digest: {digest} size: {size}"));
            let aux = json!({"Tag": tag, "Digest": digest.to_string(), "Size": size});
            let _ = sink.line(&json!({"progressDetail": {}, "aux": aux}));
        }
        Ok(())
    };
    report("application/json", Late::Line, work).await
}
