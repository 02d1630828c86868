//! Parts of blobs, for who wants something in the middle first.

use oci::{Digest, Reference};
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::Client;
use super::request::{Request, expect, no_body, pull_scope, read_document};
use crate::RegistryError;

impl Client {
    /// The bytes `start..end` of a blob, at most as many as a document may have. The caller verifies them.
    ///
    /// # Errors
    /// [`RegistryError::Malformed`] from a registry that knows no ranges, and the others.
    pub fn blob_range(
        &self,
        reference: &Reference,
        digest: &Digest,
        (start, end): (u64, u64),
    ) -> Result<Vec<u8>, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let mut headers = HeaderMap::new();
            let range = format!("bytes={start}-{}", end.saturating_sub(1));
            headers.extend(HeaderValue::from_str(&range).map(|value| (RANGE, value)));
            let request = Request {
                method: Method::GET,
                url: endpoint.url(&format!("{}/blobs/{digest}", reference.path())),
                headers,
                body: &no_body,
                scope: &pull_scope(reference),
            };
            let response = self.send(&endpoint, &request).await?;
            let url = response.url().to_string();
            let malformed = |what: &str| RegistryError::Malformed {
                host: endpoint.domain.clone(),
                url,
                what: what.to_owned(),
            };
            if response.status() == StatusCode::OK {
                return Err(malformed("all of the blob instead of a part"));
            }
            let response = expect(&endpoint.domain, response, &[StatusCode::PARTIAL_CONTENT]).await?;
            let bytes = read_document(&endpoint.domain, response).await?;
            match bytes.len() as u64 == end.saturating_sub(start) {
                true => Ok(bytes),
                false => Err(malformed("another number of bytes than was asked for")),
            }
        })
    }
}
