//! Blobs on their way out.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use oci::Digest;

use super::content::{Content, RepositoryName};
use super::range::{Part, requested};
use super::refusal::{Code, Refusal};
use super::reply::{self, Response, with};
use super::{Registry, body};

impl<C: Content> Registry<C> {
    /// `GET` and `HEAD`: a blob or part of it, straight from its file.
    pub async fn blob(
        &self,
        repository: RepositoryName,
        digest: Digest,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let blob = self.blocking(move |content| content.blob(&repository, &digest)).await?;
        if reply::is_known(headers.get(header::IF_NONE_MATCH), &digest) {
            return Ok(described(reply::empty(StatusCode::NOT_MODIFIED), &digest));
        }
        let part = match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
            // RFC 9110: a range is for GET alone, and only for the content that the client has begun to fetch.
            Some(range) if method == Method::GET && is_begun(headers, &digest) => requested(range, blob.size),
            _ => Part::Whole,
        };
        let (status, range) = match part {
            Part::Whole => (StatusCode::OK, 0..blob.size),
            Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
            Part::Unsatisfiable => {
                let text = format!("this blob has {} bytes", blob.size);
                let refusal = Refusal::new(Code::SizeInvalid, text).status(416);
                return Err(refusal.header(header::CONTENT_RANGE, &format!("bytes */{}", blob.size)));
            }
        };
        let length = range.end - range.start;
        let told = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), blob.size);
        let body = if method == Method::GET { body::of_file(blob.file, range) } else { Body::empty() };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if status == StatusCode::PARTIAL_CONTENT {
            response = with(response, header::CONTENT_RANGE, told);
        }
        let response = with(response, header::CONTENT_LENGTH, length);
        let response = with(response, header::CONTENT_TYPE, "application/octet-stream");
        Ok(with(described(response, &digest), header::ACCEPT_RANGES, "bytes"))
    }

    /// `DELETE`.
    pub async fn remove_blob(&self, repository: RepositoryName, digest: Digest) -> Result<Response, Refusal> {
        self.blocking(move |content| content.remove_blob(&repository, &digest)).await?;
        Ok(with(reply::empty(StatusCode::ACCEPTED), reply::CONTENT_DIGEST, digest))
    }
}

fn described(response: Response, digest: &Digest) -> Response {
    let response = with(response, reply::CONTENT_DIGEST, digest);
    // What a digest names does not change.
    let response = with(response, header::CACHE_CONTROL, "max-age=31536000");
    with(response, header::ETAG, reply::etag(digest))
}

fn is_begun(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == reply::etag(digest).as_bytes())
}
