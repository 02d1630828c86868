//! Where the registry of a domain is asked, with the connections to it.

use std::sync::{Arc, OnceLock};

use oci::Reference;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Response, StatusCode, Url};

use super::Client;
use super::auth::Access;
use super::request::words;
use crate::RegistryError;
use crate::hosts::{Abilities, Host};

/// One place that answers for a registry.
pub struct Endpoint {
    /// Host and port as users know them, for messages and credentials.
    pub domain: String,
    pub host: Host,
    /// The address with the scheme that was found to be the right one.
    pub settled: OnceLock<Url>,
    pub http: reqwest::Client,
    /// As `http`, for requests that may take as long as they like to send.
    pub uploads: reqwest::Client,
    pub access: Access,
}

impl Endpoint {
    /// `https://registry-1.docker.io/v2/`.
    pub fn base(&self) -> &Url {
        self.settled.get().unwrap_or(&self.host.base)
    }

    /// The URL of `path` beneath `/v2/`; a mirror is told whose content is asked for, as containerd does it.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base().clone();
        url.set_path(&format!("{}{path}", self.base().path()));
        if let Some(domain) = &self.host.mirrors {
            url.query_pairs_mut().append_pair("ns", domain);
        }
        url
    }

    /// Why the registry does not let us at the repository of `reference`, which it may not even have.
    pub async fn denied(&self, reference: &Reference, response: Response) -> RegistryError {
        let (host, repository) = (self.domain.clone(), reference.repository());
        if let Some(source) = self.access.lookup_failure() {
            return RegistryError::Credentials { host, source };
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let lacks_scope =
            challenges.iter().any(|it| it.as_bytes().windows(18).any(|at| at == b"insufficient_scope"));
        let knows_us = response.status() != StatusCode::UNAUTHORIZED || lacks_scope;
        let usual = match knows_us {
            true => "denied: requested access to the resource is denied",
            false => "unauthorized: authentication required",
        };
        let said = words(&host, response).await.unwrap_or_else(|| usual.to_owned());
        RegistryError::Denied { host, repository, said, knows_us }
    }

    /// The same of somebody who pushes.
    pub async fn push_denied(&self, reference: &Reference, response: Response) -> RegistryError {
        match self.denied(reference, response).await {
            RegistryError::Denied { host, said, knows_us, .. } => {
                RegistryError::PushDenied { host, said, knows_us }
            }
            error => error,
        }
    }

    /// The registry does not let us in, or we could not find out what to say.
    pub fn unauthorized(&self) -> RegistryError {
        let host = self.domain.clone();
        match self.access.lookup_failure() {
            Some(source) => RegistryError::Credentials { host, source },
            None => RegistryError::Unauthorized { host },
        }
    }
}

impl Client {
    /// The place that takes what is pushed to `domain`, and says who may.
    pub(crate) fn endpoint(&self, domain: &str) -> Result<Arc<Endpoint>, RegistryError> {
        let places = self.endpoints(domain)?;
        let able = places.iter().find(|endpoint| endpoint.host.can.push && endpoint.host.mirrors.is_none());
        let able = able.or_else(|| places.iter().find(|endpoint| endpoint.host.can.push));
        able.cloned().ok_or_else(|| incapable(domain))
    }

    /// Asks the places that answer for `domain` and can do it, one after the other until one has an answer.
    pub(super) async fn ask_each<T>(
        &self,
        domain: &str,
        places: &[Arc<Endpoint>],
        can: impl Fn(&Abilities) -> bool,
        ask: impl AsyncFn(&Arc<Endpoint>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failure = incapable(domain);
        for endpoint in places.iter().filter(|endpoint| can(&endpoint.host.can)) {
            match ask(endpoint).await {
                Ok(answer) => return Ok(answer),
                // The registry itself comes last and knows best.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The places that answer for `domain`, best first; found once.
    pub(super) fn endpoints(&self, domain: &str) -> Result<Arc<[Arc<Endpoint>]>, RegistryError> {
        let mut endpoints = self.inner.endpoints.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = endpoints.get(domain) {
            return Ok(known.clone());
        }
        let hosts = self.inner.options.hosts.of(domain)?;
        let found: Result<Arc<[_]>, _> =
            hosts.into_iter().map(|host| self.connect(host).map(Arc::new)).collect();
        let found = found?;
        endpoints.insert(domain.to_owned(), found.clone());
        Ok(found)
    }

    fn connect(&self, host: Host) -> Result<Endpoint, RegistryError> {
        let inner = &*self.inner;
        let http = inner.transport.connections(&inner.options, &host, Some(inner.options.silence_limit))?;
        let uploads = inner.transport.connections(&inner.options, &host, None)?;
        let (domain, settled, access) = (host.name.clone(), OnceLock::new(), Access::default());
        Ok(Endpoint { domain, host, settled, http, uploads, access })
    }
}

fn incapable(domain: &str) -> RegistryError {
    RegistryError::Incapable { domain: domain.to_owned() }
}
