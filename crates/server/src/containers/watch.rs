//! Looking at containers while they run, and at what they changed.

use std::time::{Duration, Instant};

use api::Version;
use engine::model::Stats;
use engine::stats::StatsError;
use engine::view;
use sys::event::{PollFlags, poll_one};

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::stream;

/// Between two readings; long enough for a rate to mean something.
const INTERVAL: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/top`.
pub async fn top(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, options) = (id.to_owned(), request.query.get("ps_args").map(str::to_owned));
    let top = request.engine(move |engine| engine.top(&id, options.as_slice())).await?;
    Ok(reply::ok(&view::top(&top)))
}

/// `GET /containers/{id}/changes`.
pub async fn changes(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    let changes = request.engine(move |engine| engine.diff(&id)).await?;
    Ok(reply::ok(&view::changes(&changes)))
}

/// `GET /containers/{id}/stats`: a reading each second until the client or the container goes, or one that has another before it,
/// or, with `one-shot`, one alone.
pub async fn stats(request: Request, id: &str) -> Result<Response, Refusal> {
    let query = &request.query;
    let stream = query.get("stream").is_none() || query.flag("stream");
    let one_shot = request.version >= Version::minor(41) && query.flag("one-shot");
    if stream && one_shot {
        return Err(Refusal::invalid("cannot have stream=true and one-shot=true"));
    }
    let id = id.to_owned();
    let (container, first) =
        request.engine(move |engine| Ok::<_, StatsError>((engine.inspect(&id)?, engine.stats(&id)?))).await?;
    let engine = request.state.engine.clone();
    let body = stream::body(move |sink| {
        let (mut before, mut now, mut due) = (Stats::default(), first, Instant::now());
        let mut is_wanted = stream || one_shot || !container.state.status.is_running();
        loop {
            if is_wanted && (sink.line(&view::stats(&container, &now, &before)).is_err() || !stream) {
                return;
            }
            due += INTERVAL;
            let pause = due.saturating_duration_since(Instant::now());
            if poll_one(sink.gone(), PollFlags::IN, Some(pause)).unwrap_or(true) {
                return;
            }
            (before, is_wanted) = (now, true);
            now = match engine.stats(container.id.as_str()) {
                Ok(stats) => stats,
                Err(StatsError::Lookup(_)) => return,
                // Its last process has ended since its state was looked at: it uses nothing.
                Err(StatsError::Cgroup { .. }) => Stats::default(),
            };
        }
    })?;
    Ok(reply::typed("application/json", body))
}
