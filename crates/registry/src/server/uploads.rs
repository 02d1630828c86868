//! Blobs on their way in: sessions that clients begin, fill in one or many requests, and finish or cancel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use oci::Digest;
use tokio::sync::OwnedMutexGuard;

use super::content::{Content, RepositoryName, Upload};
use super::query::Query;
use super::refusal::{Code, Refusal};
use super::reply::{self, Response};
use super::{Registry, body, range, route};

/// Who begins more at once waits for others to end.
const MOST_SESSIONS: usize = 256;
/// A session nobody touches for so long is cancelled.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);
/// How long a request waits for another one of its session: of a client that has lost its connection, and comes back
/// before we have noticed.
const PATIENCE: Duration = Duration::from_secs(10);

/// All uploads of a server.
pub struct Uploads<U> {
    sessions: Mutex<HashMap<String, Session<U>>>,
}

struct Session<U> {
    repository: RepositoryName,
    used: Instant,
    upload: Slot<U>,
}

/// `None` once it is finished or cancelled.
type Slot<U> = Arc<tokio::sync::Mutex<Option<U>>>;

impl<U> Default for Uploads<U> {
    fn default() -> Self {
        Self { sessions: Mutex::default() }
    }
}

impl<U: Upload> Uploads<U> {
    fn begin(&self, repository: &RepositoryName, upload: U) -> Result<String, Refusal> {
        let id = uuid().map_err(|e| super::ContentError::Internal(e.into()))?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST_SESSIONS {
            let text = format!("{MOST_SESSIONS} uploads are under way already");
            return Err(Refusal::new(Code::TooManyRequests, text).header(header::RETRY_AFTER, "10"));
        }
        let upload = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        let session = Session { repository: repository.clone(), used: Instant::now(), upload };
        sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// The session `id`, for one request at a time.
    async fn enter(
        &self,
        repository: &RepositoryName,
        id: &str,
    ) -> Result<OwnedMutexGuard<Option<U>>, Refusal> {
        let unknown = || Refusal::new(Code::BlobUploadUnknown, "there is no such upload in this repository");
        let slot = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let session = sessions.get_mut(id).filter(|session| session.repository == *repository);
            let session = session.ok_or_else(unknown)?;
            session.used = Instant::now();
            session.upload.clone()
        };
        let entered = tokio::time::timeout(PATIENCE, slot.lock_owned()).await;
        let busy =
            |_| Refusal::new(Code::BlobUploadInvalid, "another request writes to this upload").status(409);
        let entered = entered.map_err(busy)?;
        if entered.is_some() { Ok(entered) } else { Err(unknown()) }
    }

    fn end(&self, id: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Cancels what nobody touches any more.
    pub fn tidy(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is locked is in use, however long its request takes.
        sessions
            .retain(|_, session| session.used.elapsed() < IDLE_LIMIT || session.upload.try_lock().is_err());
    }
}

impl<C: Content> Registry<C> {
    /// `POST`: begins a session, or takes a whole blob, or lets the repository have another one's.
    pub async fn begin_upload(
        &self,
        repository: RepositoryName,
        query: &Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        if let Some(algorithm) = query.get("digest-algorithm").filter(|name| *name != Digest::ALGORITHM) {
            return Err(Refusal::new(
                Code::DigestInvalid,
                format!("unsupported digest algorithm {algorithm:?}"),
            ));
        }
        if let Some(mounted) = query.get("mount") {
            let digest = route::digest(mounted)?;
            let from = query.get("from").map(route::repository).transpose()?;
            if let Some(from) = from {
                let to = repository.clone();
                if self.blocking(move |content| content.mount(&from, &to, &digest)).await? {
                    return Ok(created(&repository, &digest));
                }
            }
        }
        let expected = query.get("digest").map(route::digest).transpose()?;
        self.check_announced(headers)?;
        let upload = self.blocking(|content| content.begin_upload()).await?;
        let Some(expected) = expected else {
            let id = self.uploads.begin(&repository, upload)?;
            return Ok(progress(StatusCode::ACCEPTED, &repository, &id, 0));
        };
        let poured = body::pour(body, upload, self.options.blob_limit).await;
        poured.result?;
        self.finish(repository, poured.upload, expected).await
    }

    /// `GET`: how far a session is.
    pub async fn upload_status(&self, repository: RepositoryName, id: &str) -> Result<Response, Refusal> {
        let upload = self.uploads.enter(&repository, id).await?;
        let size = upload.as_ref().map_or(0, Upload::size);
        Ok(progress(StatusCode::NO_CONTENT, &repository, id, size))
    }

    /// `PATCH`: takes one more chunk.
    pub async fn patch_upload(
        &self,
        repository: RepositoryName,
        id: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let mut slot = self.uploads.enter(&repository, id).await?;
        self.take_chunk(&mut slot, (&repository, id), headers, body).await?;
        let size = slot.as_ref().map_or(0, Upload::size);
        Ok(progress(StatusCode::ACCEPTED, &repository, id, size))
    }

    /// `PUT`: takes the last chunk, if there is one, and makes a blob of it all.
    pub async fn finish_upload(
        &self,
        repository: RepositoryName,
        id: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        let mut slot = self.uploads.enter(&repository, id).await?;
        let expected = query.get("digest").ok_or_else(|| {
            Refusal::new(Code::DigestInvalid, "the digest of the whole blob has to be given")
        })?;
        let expected = route::digest(expected)?;
        self.take_chunk(&mut slot, (&repository, id), headers, body).await?;
        self.uploads.end(id);
        self.finish(repository, slot.take(), expected).await
    }

    /// `DELETE`: cancels a session.
    pub async fn cancel_upload(&self, repository: RepositoryName, id: &str) -> Result<Response, Refusal> {
        let mut slot = self.uploads.enter(&repository, id).await?;
        self.uploads.end(id);
        slot.take();
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    async fn finish(
        &self,
        repository: RepositoryName,
        upload: Option<C::Upload>,
        expected: Digest,
    ) -> Result<Response, Refusal> {
        let upload =
            upload.ok_or_else(|| Refusal::new(Code::BlobUploadUnknown, "the upload has ended meanwhile"))?;
        let name = repository.clone();
        self.blocking(move |content| content.finish_upload(&name, upload, &expected)).await?;
        Ok(created(&repository, &expected))
    }

    /// Appends a body to an upload. What arrived of one that broke off is kept, and the client may go on behind it.
    async fn take_chunk(
        &self,
        slot: &mut Option<C::Upload>,
        (repository, id): (&RepositoryName, &str),
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(), Refusal> {
        let size = slot.as_ref().map_or(0, Upload::size);
        let announced = check_range(headers, size).map_err(|refusal| {
            let refusal = refusal.header(header::LOCATION, &location(repository, id));
            refusal.header(header::RANGE, &held(size)).hanging_up()
        })?;
        self.check_announced(headers)?;
        let limit = self.options.blob_limit.saturating_sub(size);
        let Some(upload) = slot.take() else { return Ok(()) };
        let poured = body::pour(body, upload, announced.unwrap_or(limit).min(limit)).await;
        *slot = poured.upload;
        if slot.is_none() {
            self.uploads.end(id);
        }
        poured.result?;
        let arrived = slot.as_ref().map_or(0, Upload::size) - size;
        if announced.is_some_and(|announced| announced != arrived) {
            slot.take();
            self.uploads.end(id);
            return Err(Refusal::new(Code::SizeInvalid, "the body is not as long as its Content-Range says"));
        }
        Ok(())
    }

    /// Refuses what says beforehand that it is too much.
    fn check_announced(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match content_length(headers) {
            Some(length) if length > self.options.blob_limit => {
                let text = format!("a blob has no more than {} bytes here", self.options.blob_limit);
                Err(Refusal::new(Code::SizeInvalid, text).status(413).hanging_up())
            }
            _ => Ok(()),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The length that a chunk's `Content-Range` announces; it has to begin where the upload of `size` bytes ends.
fn check_range(headers: &HeaderMap, size: u64) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let chunk = value.to_str().ok().and_then(range::of_chunk).ok_or_else(|| {
        Refusal::new(Code::BlobUploadInvalid, "a Content-Range has the form <first>-<last>")
    })?;
    if chunk.start != size {
        let text = format!("the next byte of this upload is {size}, not {}", chunk.start);
        return Err(Refusal::new(Code::BlobUploadInvalid, text).status(416));
    }
    let length = chunk.end - chunk.start;
    match content_length(headers) {
        Some(announced) if announced != length => {
            Err(Refusal::new(Code::SizeInvalid, "Content-Range and Content-Length do not agree"))
        }
        _ => Ok(Some(length)),
    }
}

fn location(repository: &RepositoryName, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

/// What of an upload is here. Nothing is told as `0-0`, which is what registries have always said.
fn held(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(status: StatusCode, repository: &RepositoryName, id: &str, size: u64) -> Response {
    let response = reply::with(reply::empty(status), header::LOCATION, location(repository, id));
    reply::with(reply::with(response, header::RANGE, held(size)), reply::UPLOAD_UUID, id)
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response {
    let response = reply::empty(StatusCode::CREATED);
    let response = reply::with(response, header::LOCATION, format!("/v2/{repository}/blobs/{digest}"));
    reply::with(response, reply::CONTENT_DIGEST, digest)
}

/// A random UUID; RFC 9562, version 4.
fn uuid() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    sys::random::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let part = |shift: u32, digits: u32| (number >> shift) & ((1 << (4 * digits)) - 1);
    let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
    Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_form() {
        let id = uuid().unwrap();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
