//! Uploading blobs.

use std::io::Read;
use std::sync::Mutex;

use oci::{Digest, Reference};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, StatusCode, Url};
use tokio::sync::mpsc;

use super::request::{Request, expect, no_body, push_scope};
use super::stream::next_location;
use super::{Client, Endpoint};
use crate::RegistryError;

const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// How a blob got into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The registry took it from another of its repositories.
    Mounted,
    Uploaded,
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
        open: &mut dyn FnMut() -> std::io::Result<Box<dyn Read + Send>>,
    ) -> Result<Push, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        let scope = upload_scope(reference, from);
        let mount = from.map(|from| (digest, from));
        let Some(location) = self.begin_upload(&endpoint, reference, &scope, mount)? else {
            return Ok(Push::Mounted);
        };
        let mut url = location;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let source = open().map_err(RegistryError::Source)?;
        self.put(&endpoint, reference, url, size, source)?;
        Ok(Push::Uploaded)
    }

    /// Where to upload to; `None` when the registry has mounted the blob `mount` from the other repository.
    pub(super) fn begin_upload(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        scope: &str,
        mount: Option<(&Digest, &Reference)>,
    ) -> Result<Option<Url>, RegistryError> {
        let mut url = endpoint.url(&format!("{}/blobs/uploads/", reference.path()));
        if let Some((digest, from)) = mount {
            url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.path());
        }
        self.block_on(async {
            let request =
                Request { method: Method::POST, url, headers: HeaderMap::new(), body: &no_body, scope };
            let response = self.send(endpoint, &request).await?;
            let expected = [StatusCode::CREATED, StatusCode::ACCEPTED];
            let response = expect(&endpoint.domain, response, &expected).await?;
            if response.status() == StatusCode::CREATED {
                return Ok(None);
            }
            next_location(&response).map(Some).ok_or_else(|| RegistryError::Malformed {
                host: endpoint.domain.clone(),
                url: response.url().to_string(),
                what: "no place to upload to".to_owned(),
            })
        })
    }

    /// Sends everything in one request.
    fn put(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        url: Url,
        size: u64,
        mut source: Box<dyn Read + Send>,
    ) -> Result<(), RegistryError> {
        let (sender, mut receiver) = mpsc::channel::<std::io::Result<bytes::Bytes>>(PIECES);
        // The bytes cannot be had twice, so there is one attempt only; the caller starts over.
        let body = Mutex::new(Some(Body::wrap_stream(futures_util::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx)
        }))));
        let take = || body.lock().unwrap_or_else(|e| e.into_inner()).take().unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        let scope = push_scope(reference);
        let request = Request { method: Method::PUT, url, headers, body: &take, scope: &scope };
        std::thread::scope(|threads| {
            threads.spawn(move || feed(&mut source, &sender));
            self.block_on(async {
                let response = self.send(endpoint, &request).await?;
                expect(&endpoint.domain, response, &[StatusCode::CREATED]).await.map(drop)
            })
        })
    }
}

/// What uploading takes, with the right to read where a blob may be mounted from.
pub(super) fn upload_scope(reference: &Reference, from: Option<&Reference>) -> String {
    match from {
        Some(from) => format!("{} repository:{}:pull", push_scope(reference), from.path()),
        None => push_scope(reference),
    }
}

/// Passes `source` on piece by piece, until it ends or nobody listens.
fn feed(source: &mut dyn Read, sender: &mpsc::Sender<std::io::Result<bytes::Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = source.take(PIECE as u64).read_to_end(&mut piece);
        let message = match read {
            Ok(0) => return,
            Ok(_) => Ok(piece.into()),
            Err(e) => Err(e),
        };
        if sender.blocking_send(message).is_err() {
            return;
        }
    }
}
