//! Uploading blobs whose digest is known.
//!
//! All bytes go in one request where that works. An upload that breaks is taken up where the registry says it is, and a registry
//! that wants chunks gets chunks. Spec: distribution-spec, "Pushing blobs".

use std::io::{self, Read};
use std::time::Duration;

use oci::{Digest, Reference};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::body::Target;
use super::request::{Request, expect, no_body, push_scope, shown};
use super::{Client, Endpoint};
use crate::RegistryError;

const ATTEMPTS: u32 = 5;
/// How long an upload that failed is worth being called off.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);
const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";
/// Chunks are at least this large, whatever less a registry would take.
const CHUNK: u64 = 16 << 20;

/// How a blob got into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The registry took it from another of its repositories.
    Mounted,
    Uploaded,
}

/// What opens the bytes of a blob, from the beginning.
type Open<'a> = dyn FnMut() -> io::Result<Box<dyn Read + Send>> + 'a;

/// An upload that has begun.
pub(super) struct Session {
    pub location: Url,
    /// How many bytes the registry has.
    offset: u64,
    /// How long a chunk is, where chunks are wanted.
    chunk: Option<u64>,
}

/// Who is given what.
struct Upload<'a> {
    endpoint: &'a Endpoint,
    scope: &'a str,
    digest: &'a Digest,
    size: u64,
}

impl Client {
    /// Gives the repository of `reference` a blob of `size` bytes, from `from` when the registry has it there.
    ///
    /// `open` is called for each attempt and gives the bytes from the beginning.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Source`] when `open` or what it gives fails.
    pub fn push_blob(
        &self,
        reference: &Reference,
        (digest, size): (&Digest, u64),
        from: Option<&Reference>,
        open: &mut Open<'_>,
    ) -> Result<Push, RegistryError> {
        let endpoint = &*self.endpoint(reference.domain())?;
        let scope = &upload_scope(reference, from);
        let upload = Upload { endpoint, scope, digest, size };
        let mount = from.map(|from| (digest, from));
        let Some(mut session) = self.begin_session(endpoint, reference, scope, mount)? else {
            return Ok(Push::Mounted);
        };
        let mut attempt = 1;
        loop {
            let before = session.offset;
            let failure = match self.advance(&upload, &mut session, open) {
                Ok(()) => return Ok(Push::Uploaded),
                Err(failure) => failure,
            };
            if !may_go_on(&failure) || attempt == ATTEMPTS {
                self.cancel(&upload, &session);
                return Err(failure);
            }
            self.pause(attempt)?;
            match self.block_on(self.status(&upload, &session)) {
                Ok(known) => session = Session { chunk: session.chunk, ..known },
                // The registry has forgotten it, or never knew how to tell.
                Err(_) => match self.begin_session(endpoint, reference, scope, None)? {
                    Some(fresh) => session = fresh,
                    None => return Ok(Push::Mounted),
                },
            }
            // An attempt that got something across was none in vain.
            attempt = if session.offset > before { 1 } else { attempt + 1 };
        }
    }

    /// As [`Client::begin_session`], for who wants to know the place alone.
    pub(super) fn begin_upload(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        scope: &str,
        mount: Option<(&Digest, &Reference)>,
    ) -> Result<Option<Url>, RegistryError> {
        Ok(self.begin_session(endpoint, reference, scope, mount)?.map(|session| session.location))
    }

    /// Begins an upload; `None` when the registry has mounted the blob `mount` from the other repository.
    fn begin_session(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        scope: &str,
        mount: Option<(&Digest, &Reference)>,
    ) -> Result<Option<Session>, RegistryError> {
        let mut url = endpoint.url(&format!("{}/blobs/uploads/", reference.path()));
        if let Some((digest, from)) = mount {
            url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.path());
        }
        self.block_on(async {
            let request =
                Request { method: Method::POST, url, headers: HeaderMap::new(), body: &no_body, scope };
            let response = self.send(endpoint, &request).await?;
            if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(endpoint.push_denied(reference, response).await);
            }
            let expected = [StatusCode::CREATED, StatusCode::ACCEPTED];
            let response = expect(&endpoint.domain, response, &expected).await?;
            if response.status() == StatusCode::CREATED {
                return Ok(None);
            }
            let least =
                response.headers().get(CHUNK_MIN_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            let chunk = least.map(|least: u64| least.max(CHUNK));
            let location = next_location(&response);
            let location = location.ok_or_else(|| malformed(endpoint, &response, "no place to upload to"))?;
            self.check_place(endpoint, &location)?;
            Ok(Some(Session { location, offset: 0, chunk }))
        })
    }

    /// A registry with TLS does not make us send to somebody without.
    fn check_place(&self, endpoint: &Endpoint, location: &Url) -> Result<(), RegistryError> {
        match (endpoint.base().scheme(), location.scheme()) {
            (_, "https") | ("http", "http") => Ok(()),
            _ => Err(RegistryError::Redirect {
                host: endpoint.domain.clone(),
                url: endpoint.base().to_string(),
                target: shown(location),
                why: "it leads from TLS to no TLS",
            }),
        }
    }

    /// Sends what the registry has not got and closes the upload.
    fn advance(
        &self,
        upload: &Upload<'_>,
        session: &mut Session,
        open: &mut Open<'_>,
    ) -> Result<(), RegistryError> {
        if session.offset == upload.size && session.offset > 0 {
            return self.close(upload, session);
        }
        let mut source = open().map_err(RegistryError::Source)?;
        let skipped = io::copy(&mut (&mut *source).take(session.offset), &mut io::sink());
        skipped.map_err(RegistryError::Source)?;
        if session.offset == 0 && session.chunk.is_none_or(|chunk| upload.size <= chunk) {
            return self.send_all(upload, session, &mut *source);
        }
        while session.offset < upload.size {
            self.send_chunk(upload, session, &mut *source)?;
        }
        self.close(upload, session)
    }

    /// Everything in the request that closes the upload.
    fn send_all(
        &self,
        upload: &Upload<'_>,
        session: &Session,
        source: &mut (dyn Read + Send),
    ) -> Result<(), RegistryError> {
        let url = with_digest(&session.location, upload.digest);
        let target =
            Target { method: Method::PUT, url: &url, headers: HeaderMap::new(), scope: upload.scope };
        self.send_part(upload, target, upload.size, source, StatusCode::CREATED).map(drop)
    }

    fn send_chunk(
        &self,
        upload: &Upload<'_>,
        session: &mut Session,
        source: &mut (dyn Read + Send),
    ) -> Result<(), RegistryError> {
        let length = (upload.size - session.offset).min(session.chunk.unwrap_or(u64::MAX));
        let end = session.offset + length;
        let mut headers = HeaderMap::new();
        let range = HeaderValue::from_str(&format!("{}-{}", session.offset, end - 1));
        headers.extend(range.map(|range| (CONTENT_RANGE, range)));
        let target = Target { method: Method::PATCH, url: &session.location, headers, scope: upload.scope };
        let response = self.send_part(upload, target, length, source, StatusCode::ACCEPTED)?;
        let location = next_location(&response).unwrap_or_else(|| session.location.clone());
        self.check_place(upload.endpoint, &location)?;
        if let Some(offset) = received(&response).filter(|offset| *offset != end) {
            let what = format!("it has {offset} bytes of an upload it was sent {end} of");
            return Err(malformed(upload.endpoint, &response, &what));
        }
        session.location = location;
        session.offset = end;
        Ok(())
    }

    /// Sends `length` bytes of `source`, once.
    fn send_part(
        &self,
        upload: &Upload<'_>,
        target: Target<'_>,
        length: u64,
        source: &mut (dyn Read + Send),
        expected: StatusCode,
    ) -> Result<Response, RegistryError> {
        let endpoint = upload.endpoint;
        let used = endpoint.access.granted(upload.scope);
        let (answer, fed) = self.send_body(endpoint, target, Some(length), |feeder| {
            let mut sent = 0;
            feeder.feed(&mut source.take(length), &mut |piece| sent += piece.len() as u64).map(|()| sent)
        });
        let sent = fed.map_err(RegistryError::Source)?;
        self.block_on(async {
            let response = match answer {
                // Whoever feeds stops when nobody listens; it is the source's fault only when everybody was.
                Err(_) if sent < length && source.read(&mut [0]).is_ok_and(|read| read == 0) => {
                    return Err(RegistryError::Source(io::ErrorKind::UnexpectedEof.into()));
                }
                other => other?,
            };
            if response.status() == StatusCode::UNAUTHORIZED
                && self.authenticate(endpoint, upload.scope, used.as_ref(), &response).await?
            {
                // The token was too old. With the new one the upload goes on where it is.
                return Err(RegistryError::Interrupted { host: endpoint.domain.clone() });
            }
            expect(&endpoint.domain, response, &[expected]).await
        })
    }

    /// Says that everything is there, and what it is.
    fn close(&self, upload: &Upload<'_>, session: &Session) -> Result<(), RegistryError> {
        self.block_on(async {
            let request = Request {
                method: Method::PUT,
                url: with_digest(&session.location, upload.digest),
                headers: HeaderMap::new(),
                body: &no_body,
                scope: upload.scope,
            };
            let response = self.send(upload.endpoint, &request).await?;
            expect(&upload.endpoint.domain, response, &[StatusCode::CREATED]).await.map(drop)
        })
    }

    /// Asks how far an upload is.
    async fn status(&self, upload: &Upload<'_>, session: &Session) -> Result<Session, RegistryError> {
        let request = Request {
            method: Method::GET,
            url: session.location.clone(),
            headers: HeaderMap::new(),
            body: &no_body,
            scope: upload.scope,
        };
        let response = self.send(upload.endpoint, &request).await?;
        let expected = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED];
        let response = expect(&upload.endpoint.domain, response, &expected).await?;
        let location = next_location(&response).unwrap_or_else(|| session.location.clone());
        self.check_place(upload.endpoint, &location)?;
        let offset = received(&response).filter(|offset| *offset <= upload.size);
        let offset =
            offset.ok_or_else(|| malformed(upload.endpoint, &response, "no range of what it has"))?;
        Ok(Session { location, offset, chunk: None })
    }

    /// Tells the registry to forget the upload. It would do so by itself, some day.
    fn cancel(&self, upload: &Upload<'_>, session: &Session) {
        let headers = super::request::ours(
            upload.endpoint,
            &session.location,
            upload.endpoint.access.granted(upload.scope).as_ref(),
        );
        let request = upload.endpoint.http.delete(session.location.clone()).headers(headers);
        let sent = async { tokio::time::timeout(CANCEL_LIMIT, request.send()).await };
        let _ = self.inner.runtime.handle().block_on(sent);
    }
}

/// Whether an upload that failed so may be taken up again.
fn may_go_on(failure: &RegistryError) -> bool {
    match failure {
        // The registry and we do not agree on where the upload is.
        RegistryError::Status { status: 416, .. } => true,
        RegistryError::Interrupted { .. } => true,
        other => other.is_passing(),
    }
}

/// What uploading takes, with the right to read where a blob may be mounted from.
pub(super) fn upload_scope(reference: &Reference, from: Option<&Reference>) -> String {
    match from {
        Some(from) => format!("{} repository:{}:pull", push_scope(reference), from.path()),
        None => push_scope(reference),
    }
}

/// Where the next request of an upload goes.
pub(super) fn next_location(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = response.url().join(location).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

fn with_digest(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// How many bytes the registry says it has. `0-0` is said of one byte and of none; none is the safe reading.
fn received(response: &Response) -> Option<u64> {
    let text = response.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = text.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.checked_add(1)? })
}

fn malformed(endpoint: &Endpoint, response: &Response, what: &str) -> RegistryError {
    let (host, url) = (endpoint.domain.clone(), shown(response.url()));
    RegistryError::Malformed { host, url, what: what.to_owned() }
}
