//! What an address of the web leads to, over the same connections that registries are asked on: their proxies, authorities and limits.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use diag::{Class, Diagnose};
use percent_encoding::percent_decode_str;
use reqwest::header::{LAST_MODIFIED, LOCATION};
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
    /// Asks for the document at `address`, with no credentials but those that are in it, and follows redirects, but never from TLS to no
    /// TLS.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub fn download(&self, address: &str) -> Result<Download, DownloadError> {
        let mut url =
            of_the_web(address).ok_or_else(|| DownloadError::Address(without_credentials(address)))?;
        let options = &self.inner.options;
        let host = Host::itself(url.authority()).map_err(RegistryError::from)?;
        let http = self.inner.transport.connections(options, &host, Some(options.silence_limit))?;
        for _ in 0..=REDIRECTS {
            let sent = self.block_on(async { Ok(http.get(url.clone()).send().await) })?;
            let connect = |source: reqwest::Error| DownloadError::Connect {
                url: without_credentials(url.as_str()),
                source: source.without_url(),
            };
            let response = sent.map_err(connect)?;
            let status = response.status();
            if status.is_success() {
                return Ok(Download { client: self.clone(), response, chunk: Bytes::new() });
            }
            if !status.is_redirection() {
                return Err(DownloadError::Status { url: without_credentials(url.as_str()), status });
            }
            url = redirect(&url, &response)?;
        }
        Err(refused(address, url.as_str(), "it goes on and on"))
    }
}

/// `text` for messages: what addresses in it have before their hosts is hidden.
pub fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.extend([before, "://"]);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(after.len());
        rest = after;
        if let Some(at) = after[..end].rfind('@') {
            shown.push_str("xxxxx:xxxxx");
            rest = &after[at..];
        }
    }
    shown + rest
}

/// The last name in the path of `address`, without its percent-encoding; `None` when the path has none.
pub fn file_name(address: &str) -> Option<OsString> {
    let url = of_the_web(address)?;
    let path = OsString::from_vec(percent_decode_str(url.path()).collect());
    Path::new(&path).file_name().map(OsStr::to_owned)
}

fn of_the_web(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn redirect(url: &Url, response: &Response) -> Result<Url, DownloadError> {
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why| refused(url.as_str(), target, why);
    let next = url.join(target).ok().and_then(|next| of_the_web(next.as_str()));
    let next = next.filter(|_| !target.is_empty()).ok_or_else(|| refused("it is no address of the web"))?;
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(refused("it leads from TLS to no TLS")),
        _ => Ok(next),
    }
}

fn refused(url: &str, target: &str, why: &'static str) -> DownloadError {
    DownloadError::Redirect { url: without_credentials(url), target: without_credentials(target), why }
}

impl Download {
    /// When the document was last changed, if its server says so.
    pub fn modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.response.headers().get(LAST_MODIFIED)?.to_str().ok()?).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let check = |text: &str, expected: &str| assert_eq!(without_credentials(text), expected);
        check("https://host/a@b?c=d@e", "https://host/a@b?c=d@e");
        check("https://me:pw@host:80/a", "https://xxxxx:xxxxx@host:80/a");
        check("http://me@host?a=http://x:y@z", "http://xxxxx:xxxxx@host?a=http://xxxxx:xxxxx@z");
        check("ADD http://p@ss@host a@b /", "ADD http://xxxxx:xxxxx@host a@b /");
        check("ADD [\"http://host\", \"a@b\"]", "ADD [\"http://host\", \"a@b\"]");
        check("no address", "no address");
    }

    #[test]
    fn names_are_the_paths_last() {
        let check = |address: &str, expected: Option<&str>| {
            assert_eq!(file_name(address).as_deref(), expected.map(OsStr::new), "{address}");
        };
        check("https://host/a/b.tar.gz?c=d/e#f", Some("b.tar.gz"));
        check("http://host/a/b/", Some("b"));
        check("http://host/a%20b%3f", Some("a b?"));
        check("http://host/a%2Fb", Some("b"));
        check("http://host/a%2F..", None);
        check("http://host/a/..", None);
        check("http://host/", None);
        check("http://host", None);
        check("ftp://host/a", None);
    }
}
