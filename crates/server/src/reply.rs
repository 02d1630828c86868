//! Building responses.

use api::Version;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

pub type Response = axum::http::Response<Body>;

const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

/// A response without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A document.
pub fn json(status: StatusCode, value: &Value) -> Response {
    let mut text = serde_json::to_vec(value).expect("names are strings");
    text.push(b'\n');
    let mut response = typed("application/json", Body::from(text));
    *response.status_mut() = status;
    response
}

/// A document that was asked for.
pub fn ok(value: &Value) -> Response {
    json(StatusCode::OK, value)
}

/// A body of some media type.
pub fn typed(media_type: &str, body: Body) -> Response {
    with(Response::new(body), header::CONTENT_TYPE, media_type)
}

/// The same with one more header; a value that cannot be one is left out.
pub fn with(mut response: Response, name: HeaderName, value: impl ToString) -> Response {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Adds what every response says of the server.
pub fn sign(response: &mut Response) {
    let headers = response.headers_mut();
    let version = Version::MAX.to_string();
    headers.extend(HeaderValue::from_str(&version).ok().map(|version| (API_VERSION, version)));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    let server = concat!("Docker/", env!("CARGO_PKG_VERSION"), " (linux) hull");
    headers.insert(header::SERVER, HeaderValue::from_static(server));
}
