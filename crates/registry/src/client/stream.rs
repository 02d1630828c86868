//! Uploading what is made while it is sent: its digest is known when the last byte is.
//!
//! As Docker does it: one request that opens the upload, one with all the bytes, one that says what they were.

use std::io::{self, Read};

use oci::{Digest, Hasher, Reference};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};

use super::body::Target;
use super::request::{Request, expect, no_body};
use super::upload::{next_location, upload_scope};
use super::{Client, Endpoint};
use crate::RegistryError;

const ATTEMPTS: u32 = 3;

/// What became of a blob that was to be streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// The registry took it from another of its repositories.
    Mounted,
    Uploaded {
        digest: Digest,
        size: u64,
    },
}

impl Client {
    /// Gives the repository of `reference` the blob that `open` makes, whose digest nobody knows yet.
    ///
    /// `mount` is a blob that does as well, and where the registry has it. `open` is called for each attempt and gives the bytes
    /// from the beginning.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Source`] when `open` or what it gives fails.
    pub fn push_stream(
        &self,
        reference: &Reference,
        mount: Option<(&Digest, &Reference)>,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<Streamed, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        let scope = upload_scope(reference, mount.map(|(_, from)| from));
        let mut attempt = 1;
        loop {
            let Some(location) = self.begin_upload(&endpoint, reference, &scope, mount)? else {
                return Ok(Streamed::Mounted);
            };
            let source = open().map_err(RegistryError::Source)?;
            match self.stream(&endpoint, location, &scope, source) {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    self.pause(attempt)?;
                    attempt += 1;
                }
                other => {
                    return other.map(|(digest, size)| Streamed::Uploaded { digest, size });
                }
            }
        }
    }

    /// Sends everything and says what it was.
    fn stream(
        &self,
        endpoint: &Endpoint,
        location: Url,
        scope: &str,
        mut source: Box<dyn Read + Send>,
    ) -> Result<(Digest, u64), RegistryError> {
        let target = Target { method: Method::PATCH, url: &location, headers: HeaderMap::new(), scope };
        let (answer, fed) = self.send_body(endpoint, target, None, |feeder| {
            let (mut hasher, mut size) = (Hasher::new(), 0);
            let fed = feeder.feed(&mut *source, &mut |piece| {
                hasher.update(piece);
                size += piece.len() as u64;
            });
            fed.map(|()| (hasher.finish(), size))
        });
        let (digest, size) = fed.map_err(RegistryError::Source)?;
        self.block_on(async {
            let expected = [StatusCode::ACCEPTED, StatusCode::CREATED, StatusCode::NO_CONTENT];
            let response = expect(&endpoint.domain, answer?, &expected).await?;
            let mut url = next_location(&response).unwrap_or(location);
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            let request =
                Request { method: Method::PUT, url, headers: HeaderMap::new(), body: &no_body, scope };
            let response = self.send(endpoint, &request).await?;
            expect(&endpoint.domain, response, &[StatusCode::CREATED]).await
        })?;
        Ok((digest, size))
    }
}
