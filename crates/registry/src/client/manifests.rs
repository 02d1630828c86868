//! Manifests and indexes: small documents, by tag or digest.

use std::sync::Arc;

use oci::image::{Descriptor, Referrer};
use oci::{Digest, Reference, media};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Body, Method, Response, StatusCode};

use super::request::{Request, expect, no_body, pull_scope, push_scope, read_document, words};
use super::{Client, Endpoint};
use crate::RegistryError;
use crate::hosts::Abilities;

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";
const OCI_SUBJECT: &str = "oci-subject";

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
        let places = self.endpoints(reference.domain())?;
        let able = able(reference);
        self.block_on(self.ask_each(reference.domain(), &places, able, async |endpoint: &Arc<Endpoint>| {
            self.fetch_manifest(endpoint, reference, known).await
        }))
    }

    async fn fetch_manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        known: Option<&Digest>,
    ) -> Result<Fetched, RegistryError> {
        let response = self.ask_manifest(endpoint, Method::GET, reference, known).await?;
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
            return Ok(Fetched::Unchanged(*known));
        }
        let response = expect(&endpoint.domain, response, &[StatusCode::OK]).await?;
        let media_type = media_type(&response);
        let announced = announced_digest(&response);
        let bytes = read_document(&endpoint.domain, response).await?;
        let digest = Digest::of(&bytes);
        // Who says what it is and gives something else is not to be believed in either.
        match reference.digest().copied().or(announced) {
            Some(expected) if expected != digest => {
                Err(RegistryError::Digest { host: endpoint.domain.clone(), expected, found: digest })
            }
            _ => Ok(Fetched::Document { bytes, media_type, digest }),
        }
    }

    /// The digest and media type of what `reference` names, or `None` when the registry has nothing of that name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest_digest(&self, reference: &Reference) -> Result<Option<(Digest, String)>, RegistryError> {
        let places = self.endpoints(reference.domain())?;
        let able = able(reference);
        let answer = self.block_on(self.ask_each(
            reference.domain(),
            &places,
            able,
            async |endpoint: &Arc<Endpoint>| {
                let response = self.ask_manifest(endpoint, Method::HEAD, reference, None).await?;
                let digest = announced_digest(&response).or(reference.digest().copied());
                if let (StatusCode::OK, Some(digest)) = (response.status(), digest) {
                    return Ok((digest, media_type(&response)));
                }
                // Old registries do not say it, and some do not know the question.
                match self.fetch_manifest(endpoint, reference, None).await? {
                    Fetched::Document { digest, media_type, .. } => Ok((digest, media_type)),
                    Fetched::Unchanged(digest) => Ok((digest, String::new())),
                }
            },
        ));
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads a manifest or an index under the tag of `reference`, or its digest when it has no tag. One that refers to another is put on
    /// that one's list of referrers where the registry does not do it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let (digest, is_listed) = self.put_manifest(reference, media_type, bytes)?;
        if let Some(referrer) = Referrer::read(bytes).filter(|_| !is_listed)
            && let Some(subject) = referrer.subject().copied()
        {
            let own = Descriptor::new(media_type, digest, bytes.len() as u64);
            self.list_referrer(reference, &subject, referrer.describe(own))?;
        }
        Ok(digest)
    }

    /// Uploads a manifest; returns whether the registry has taken note of what it refers to, too.
    pub(super) fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(Digest, bool), RegistryError> {
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
            if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(endpoint.push_denied(reference, response).await);
            }
            let expected = [StatusCode::CREATED, StatusCode::OK];
            let response = expect(&endpoint.domain, response, &expected).await?;
            match announced_digest(&response) {
                Some(found) if found != digest => {
                    Err(RegistryError::Digest { host: endpoint.domain.clone(), expected: digest, found })
                }
                _ => Ok((digest, response.headers().contains_key(OCI_SUBJECT))),
            }
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
            StatusCode::NOT_FOUND => Err(match words(&endpoint.domain, response).await {
                Some(said) if said.starts_with("name unknown") => {
                    RegistryError::NameUnknown { repository: reference.repository(), said }
                }
                said => RegistryError::manifest_unknown(reference.familiar(), said),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(endpoint.denied(reference, response).await)
            }
            _ => Ok(response),
        }
    }
}

/// Who may be asked for `reference`: what a tag names is not for every mirror to say.
fn able(reference: &Reference) -> fn(&Abilities) -> bool {
    if reference.digest().is_some() { |can| can.pull } else { |can| can.resolve }
}

/// The digest an answer says it is about, when it is one we know.
fn announced_digest(response: &Response) -> Option<Digest> {
    response.headers().get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// The media type without its parameters.
fn media_type(response: &Response) -> String {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}
