//! Connections: TLS, name resolution, time limits, proxies.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

use crate::RegistryError;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// A peer that sends nothing for so long is taken for dead; what it sent is kept and the rest asked for again.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// Makes connections that trust the system's certificate authorities.
///
/// Proxies are taken from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. Redirects are not followed here: who does so decides
/// what a stranger may be told. `silence` also limits how long sending a request takes, as its answer only comes then.
pub fn connections(user_agent: &str, silence: Option<Duration>) -> Result<reqwest::Client, RegistryError> {
    let setup = |e: Box<dyn Error + Send + Sync>| RegistryError::Setup(e);
    let mut roots = RootCertStore::empty();
    // Files it could not read are only missed when a certificate needs them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| setup(Box::new(e)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(HostResolver::new().map_err(setup)?)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .user_agent(user_agent)
        .http1_only();
    let builder = match silence {
        Some(limit) => builder.read_timeout(limit),
        None => builder,
    };
    builder.build().map_err(|e| setup(Box::new(e)))
}

/// Resolves names by `/etc/hosts` and the servers of `/etc/resolv.conf`: the C library of a static binary would load
/// modules of another one.
struct HostResolver(Arc<TokioResolver>);

impl HostResolver {
    fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(Arc::new(TokioResolver::builder_tokio()?.build()?)))
    }
}

impl Resolve for HostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
