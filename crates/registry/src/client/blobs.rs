//! Blobs: streams that know how long they are and go on where they broke.

use std::io::{self, Read};
use std::sync::Arc;

use oci::{Digest, Reference};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::request::{Request, expect, no_body, pull_scope};
use super::{Client, Endpoint};
use crate::RegistryError;

/// How often in a row a transfer may break without having brought anything.
const FRUITLESS: u32 = 5;

/// A blob on its way here: exactly as many bytes as were announced, or an error.
///
/// A connection that breaks is taken up again where it broke. The error inside the [`io::Error`] is a [`RegistryError`].
pub struct BlobReader {
    client: Client,
    endpoint: Arc<Endpoint>,
    reference: Reference,
    digest: Digest,
    size: u64,
    position: u64,
    response: Option<Response>,
    chunk: bytes::Bytes,
    fruitless: u32,
}

impl Client {
    /// Opens a blob of the repository of `reference`. The caller verifies the digest while reading.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] and the others.
    pub fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<BlobReader, RegistryError> {
        self.blob_from(reference, (digest, size), 0)
    }

    /// As [`Client::blob`], for a caller who has the first `position` bytes.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] and the others.
    pub fn blob_from(
        &self,
        reference: &Reference,
        (digest, size): (&Digest, u64),
        position: u64,
    ) -> Result<BlobReader, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        let mut reader = BlobReader {
            client: self.clone(),
            endpoint,
            reference: reference.clone(),
            digest: *digest,
            size,
            position,
            response: None,
            chunk: bytes::Bytes::new(),
            fruitless: 0,
        };
        match position {
            0 if size > 0 => reader.response = Some(reader.open()?),
            position if position < size => reader.resume()?,
            _ => {}
        }
        Ok(reader)
    }

    /// Whether the repository of `reference` has a blob.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let request = Request {
                method: Method::HEAD,
                url: endpoint.url(&format!("{}/blobs/{digest}", reference.path())),
                headers: HeaderMap::new(),
                body: &no_body,
                scope: &super::request::push_scope(reference),
            };
            let response = self.send(&endpoint, &request).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            expect(&endpoint.domain, response, &[StatusCode::OK]).await.map(|_| true)
        })
    }
}

impl BlobReader {
    /// Asks for what is missing.
    fn open(&self) -> Result<Response, RegistryError> {
        let Self { client, endpoint, reference, digest, .. } = self;
        client.block_on(async {
            let mut headers = HeaderMap::new();
            if self.position > 0 {
                headers
                    .extend(HeaderValue::from_str(&format!("bytes={}-", self.position)).map(|v| (RANGE, v)));
            }
            let request = Request {
                method: Method::GET,
                url: endpoint.url(&format!("{}/blobs/{digest}", reference.path())),
                headers,
                body: &no_body,
                scope: &pull_scope(reference),
            };
            let response = client.send(endpoint, &request).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Err(RegistryError::BlobUnknown {
                    host: endpoint.domain.clone(),
                    repository: reference.repository(),
                    digest: *digest,
                });
            }
            let expected = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
            let response = expect(&endpoint.domain, response, &expected).await?;
            self.check_length(&response)?;
            Ok(response)
        })
    }

    /// Refuses an answer that announces another size than the blob has.
    fn check_length(&self, response: &Response) -> Result<(), RegistryError> {
        let expected = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(response, self.position) => self.size - self.position,
            StatusCode::PARTIAL_CONTENT => return Ok(()),
            _ => self.size,
        };
        match response.content_length() {
            Some(found) if found != expected => Err(RegistryError::Malformed {
                host: self.endpoint.domain.clone(),
                url: response.url().to_string(),
                what: format!("{found} bytes of a blob that has {expected}"),
            }),
            _ => Ok(()),
        }
    }

    /// The next bytes from the connection at hand; `None` when it has ended, well or not.
    fn next_chunk(&mut self) -> Option<Result<bytes::Bytes, reqwest::Error>> {
        let mut response = self.response.take()?;
        let chunk = self.client.block_on(response.chunk()).transpose()?;
        if chunk.is_ok() {
            self.response = Some(response);
        }
        Some(chunk)
    }

    /// Connects again, to go on at `position`.
    fn resume(&mut self) -> Result<(), RegistryError> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS {
            let Self { endpoint, digest, size, position, .. } = self;
            let host = endpoint.domain.clone();
            return Err(RegistryError::Size { host, digest: *digest, expected: *size, found: *position });
        }
        let mut response = self.open()?;
        // A registry that does not know ranges starts from the beginning.
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, self.position) => 0,
            _ => self.position,
        };
        while skip > 0 {
            let chunk = self.client.block_on(response.chunk());
            let Ok(Some(mut chunk)) = chunk else { return Ok(()) };
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            self.chunk = chunk.split_off(passed as usize);
        }
        self.response = Some(response);
        Ok(())
    }
}

/// Whether a partial answer is the part that was asked for.
fn starts_at(response: &Response, position: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| {
        range.strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{position}-")))
    })
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            if self.position == self.size {
                return Ok(0);
            }
            match self.next_chunk() {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(_)) | None => self.resume().map_err(io::Error::other)?,
            }
        }
        let left = self.size - self.position;
        // Anything beyond the announced size is somebody else's idea.
        let length = buffer.len().min(self.chunk.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        self.position += length as u64;
        self.fruitless = 0;
        Ok(length)
    }
}
