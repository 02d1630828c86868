//! Errors as clients read them: a status, and `{"message": …}`.

use axum::http::StatusCode;
use diag::Diagnose;
pub use diag::with_sources;
use serde_json::json;

use crate::reply::{self, Response};

/// A request that is not done.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What is asked for is known, and hull does not do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// No handler is there for this path, or for this method on it.
    pub fn no_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    pub fn into_response(self) -> Response {
        reply::json(self.status, &json!({ "message": self.message }))
    }
}

impl<E: Diagnose> From<E> for Refusal {
    fn from(error: E) -> Self {
        let status = StatusCode::from_u16(diag::http_status(error.class()));
        Self::new(status.expect("it is a number of HTTP's"), with_sources(&error))
    }
}
