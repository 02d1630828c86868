//! One request, with what it takes until a registry answers it: a token, patience, another place.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oci::Reference;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Client;
use super::endpoint::Endpoint;
use super::patience;
use crate::RegistryError;
use crate::hosts::Scheme;

/// Documents and error texts; registries themselves limit manifests to 4 MiB.
const DOCUMENT_LIMIT: usize = 8 << 20;
/// How long a document may take that comes drop by drop.
const DOCUMENT_TIME: Duration = Duration::from_secs(120);
const MESSAGE_LIMIT: usize = 500;
const REDIRECTS: usize = 10;
const ATTEMPTS: u32 = 5;
/// How often it is looked whether the work is still wanted.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// What is asked of a registry.
pub struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Made anew for each attempt; what cannot be had twice is not sent this way.
    pub body: &'a (dyn Fn() -> Body + Sync),
    /// `repository:library/busybox:pull`; several have blanks between them.
    pub scope: &'a str,
}

/// A body of nothing.
pub fn no_body() -> Body {
    Body::default()
}

/// The scope of reading a repository.
pub fn pull_scope(reference: &Reference) -> String {
    format!("repository:{}:pull", reference.path())
}

/// The scope of changing a repository.
pub fn push_scope(reference: &Reference) -> String {
    format!("repository:{}:pull,push", reference.path())
}

/// The scope of removing something from a repository.
pub fn delete_scope(reference: &Reference) -> String {
    format!("repository:{}:pull,push,delete", reference.path())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorEntry {
    code: String,
    message: String,
}

impl Client {
    /// Runs a future of this module on the calling thread, until nobody wants what comes of it.
    pub(super) fn block_on<T>(
        &self,
        future: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.inner.runtime.handle().block_on(async {
            tokio::select! {
                biased;
                () = self.stopped(), if self.is_stopped() => Err(RegistryError::Stopped),
                result = future => result,
                () = self.stopped() => Err(RegistryError::Stopped),
            }
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stops.iter().any(|stop| stop.load(Ordering::Relaxed))
    }

    async fn stopped(&self) {
        if self.stops.is_empty() {
            return std::future::pending().await;
        }
        while !self.is_stopped() {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }

    /// Lets some time pass before the attempt after the one of this number.
    pub(super) fn pause(&self, attempt: u32) -> Result<(), RegistryError> {
        let pause = patience::pause(attempt, self.inner.options.pause_unit);
        self.block_on(async {
            tokio::time::sleep(pause).await;
            Ok(())
        })
    }

    /// Sends `request` until it is answered with something that is neither a challenge nor a plea for patience.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let unit = self.inner.options.pause_unit;
        let (mut challenged, mut attempt) = (false, 1);
        if endpoint.host.scheme == Scheme::TlsFirst {
            endpoint.settle().await;
        }
        loop {
            let used = endpoint.access.granted(request.scope);
            let answer = self.follow(endpoint, request, used.as_ref()).await;
            if endpoint.is_doubtful(&answer) {
                endpoint.settle().await;
                continue;
            }
            if let Ok(response) = &answer
                && response.status() == StatusCode::UNAUTHORIZED
                && !challenged
                && self.authenticate(endpoint, request.scope, used.as_ref(), response).await?
            {
                challenged = true;
                continue;
            }
            let wait = match &answer {
                Ok(response) => patience::asked(response, attempt, unit),
                Err(error) if error.is_passing() => Some(patience::pause(attempt, unit)),
                Err(_) => None,
            };
            match wait {
                Some(wait) if attempt < ATTEMPTS => tokio::time::sleep(wait).await,
                _ => return answer,
            }
            attempt += 1;
        }
    }

    /// Sends once, following redirects. Only the registry itself is told who we are (CVE-2020-15157).
    async fn follow(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut url = endpoint.settled_url(&request.url);
        for _ in 0..=REDIRECTS {
            let mut headers = request.headers.clone();
            headers.extend(ours(endpoint, &url, authorization));
            let sent = endpoint
                .http
                .request(request.method.clone(), url.clone())
                .headers(headers)
                .body((request.body)())
                .send()
                .await;
            let response = sent.map_err(|source| failed(endpoint, &url, source))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            url = redirect(endpoint, &url, &response)?;
        }
        let (host, url) = (endpoint.domain.clone(), request.url.to_string());
        Err(RegistryError::Redirect { host, target: url.clone(), url, why: "it goes on and on" })
    }
}

/// The headers that are for the endpoint alone: who we are, and what its configuration adds.
pub(super) fn ours(endpoint: &Endpoint, url: &Url, authorization: Option<&HeaderValue>) -> HeaderMap {
    if !same_host(url, endpoint.base()) {
        return HeaderMap::new();
    }
    let mut headers = endpoint.host.headers.clone();
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, value.clone());
    }
    headers
}

pub(super) fn failed(endpoint: &Endpoint, url: &Url, source: reqwest::Error) -> RegistryError {
    let host = endpoint.domain.clone();
    let source = source.without_url();
    if source.is_connect() {
        RegistryError::Connect { host, source }
    } else {
        RegistryError::Transfer { host, url: shown(url), source }
    }
}

/// A URL for messages. The queries of other hosts are often keys to what is there.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some_and(|query| query.len() > 80) {
        url.set_query(Some("…"));
    }
    url.to_string()
}

fn redirect(endpoint: &Endpoint, url: &Url, response: &Response) -> Result<Url, RegistryError> {
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why| RegistryError::Redirect {
        host: endpoint.domain.clone(),
        url: shown(url),
        target: target.to_owned(),
        why,
    };
    if target.is_empty() {
        return Err(refused("it says not where to"));
    }
    let next = url.join(target).map_err(|_| refused("it is no URL"))?;
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(refused("it leads from TLS to no TLS")),
        (_, "http" | "https") => Ok(next),
        _ => Err(refused("it is neither http nor https")),
    }
}

pub(super) fn same_host(a: &Url, b: &Url) -> bool {
    (a.scheme(), a.host(), a.port_or_known_default()) == (b.scheme(), b.host(), b.port_or_known_default())
}

/// The whole body of a small answer.
pub(super) async fn read_document(host: &str, mut response: Response) -> Result<Vec<u8>, RegistryError> {
    let url = shown(response.url());
    let malformed = |what: String| RegistryError::Malformed { host: host.to_owned(), url: url.clone(), what };
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let chunk = response.chunk().await.map_err(|source| RegistryError::Transfer {
                host: host.to_owned(),
                url: url.clone(),
                source: source.without_url(),
            })?;
            let Some(chunk) = chunk else { return Ok(()) };
            if bytes.len() + chunk.len() > DOCUMENT_LIMIT {
                return Err(malformed(format!("more than {DOCUMENT_LIMIT} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
    };
    match tokio::time::timeout(DOCUMENT_TIME, read).await {
        Ok(result) => result.map(|()| bytes),
        Err(_) => Err(malformed(format!("it does not end within {} s", DOCUMENT_TIME.as_secs()))),
    }
}

/// A small answer as JSON, whatever its media type.
pub(super) async fn read_json<T: DeserializeOwned>(
    host: &str,
    response: Response,
) -> Result<T, RegistryError> {
    let response = expect(host, response, &[StatusCode::OK]).await?;
    let url = shown(response.url());
    let bytes = read_document(host, response).await?;
    serde_json::from_slice(&bytes).map_err(|e| RegistryError::Malformed {
        host: host.to_owned(),
        url,
        what: e.to_string(),
    })
}

/// Makes an error of any other status, with what the registry says about it.
pub(super) async fn expect(
    host: &str,
    response: Response,
    expected: &[StatusCode],
) -> Result<Response, RegistryError> {
    let status = response.status();
    if expected.contains(&status) {
        return Ok(response);
    }
    let host = host.to_owned();
    if status == StatusCode::UNAUTHORIZED {
        return Err(RegistryError::Unauthorized { host });
    }
    let url = shown(response.url());
    let later = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bytes = read_document(&host, response).await.unwrap_or_default();
    let mut message =
        said(&bytes).unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_lowercase());
    if let Some(later) = later {
        message.push_str(&format!(" (it may be asked again after {later})"));
    }
    Err(RegistryError::Status { host, url, status: status.as_u16(), message })
}

/// What an answer's error document says first.
pub(super) async fn words(host: &str, response: Response) -> Option<String> {
    said(&read_document(host, response).await.ok()?)
}

/// What an error document says first, fit for a line on a terminal.
pub fn said(document: &[u8]) -> Option<String> {
    let document: ErrorDocument = serde_json::from_slice(document).ok()?;
    let ErrorEntry { code, message } = document.errors.into_iter().next()?;
    let text = format!("{}: {message}", code.to_lowercase().replace('_', " "));
    Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_LIMIT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(said(text.as_bytes()).as_deref(), expected, "{text}");
        };
        let denied = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such\u001b[2J thing","detail":{}}]}"#;
        check(denied, Some("name unknown: no such [2J thing"));
        check(r#"{"errors":[]}"#, None);
        check("{}", None);
        check("<html>", None);
    }

    #[test]
    fn another_port_or_scheme_is_another_host() {
        let url = |text| Url::parse(text).unwrap();
        let check = |a, b, expected| assert_eq!(same_host(&url(a), &url(b)), expected, "{a} and {b}");
        check("https://a/x", "https://a:443/y", true);
        check("https://a", "https://a:444", false);
        check("https://a", "http://a:443", false);
        check("https://a", "https://a.b", false);
    }

    proptest::proptest! {
        #[test]
        fn any_document_is_an_answer(text in ".*", value in r#"[a-z"\[\]{}:, ]*"#) {
            let _ = said(text.as_bytes());
            let _ = said(format!("{{\"errors\":{value}}}").as_bytes());
        }
    }
}
