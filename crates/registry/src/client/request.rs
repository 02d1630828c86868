//! One request, with what it takes until a registry answers it: a token, patience, another place.

use std::time::Duration;

use oci::Reference;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Client;
use super::endpoint::Endpoint;
use crate::RegistryError;

/// Documents and error texts; registries themselves limit manifests to 4 MiB.
const DOCUMENT_LIMIT: usize = 8 << 20;
const REDIRECTS: usize = 10;
const ATTEMPTS: u32 = 5;

/// What is asked of a registry.
pub struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Made anew for each attempt.
    pub body: &'a (dyn Fn() -> Body + Sync),
    /// `repository:library/busybox:pull`.
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
    /// Runs a future of this module on the calling thread.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.inner.runtime.handle().block_on(future)
    }

    /// Sends `request` until it is answered with something that is neither a challenge nor a plea for patience.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<Response, RegistryError> {
        let mut challenged = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let used = endpoint.access.granted(request.scope);
            let answer = self.follow(endpoint, request, used.as_ref()).await;
            let wait = match &answer {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !challenged => {
                    challenged = true;
                    if self.authenticate(endpoint, request.scope, used.as_ref(), response).await? {
                        attempt -= 1;
                        continue;
                    }
                    None
                }
                Ok(response) => patience(response),
                Err(RegistryError::Connect { source, .. } | RegistryError::Transfer { source, .. })
                    if source.is_timeout() || !source.is_builder() =>
                {
                    Some(Duration::from_millis(200 << attempt))
                }
                Err(_) => None,
            };
            match wait {
                Some(wait) if attempt < ATTEMPTS => tokio::time::sleep(wait).await,
                _ => return answer,
            }
        }
    }

    /// Sends once, following redirects. Only the registry itself is told who we are (CVE-2020-15157).
    async fn follow(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let mut headers = request.headers.clone();
            if let Some(value) = authorization.filter(|_| same_host(&url, &endpoint.base)) {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let sent = endpoint
                .http
                .request(request.method.clone(), url.clone())
                .headers(headers)
                .body((request.body)())
                .send()
                .await;
            let response = sent.map_err(|source| failed(endpoint, &url, source))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            url = redirect(endpoint, &url, &response)?;
        }
        let (host, url) = (endpoint.domain.clone(), request.url.to_string());
        Err(RegistryError::Redirect { host, target: url.clone(), url, why: "it goes on and on" })
    }
}

pub(super) fn failed(endpoint: &Endpoint, url: &Url, source: reqwest::Error) -> RegistryError {
    let host = endpoint.domain.clone();
    let source = source.without_url();
    if source.is_connect() {
        RegistryError::Connect { host, source }
    } else {
        RegistryError::Transfer { host, url: url.to_string(), source }
    }
}

fn redirect(endpoint: &Endpoint, url: &Url, response: &Response) -> Result<Url, RegistryError> {
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why| RegistryError::Redirect {
        host: endpoint.domain.clone(),
        url: url.to_string(),
        target: target.to_owned(),
        why,
    };
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

/// How long a registry that is busy or broken wants to be left alone; `None` when its answer is one.
fn patience(response: &Response) -> Option<Duration> {
    const LONGEST: u64 = 60;
    if !matches!(response.status().as_u16(), 429 | 500 | 502 | 503 | 504) {
        return None;
    }
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Duration::from_secs(asked.unwrap_or(1).min(LONGEST)))
}

/// The whole body of a small answer.
pub(super) async fn read_document(host: &str, mut response: Response) -> Result<Vec<u8>, RegistryError> {
    let url = response.url().to_string();
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|source| RegistryError::Transfer {
            host: host.to_owned(),
            url: url.clone(),
            source: source.without_url(),
        })?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > DOCUMENT_LIMIT {
            let what = format!("more than {DOCUMENT_LIMIT} bytes");
            return Err(RegistryError::Malformed { host: host.to_owned(), url, what });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// A small answer as JSON, whatever its media type.
pub(super) async fn read_json<T: DeserializeOwned>(
    host: &str,
    response: Response,
) -> Result<T, RegistryError> {
    let response = expect(host, response, &[StatusCode::OK]).await?;
    let url = response.url().to_string();
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
    let url = response.url().to_string();
    let bytes = read_document(&host, response).await.unwrap_or_default();
    let document: ErrorDocument = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = match document.errors.first() {
        Some(ErrorEntry { code, message }) => format!("{}: {message}", code.to_lowercase().replace('_', " ")),
        None => status.canonical_reason().unwrap_or("no reason given").to_lowercase(),
    };
    Err(RegistryError::Status { host, url, status: status.as_u16(), message })
}
