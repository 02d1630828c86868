//! Manifests and indexes: small documents, by tag or digest.

use oci::{Digest, Reference, media};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Body, Method, Response, StatusCode};

use super::request::{Request, expect, no_body, pull_scope, push_scope, read_document};
use super::{Client, Endpoint};
use crate::RegistryError;

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// A registry's answer to a question for a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The caller has it already.
    Unchanged(Digest),
    Document {
        bytes: Vec<u8>,
        media_type: String,
        digest: Digest,
    },
}

impl Client {
    /// Asks for the manifest or index that `reference` names, in one round trip once there is a token.
    ///
    /// `known` is what the caller has under this name: registries that understand `If-None-Match` then send nothing.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] and the others; a document that is not what a digest in `reference` says is refused.
    pub fn manifest(&self, reference: &Reference, known: Option<&Digest>) -> Result<Fetched, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let response = self.ask_manifest(&endpoint, Method::GET, reference, known).await?;
            if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
                return Ok(Fetched::Unchanged(*known));
            }
            let response = expect(&endpoint.domain, response, &[StatusCode::OK]).await?;
            let media_type = media_type(&response);
            let bytes = read_document(&endpoint.domain, response).await?;
            let digest = Digest::of(&bytes);
            if let Some(&expected) = reference.digest().filter(|expected| **expected != digest) {
                return Err(RegistryError::Digest { host: endpoint.domain.clone(), expected, found: digest });
            }
            Ok(Fetched::Document { bytes, media_type, digest })
        })
    }

    /// The digest, media type and size of what `reference` names, or `None` when the registry has nothing of that name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest_digest(&self, reference: &Reference) -> Result<Option<(Digest, String)>, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let response = match self.ask_manifest(&endpoint, Method::HEAD, reference, None).await {
                Err(RegistryError::ManifestUnknown(_)) => return Ok(None),
                other => expect(&endpoint.domain, other?, &[StatusCode::OK]).await?,
            };
            let header = response.headers().get(DOCKER_CONTENT_DIGEST);
            let digest =
                header.and_then(|value| value.to_str().ok()?.parse().ok()).or(reference.digest().copied());
            let what = "no digest of the manifest".to_owned();
            let malformed = || RegistryError::Malformed {
                host: endpoint.domain.clone(),
                url: response.url().to_string(),
                what,
            };
            Ok(Some((digest.ok_or_else(malformed)?, media_type(&response))))
        })
    }

    /// Uploads a manifest or an index under the tag of `reference`, or its digest when it has no tag.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        let digest = Digest::of(bytes);
        let target = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let mut headers = HeaderMap::new();
        headers.extend(HeaderValue::from_str(media_type).ok().map(|value| (CONTENT_TYPE, value)));
        self.block_on(async {
            let request = Request {
                method: Method::PUT,
                url: endpoint.url(&format!("{}/manifests/{target}", reference.path())),
                headers,
                body: &|| Body::from(bytes.to_owned()),
                scope: &push_scope(reference),
            };
            let response = self.send(&endpoint, &request).await?;
            expect(&endpoint.domain, response, &[StatusCode::CREATED, StatusCode::OK]).await?;
            Ok(digest)
        })
    }

    async fn ask_manifest(
        &self,
        endpoint: &Endpoint,
        method: Method,
        reference: &Reference,
        known: Option<&Digest>,
    ) -> Result<Response, RegistryError> {
        // The digest decides where both are given.
        let target = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let mut headers = HeaderMap::new();
        for accepted in [media::OCI_INDEX, media::OCI_MANIFEST, media::DOCKER_INDEX, media::DOCKER_MANIFEST] {
            headers.append(ACCEPT, HeaderValue::from_static(accepted));
        }
        if let Some(known) = known {
            headers
                .extend(HeaderValue::from_str(&format!("\"{known}\"")).ok().map(|tag| (IF_NONE_MATCH, tag)));
        }
        let request = Request {
            method,
            url: endpoint.url(&format!("{}/manifests/{target}", reference.path())),
            headers,
            body: &no_body,
            scope: &pull_scope(reference),
        };
        let response = self.send(endpoint, &request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(RegistryError::ManifestUnknown(reference.familiar())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied {
                host: endpoint.domain.clone(),
                repository: reference.repository(),
            }),
            _ => Ok(response),
        }
    }
}

/// The media type without its parameters.
fn media_type(response: &Response) -> String {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}
