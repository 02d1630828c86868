//! Where the registry of a domain is to be found.

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::Url;

use super::auth::Access;
use super::{Client, transport};
use crate::RegistryError;

/// One registry's address, with the connections to it.
pub struct Endpoint {
    /// The domain as references have it, for messages and credentials.
    pub domain: String,
    /// `https://registry-1.docker.io/v2/`.
    pub base: Url,
    pub http: reqwest::Client,
    /// As `http`, for requests that may take as long as they like to send.
    pub uploads: reqwest::Client,
    pub access: Access,
}

impl Endpoint {
    /// The registry does not let us in, or we could not find out what to say.
    pub fn unauthorized(&self) -> RegistryError {
        let host = self.domain.clone();
        match self.access.lookup_failure() {
            Some(source) => RegistryError::Credentials { host, source },
            None => RegistryError::Unauthorized { host },
        }
    }

    /// The URL of `path` beneath `/v2/`.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }
}

impl Client {
    /// The endpoint of a domain; found once.
    pub(crate) fn endpoint(&self, domain: &str) -> Result<Arc<Endpoint>, RegistryError> {
        let mut endpoints = self.inner.endpoints.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = endpoints.get(domain) {
            return Ok(known.clone());
        }
        let agent = &self.inner.options.user_agent;
        let http = transport::connections(agent, Some(transport::SILENCE_LIMIT))?;
        let uploads = transport::connections(agent, None)?;
        let endpoint = Arc::new(Endpoint {
            domain: domain.to_owned(),
            base: base(domain)?,
            http,
            uploads,
            access: Access::default(),
        });
        endpoints.insert(domain.to_owned(), endpoint.clone());
        Ok(endpoint)
    }
}

/// Docker Hub's registry has another name than its domain; a registry on this host needs no TLS.
fn base(domain: &str) -> Result<Url, RegistryError> {
    let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
    let scheme = if is_loopback(host) { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|e| RegistryError::Setup(Box::new(e)))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_goes_without_tls() {
        let check = |domain, expected: &str| assert_eq!(base(domain).unwrap().as_str(), expected);
        check("docker.io", "https://registry-1.docker.io/v2/");
        check("localhost:5000", "http://localhost:5000/v2/");
        check("127.0.0.9", "http://127.0.0.9/v2/");
        check("[::1]:5000", "http://[::1]:5000/v2/");
        check("localhost.example:5000", "https://localhost.example:5000/v2/");
        check("10.0.0.1:5000", "https://10.0.0.1:5000/v2/");
    }
}
