//! Building responses.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use oci::Digest;
use serde_json::Value;

pub type Response = axum::http::Response<Body>;

pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// A response without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// A document.
pub fn json(value: &Value) -> Response {
    bytes("application/json", value.to_string().into_bytes())
}

/// Some bytes in memory.
pub fn bytes(media_type: &str, bytes: Vec<u8>) -> Response {
    let length = bytes.len();
    let response = Response::new(Body::from(bytes));
    with(with(response, header::CONTENT_TYPE, media_type), header::CONTENT_LENGTH, length)
}

/// The same with one more header; a value that cannot be one, which only hostile names make, is left out.
pub fn with(mut response: Response, name: HeaderName, value: impl ToString) -> Response {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        response.headers_mut().append(name, value);
    }
    response
}

/// How caches and `If-None-Match` know content.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether a client that sent `If-None-Match: tags` has `digest` already.
pub fn is_known(tags: Option<&HeaderValue>, digest: &Digest) -> bool {
    let Some(tags) = tags.and_then(|tags| tags.to_str().ok()) else { return false };
    tags.split(',').map(str::trim).any(|tag| {
        // Some clients forget the quotes.
        tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == digest.to_string()
    })
}

/// A link to the page that follows.
pub fn with_next(response: Response, path: &str, query: &[(&str, &str)]) -> Response {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    with(response, header::LINK, format!("<{path}?{query}>; rel=\"next\""))
}
