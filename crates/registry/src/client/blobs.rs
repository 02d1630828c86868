//! Blobs: streams that know how long they are and go on where they broke.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use oci::{Digest, Reference};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::request::{Request, expect, no_body, pull_scope, push_scope, shown};
use super::{Client, Endpoint};
use crate::RegistryError;

/// How often in a row a transfer may break without having brought anything.
const FRUITLESS: u32 = 5;

/// A blob on its way here: exactly as many bytes as were announced, or an error.
///
/// A connection that breaks is taken up again where it broke, at the next place that has the blob if need be. The error inside
/// the [`io::Error`] is a [`RegistryError`].
pub struct BlobReader {
    client: Client,
    /// Where the blob may be had; the first is asked.
    places: Vec<Arc<Endpoint>>,
    reference: Reference,
    digest: Digest,
    size: u64,
    position: u64,
    response: Option<Response>,
    chunk: Bytes,
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
        let places = self.endpoints(reference.domain())?;
        let mut reader = BlobReader {
            client: self.clone(),
            places: places.iter().filter(|endpoint| endpoint.host.can.pull).cloned().collect(),
            reference: reference.clone(),
            digest: *digest,
            size,
            position,
            response: None,
            chunk: Bytes::new(),
            fruitless: 0,
        };
        match position {
            0 if size > 0 => reader.response = Some(reader.open()?),
            position if position < size => reader.go_on()?,
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
                scope: &push_scope(reference),
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
    /// Asks for what is missing, at one place after the other.
    fn open(&mut self) -> Result<Response, RegistryError> {
        loop {
            let Some(endpoint) = self.places.first() else {
                return Err(RegistryError::Incapable { domain: self.reference.domain().to_owned() });
            };
            match self.client.block_on(self.ask(endpoint)) {
                Err(_) if self.places.len() > 1 && !self.client.is_stopped() => self.give_up_place(),
                other => return other,
            }
        }
    }

    fn give_up_place(&mut self) {
        self.places.remove(0);
        self.fruitless = 0;
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<Response, RegistryError> {
        let mut headers = HeaderMap::new();
        if self.position > 0 {
            headers.extend(HeaderValue::from_str(&format!("bytes={}-", self.position)).map(|v| (RANGE, v)));
        }
        let request = Request {
            method: Method::GET,
            url: endpoint.url(&format!("{}/blobs/{}", self.reference.path(), self.digest)),
            headers,
            body: &no_body,
            scope: &pull_scope(&self.reference),
        };
        let response = self.client.send(endpoint, &request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::BlobUnknown {
                host: endpoint.domain.clone(),
                repository: self.reference.repository(),
                digest: self.digest,
            });
        }
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(endpoint.denied(&self.reference, response).await);
        }
        let expected = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
        let response = expect(&endpoint.domain, response, &expected).await?;
        self.check(endpoint, response)
    }

    /// Refuses an answer that is openly another one than was asked for.
    fn check(&self, endpoint: &Endpoint, response: Response) -> Result<Response, RegistryError> {
        let malformed = |what| RegistryError::Malformed {
            host: endpoint.domain.clone(),
            url: shown(response.url()),
            what,
        };
        if response.status() == StatusCode::OK {
            return match response.content_length() {
                Some(found) if found != self.size => {
                    Err(malformed(format!("{found} bytes of a blob that has {}", self.size)))
                }
                _ => Ok(response),
            };
        }
        let text = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = text.and_then(content_range).is_some_and(|(first, last, whole)| {
            first == self.position
                && self.position > 0
                && (first..self.size).contains(&last)
                && whole.is_none_or(|whole| whole == self.size)
                && response.content_length().is_none_or(|length| length == last - first + 1)
        });
        if fits {
            return Ok(response);
        }
        Err(malformed(format!(
            "{:?} when asked for what follows byte {} of {}",
            text.unwrap_or("no range"),
            self.position,
            self.size
        )))
    }

    fn wrong_size(&self, host: &str, found: u64) -> RegistryError {
        RegistryError::Size { host: host.to_owned(), digest: self.digest, expected: self.size, found }
    }

    fn host(&self) -> &str {
        self.places.first().map_or(self.reference.domain(), |endpoint| &endpoint.domain)
    }

    /// The next bytes from the connection at hand; `None` when it has ended, well or not.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(mut response) = self.response.take() else { return Ok(None) };
        let chunk = self.client.block_on(async { Ok(response.chunk().await) })?;
        let chunk = chunk.unwrap_or_default();
        if chunk.is_some() {
            self.response = Some(response);
        }
        Ok(chunk)
    }

    /// Connects again, to go on at `position`.
    fn resume(&mut self) -> Result<(), RegistryError> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS {
            if self.places.len() < 2 {
                return Err(self.wrong_size(self.host(), self.position));
            }
            self.give_up_place();
        }
        self.client.pause(self.fruitless)?;
        self.go_on()
    }

    /// Asks for what follows `position`.
    fn go_on(&mut self) -> Result<(), RegistryError> {
        let mut response = self.open()?;
        // A registry that does not know ranges starts from the beginning.
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { self.position };
        while skip > 0 {
            let chunk = self.client.block_on(async { Ok(response.chunk().await) })?;
            let Ok(Some(mut chunk)) = chunk else { return Ok(()) };
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            self.chunk = chunk.split_off(passed as usize);
        }
        self.response = Some(response);
        Ok(())
    }

    /// Makes sure that nothing comes after the last byte.
    fn finish(&mut self) -> Result<(), RegistryError> {
        match self.next_chunk()? {
            Some(chunk) if chunk.is_empty() => self.finish(),
            Some(chunk) => Err(self.wrong_size(self.host(), self.size + chunk.len() as u64)),
            // How the connection ends is of no interest: everything is here, and the digest says whether it is right.
            None => Ok(()),
        }
    }
}

/// First byte, last byte and size of the whole. Spec: RFC 9110, 14.4.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, whole))
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.chunk.is_empty() {
            if self.position == self.size {
                return self.finish().map(|()| 0).map_err(io::Error::other);
            }
            match self.next_chunk().map_err(io::Error::other)? {
                Some(chunk) => self.chunk = chunk,
                None => self.resume().map_err(io::Error::other)?,
            }
        }
        let beyond = self.position + self.chunk.len() as u64;
        if beyond > self.size {
            return Err(io::Error::other(self.wrong_size(self.host(), beyond)));
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        self.position += length as u64;
        self.fruitless = 0;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |text, expected| assert_eq!(content_range(text), expected, "{text}");
        check("bytes 3-9/10", Some((3, 9, Some(10))));
        check("bytes 3-9/*", Some((3, 9, None)));
        check("bytes */10", None);
        check("3-9/10", None);
        check("bytes 3-/10", None);
        check("bytes -9/10", None);
    }

    proptest::proptest! {
        #[test]
        fn any_range_is_an_answer(text in ".*", range in "[0-9/*-]*") {
            let _ = content_range(&text);
            let _ = content_range(&format!("bytes {range}"));
        }
    }
}
