//! Waiting for the end of a container.

use axum::http::StatusCode;
use engine::model::WaitCondition;
use serde_json::json;

use crate::refusal::{Refusal, with_sources};
use crate::reply::{self, Response};
use crate::request::Request;
use crate::stream;

/// `POST /containers/{id}/wait`. The head of the answer says that the wait has begun: from then on no end is missed.
pub async fn wait(request: Request, id: &str) -> Result<Response, Refusal> {
    let condition = match request.query.get("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => return Err(Refusal::invalid(format!("invalid condition: {other:?}"))),
    };
    let id = id.to_owned();
    let wait = request.engine(move |engine| engine.begin_wait(&id, condition)).await?;
    let engine = request.state.engine.clone();
    let body = stream::body(move |sink| {
        let document = match engine.finish_wait(wait, Some(sink.gone())) {
            Ok(None) => return,
            Ok(Some(code)) => json!({"StatusCode": code}),
            Err(error) => json!({"StatusCode": -1, "Error": {"Message": with_sources(&error)}}),
        };
        let _ = sink.line(&document);
    })?;
    let mut response = reply::typed("application/json", body);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}
