//! A request: its version, its path in pieces, its query, its body.

use std::sync::Arc;
use std::time::Duration;

use api::Version;
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use engine::Engine;
use engine::model::Filters;
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::State;
use crate::connection::Line;
use crate::refusal::Refusal;

/// Longest document taken.
const DOCUMENT_LIMIT: usize = 4 << 20;
/// How long a client may take for a document.
const DOCUMENT_TIME: Duration = Duration::from_secs(120);

/// A request before anything is done about it.
pub struct Request {
    pub state: Arc<State>,
    pub version: Version,
    pub method: Method,
    /// The path without its version, split at its slashes, decoded.
    pub segments: Vec<String>,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Body,
    /// The connection, for those that stop speaking HTTP on it.
    pub upgrade: Option<OnUpgrade>,
    /// Its socket, when an upgrade is asked for.
    pub line: Option<Line>,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// A version that is not served, or a path that is no text.
    pub fn new(mut request: axum::http::Request<Body>, state: Arc<State>) -> Result<Self, Refusal> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let line = request.extensions_mut().remove::<Line>();
        let line = line.filter(|_| request.headers().contains_key(header::UPGRADE));
        let (parts, body) = request.into_parts();
        let mut segments = Vec::new();
        for segment in parts.uri.path().trim_start_matches('/').split('/') {
            let text = percent_decode_str(segment).decode_utf8();
            segments.push(text.map_err(|_| Refusal::invalid("the path is not UTF-8"))?.into_owned());
        }
        let version =
            match segments[0].strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            {
                Some(version) => {
                    let version = version.parse::<Version>().and_then(Version::served);
                    let version = version.map_err(|error| Refusal::invalid(error.to_string()))?;
                    segments.remove(0);
                    version
                }
                None => Version::MAX,
            };
        let query = Query::parse(parts.uri.query());
        let (method, headers) = (parts.method, parts.headers);
        Ok(Self { state, version, method, segments, query, headers, body, upgrade, line })
    }

    /// Does something with the engine on a thread that may wait.
    ///
    /// # Errors
    /// What `call` fails with.
    pub fn engine<T, E, F>(&self, call: F) -> impl Future<Output = Result<T, Refusal>> + use<T, E, F>
    where
        T: Send + 'static,
        E: Into<Refusal>,
        F: FnOnce(&Engine) -> Result<T, E> + Send + 'static,
    {
        let engine = self.state.engine.clone();
        blocking(move || call(&engine).map_err(E::into))
    }

    /// The body as a document; `None` when there is none.
    ///
    /// # Errors
    /// One that is too long, too slow, of another type, or not what is expected.
    pub async fn document<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refusal> {
        let body = std::mem::take(&mut self.body);
        let collected = tokio::time::timeout(DOCUMENT_TIME, Limited::new(body, DOCUMENT_LIMIT).collect());
        let bytes = match collected.await {
            Err(_) => {
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive"));
            }
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let text = format!("request body too large: at most {DOCUMENT_LIMIT} bytes are taken");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            Ok(Err(_)) => return Err(Refusal::invalid("the request ended before its body was complete")),
            Ok(Ok(collected)) => collected.to_bytes(),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let media_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default();
        if media_type.split(';').next().map(str::trim) != Some("application/json") {
            let text = format!("malformed Content-Type header ({media_type}): must be 'application/json'");
            return Err(Refusal::invalid(text));
        }
        // Clients that have nothing to say spell it out.
        if bytes.trim_ascii() == b"null" {
            return Ok(None);
        }
        // Lists would be taken for documents whose first members they are.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Refusal::invalid("invalid JSON: the body is no object"));
        }
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let document = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (path, cause) = (error.path().to_string(), error.inner());
            match path.as_str() {
                "." | "?" => Refusal::invalid(format!("invalid JSON: {cause}")),
                path => Refusal::invalid(format!("invalid JSON: {path}: {cause}")),
            }
        })?;
        match reader.end() {
            Ok(()) => Ok(document),
            Err(_) => Err(Refusal::invalid("unexpected content after JSON")),
        }
    }

    /// The body as a document that has to be there.
    ///
    /// # Errors
    /// As [`Request::document`].
    pub async fn required<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        self.document()
            .await?
            .ok_or_else(|| Refusal::invalid("invalid JSON: got EOF while reading request body"))
    }
}

/// Runs `work` on a thread that may wait.
///
/// # Errors
/// Its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.expect("a panic ends the process")
}

/// The query of a URL.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of `key`; an empty one counts as none.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next().filter(|value| !value.is_empty())
    }

    pub fn all<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// A switch: anything but nothing, `0`, `no`, `false` and `none` is on.
    pub fn flag(&self, key: &str) -> bool {
        let value = self.get(key).unwrap_or_default().trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number.
    ///
    /// # Errors
    /// Anything else.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let wrong = |text| Refusal::invalid(format!("invalid value {text:?} for {key}: it must be a number"));
        self.get(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// Adds to `filters` what everything has to match besides what is asked for.
    ///
    /// # Errors
    /// Filters that cannot be read.
    pub fn add_filter(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        self.filters()?;
        let text = self.get("filters").unwrap_or("{}");
        let mut filters: Map<String, Value> = serde_json::from_str(text).expect("they were read before");
        match filters.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(values) => values.push(value.into()),
            Value::Object(values) => drop(values.insert(value.to_owned(), Value::Bool(true))),
            _ => unreachable!("filters are lists or sets"),
        }
        self.0.retain(|(name, _)| name != "filters");
        self.0.push(("filters".to_owned(), Value::Object(filters).to_string()));
        Ok(())
    }

    /// `filters`: a JSON object of lists, or of sets (before 1.22, and by Go clients still).
    ///
    /// # Errors
    /// Anything else.
    pub fn filters(&self) -> Result<Filters, Refusal> {
        let mut filters = Filters::default();
        let Some(text) = self.get("filters") else { return Ok(filters) };
        let wrong = || Refusal::invalid("invalid filter");
        let Ok(Value::Object(entries)) = serde_json::from_str(text) else { return Err(wrong()) };
        for (key, values) in entries {
            match values {
                Value::Array(values) => {
                    for value in values {
                        filters.add(&key, value.as_str().ok_or_else(wrong)?);
                    }
                }
                Value::Object(values) => {
                    for (value, on) in values {
                        if on != Value::Bool(false) {
                            filters.add(&key, value);
                        }
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(filters)
    }
}
