//! Finding out whether a registry that may do without TLS does so.

use reqwest::{Response, Url};

use super::endpoint::Endpoint;
use crate::RegistryError;
use crate::hosts::Scheme;

/// Go's servers, which most registries are, answer so to those who forget TLS.
const SPEAKS_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server";

/// What became of an attempt with TLS or without.
enum Probe {
    Fits,
    /// It said that it wants the other.
    Other,
    Unclear,
}

impl Endpoint {
    /// Whether `answer`, to the first request, may be that of a registry that was spoken to in the wrong way.
    ///
    /// A registry of this host is not asked beforehand: most answer well, and each question costs.
    pub fn is_doubtful(&self, answer: &Result<Response, RegistryError>) -> bool {
        if self.settled.get().is_some() || self.host.scheme != Scheme::PlainFirst {
            return false;
        }
        let doubtful = match answer {
            Ok(response) => response.status() == 400,
            Err(error) => error.is_passing(),
        };
        if !doubtful {
            let _ = self.settled.set(self.host.base.clone());
        }
        doubtful
    }

    /// Decides for TLS or against it, once. What is wrong with a registry that speaks neither is found by the next request.
    pub async fn settle(&self) {
        if self.settled.get().is_none() {
            let _ = self.settled.set(self.right_address().await);
        }
    }

    /// `url`, which may have been made before the scheme was settled, with the scheme that was.
    pub fn settled_url(&self, url: &Url) -> Url {
        let mut url = url.clone();
        let place = |url: &Url| (url.host_str().map(str::to_owned), url.port());
        if place(&url) == place(&self.host.base) {
            // What http can be https can be, too.
            let _ = url.set_scheme(self.base().scheme());
        }
        url
    }

    async fn right_address(&self) -> Url {
        let with = |scheme: &str| {
            let mut url = self.host.base.clone();
            let _ = url.set_scheme(scheme);
            url
        };
        let (first, second) = match self.host.scheme {
            Scheme::Settled => return self.host.base.clone(),
            Scheme::PlainFirst => (with("http"), with("https")),
            Scheme::TlsFirst => (with("https"), with("http")),
        };
        match self.probe(&first).await {
            Probe::Fits => first,
            Probe::Other => second,
            Probe::Unclear => match self.probe(&second).await {
                Probe::Fits => second,
                Probe::Other | Probe::Unclear => first,
            },
        }
    }

    async fn probe(&self, url: &Url) -> Probe {
        match self.http.get(url.clone()).send().await {
            Ok(response) if response.status() == 400 && url.scheme() == "http" => {
                let body = response.bytes().await.unwrap_or_default();
                let is_other = body.windows(SPEAKS_TLS.len()).any(|part| part == SPEAKS_TLS);
                if is_other { Probe::Other } else { Probe::Fits }
            }
            Ok(_) => Probe::Fits,
            Err(_) => Probe::Unclear,
        }
    }
}
