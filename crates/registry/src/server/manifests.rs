//! Manifests in and out.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use oci::Digest;
use oci::reference::is_tag;
use serde_json::Value;

use super::content::{Content, NewManifest, RepositoryName, Target};
use super::query::Query;
use super::refusal::{Code, Refusal};
use super::reply::{self, Response, with};
use super::{Registry, body};

/// What the specification asks registries to take at least; nobody needs more.
pub const MANIFEST_LIMIT: usize = 4 << 20;
/// Tags one push may give.
const MOST_TAGS: usize = 100;

impl<C: Content> Registry<C> {
    /// `GET` and `HEAD`; the server leaves the body out of the latter.
    pub async fn manifest(
        &self,
        repository: RepositoryName,
        target: Target,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let manifest = self.blocking(move |content| content.manifest(&repository, &target)).await?;
        let response = match reply::is_known(headers.get(header::IF_NONE_MATCH), &manifest.digest) {
            true => reply::empty(StatusCode::NOT_MODIFIED),
            false => reply::bytes(&manifest.media_type, manifest.bytes),
        };
        let response = with(response, reply::CONTENT_DIGEST, manifest.digest);
        Ok(with(response, header::ETAG, reply::etag(&manifest.digest)))
    }

    /// `PUT`: by tag, or by digest with any number of tags.
    pub async fn put_manifest(
        &self,
        (repository, target): (RepositoryName, Target),
        query: &Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let tags = tags(&target, query)?;
        let bytes = body::document(body, MANIFEST_LIMIT).await?;
        let media_type = media_type(headers, &bytes)?;
        let digest = Digest::of(&bytes);
        if let Target::Digest(expected) = target
            && expected != digest
        {
            let text = format!("the manifest is {digest}, not {expected}");
            return Err(Refusal::new(Code::DigestInvalid, text));
        }
        let (name, given) = (repository.clone(), tags.clone());
        let subject = self
            .blocking(move |content| {
                let manifest = NewManifest { media_type: &media_type, bytes: &bytes, tags: &given };
                content.put_manifest(&name, manifest)
            })
            .await?;
        let response = with(reply::empty(StatusCode::CREATED), reply::CONTENT_DIGEST, digest);
        let mut response = with(response, header::LOCATION, format!("/v2/{repository}/manifests/{digest}"));
        if let Some(subject) = subject {
            response = with(response, reply::OCI_SUBJECT, subject);
        }
        if query.get("tag").is_some() {
            response = with(response, reply::OCI_TAG, tags.join(", "));
        }
        Ok(response)
    }

    /// `DELETE`: a tag, or a manifest with all tags that name it.
    pub async fn remove_manifest(
        &self,
        repository: RepositoryName,
        target: Target,
    ) -> Result<Response, Refusal> {
        self.blocking(move |content| content.remove_manifest(&repository, &target)).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }
}

/// The tags a push gives.
fn tags(target: &Target, query: &Query) -> Result<Vec<String>, Refusal> {
    let more: Vec<String> = query.all("tag").map(str::to_owned).collect();
    if let Some(malformed) = more.iter().find(|tag| !is_tag(tag)) {
        return Err(Refusal::new(Code::ManifestInvalid, format!("{malformed:?} is not a tag")));
    }
    if more.len() > MOST_TAGS {
        let text = format!("one push gives no more than {MOST_TAGS} tags");
        return Err(Refusal::new(Code::ManifestInvalid, text).status(414));
    }
    match target {
        Target::Digest(_) => Ok(more),
        Target::Tag(_) if !more.is_empty() => {
            let text = "tags are given in the query when a manifest is pushed by its digest";
            Err(Refusal::new(Code::ManifestInvalid, text))
        }
        Target::Tag(tag) => Ok(vec![tag.clone()]),
    }
}

/// What the manifest is announced as: by its header, or by itself where the client says nothing.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Result<String, Refusal> {
    if let Some(announced) = headers.get(header::CONTENT_TYPE) {
        let text = announced.to_str().unwrap_or_default();
        return Ok(text.split(';').next().unwrap_or_default().trim().to_owned());
    }
    let document: Option<Value> = serde_json::from_slice(bytes).ok();
    let own = document.as_ref().and_then(|document| document.get("mediaType")?.as_str());
    own.map(str::to_owned)
        .ok_or_else(|| Refusal::new(Code::ManifestInvalid, "nothing says of what media type the manifest is"))
}
