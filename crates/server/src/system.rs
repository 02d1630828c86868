//! The server about itself: ping, version, info, events.

use api::Version;
use axum::body::Body;
use axum::http::{HeaderName, header};
use engine::{Engine, parse, view};
use monitor::events::{Next, Window};
use std::os::fd::AsFd as _;
use std::time::Duration;
use sys::event::{PollFd, PollFlags, poll};

use crate::refusal::Refusal;
use crate::reply::{self, Response, with};
use crate::request::Request;
use crate::stream;

/// `GET /_ping`.
pub fn ping() -> Response {
    let response = reply::typed("text/plain; charset=utf-8", Body::from("OK"));
    let response = with(response, HeaderName::from_static("docker-experimental"), "false");
    let response = with(response, HeaderName::from_static("builder-version"), "2");
    let response = with(response, HeaderName::from_static("swarm"), "inactive");
    let response = with(response, header::CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    with(response, header::PRAGMA, "no-cache")
}

/// `GET /version`.
pub fn version() -> Response {
    reply::ok(&view::version(&Engine::version()))
}

/// `GET /info`.
pub async fn info(request: Request) -> Result<Response, Refusal> {
    let info = request.engine(|engine| engine.info()).await?;
    let mut body = view::info(&info, monitor::time::now_ns());
    if request.version < Version::minor(25) {
        let name = |option: &String| {
            option.split(',').find_map(|word| word.strip_prefix("name=")).unwrap_or(option).to_owned()
        };
        body["SecurityOptions"] = info.security_options.iter().map(name).collect();
        body["ExecutionDriver"] = "<not supported>".into();
    }
    Ok(reply::ok(&body))
}

/// `GET /events`: those since `since`, then those that come, until `until`.
pub async fn events(request: Request) -> Result<Response, Refusal> {
    let now = monitor::time::now_ns();
    let time = |key: &str| request.query.get(key).map(|text| parse::timestamp_ns(text, now)).transpose();
    let window = Window { since_ns: time("since")?, until_ns: time("until")? };
    let filters = request.query.filters()?;
    // At once and on no other thread: the client goes on, and what happens then it wants to hear of.
    let mut events = request.state.engine.events(window, filters)?;
    let body = stream::body(move |sink| {
        loop {
            let line = match events.follower().next_within(Some(Duration::ZERO)) {
                Ok(Next::Event(event)) if events.shows(&event) => format!("{}\n", event.to_json()),
                Ok(Next::Event(_)) => continue,
                Ok(Next::End) | Err(_) => return,
                Ok(Next::Idle) => {
                    let left = window.until_ns.map(|until| until.saturating_sub(monitor::time::now_ns()));
                    let wait = left.map(|left| Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
                    let follower = events.follower();
                    let mut fds =
                        [follower.as_fd(), sink.gone()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    match poll(&mut fds, wait) {
                        Ok(_) if fds[1].revents().is_empty() => continue,
                        _ => return,
                    }
                }
            };
            if sink.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(reply::typed("application/json", body))
}
