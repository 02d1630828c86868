//! What an address of the web leads to, over the same connections that registries are asked on: their proxies, authorities and limits.

use std::io::{self, Read};

use bytes::Bytes;
use diag::{Class, Diagnose};
use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode, Url};

use super::Client;
use crate::RegistryError;
use crate::hosts::Host;

const REDIRECTS: usize = 10;

/// A document on its way here, of any length.
pub struct Download {
    client: Client,
    response: Response,
    chunk: Bytes,
}

/// An address does not lead to a document.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("{0:?} is no address of the web: expected one that begins with http:// or https://")]
    Address(String),
    #[error("cannot reach {url}")]
    Connect { url: String, source: reqwest::Error },
    /// In the words of Docker's engine.
    #[error("failed to GET {url} with status {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} redirects to {target:?}, which is refused: {why}")]
    Redirect { url: String, target: String, why: &'static str },
    #[error(transparent)]
    Client(#[from] RegistryError),
}

impl Diagnose for DownloadError {
    fn class(&self) -> Class {
        match self {
            Self::Address(_) | Self::Redirect { .. } => Class::Invalid,
            Self::Connect { .. } => Class::Unavailable,
            Self::Status { status, .. } => match status.as_u16() {
                400 => Class::Invalid,
                401 | 403 => Class::Denied,
                404 => Class::NotFound,
                _ => Class::Unavailable,
            },
            Self::Client(error) => error.class(),
        }
    }
}

impl Client {
    /// Asks for the document at `address`, without credentials, and follows redirects, but never from TLS to no TLS.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub fn download(&self, address: &str) -> Result<Download, DownloadError> {
        let mut url = of_the_web(address).ok_or_else(|| DownloadError::Address(address.to_owned()))?;
        let options = &self.inner.options;
        let host = Host::itself(url.authority()).map_err(RegistryError::from)?;
        let http = self.inner.transport.connections(options, &host, Some(options.silence_limit))?;
        for _ in 0..=REDIRECTS {
            let sent = self.block_on(async { Ok(http.get(url.clone()).send().await) })?;
            let connect = |source: reqwest::Error| DownloadError::Connect {
                url: url.to_string(),
                source: source.without_url(),
            };
            let response = sent.map_err(connect)?;
            let status = response.status();
            if status.is_success() {
                return Ok(Download { client: self.clone(), response, chunk: Bytes::new() });
            }
            if !status.is_redirection() {
                return Err(DownloadError::Status { url: url.into(), status });
            }
            url = redirect(&url, &response)?;
        }
        Err(DownloadError::Redirect { url: address.to_owned(), target: url.into(), why: "it goes on and on" })
    }
}

fn of_the_web(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn redirect(url: &Url, response: &Response) -> Result<Url, DownloadError> {
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why| DownloadError::Redirect { url: url.to_string(), target: target.to_owned(), why };
    let next = url.join(target).ok().and_then(|next| of_the_web(next.as_str()));
    let next = next.filter(|_| !target.is_empty()).ok_or_else(|| refused("it is no address of the web"))?;
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(refused("it leads from TLS to no TLS")),
        _ => Ok(next),
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let chunk = self.client.block_on(async { Ok(self.response.chunk().await) });
            match chunk.map_err(io::Error::other)?.map_err(|error| io::Error::other(error.without_url()))? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}
