//! Listing and inspecting.

use engine::model::ListOptions;
use engine::view;

use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `GET /containers/json`.
pub async fn list(request: Request) -> Result<Response, Refusal> {
    let limit = request.query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let options = ListOptions {
        all: request.query.flag("all"),
        last: limit.filter(|limit| *limit > 0),
        size: request.query.flag("size"),
        filters: request.query.filters()?,
    };
    let containers = request.engine(move |engine| engine.list(&options)).await?;
    let now = monitor::time::now_ns();
    Ok(reply::ok(&containers.iter().map(|container| view::container_summary(container, now)).collect()))
}

/// `GET /containers/{id}/json`.
pub async fn inspect(request: Request, id: &str) -> Result<Response, Refusal> {
    let (id, sized) = (id.to_owned(), request.query.flag("size"));
    let inspect = request
        .engine(move |engine| if sized { engine.inspect_sized(&id) } else { engine.inspect(&id) })
        .await?;
    Ok(reply::ok(&view::container(&inspect)))
}
