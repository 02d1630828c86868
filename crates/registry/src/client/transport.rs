//! Connections: TLS, name resolution, time limits, proxies.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientOptions;
use crate::RegistryError;
use crate::hosts::{Host, Trust};

const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// What all connections of a client have in common, made when first needed.
#[derive(Default)]
pub struct Transport {
    authorities: OnceLock<RootCertStore>,
    resolver: OnceLock<HostResolver>,
}

/// Proxies, by the scheme of what is behind them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts, domains and networks that are asked directly.
    pub except: String,
}

impl Proxies {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not.
    pub fn from_environment() -> Self {
        let variable = |name: &str| {
            let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).ok();
            value.filter(|value| !value.is_empty())
        };
        let all = variable("ALL_PROXY");
        Self {
            http: variable("HTTP_PROXY").or_else(|| all.clone()),
            https: variable("HTTPS_PROXY").or(all),
            except: variable("NO_PROXY").unwrap_or_default(),
        }
    }

    fn proxies(&self) -> reqwest::Result<Vec<Proxy>> {
        // What is on this host is not the proxy's business.
        let except = NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{}", self.except));
        let http = self.http.as_ref().map(Proxy::http);
        let https = self.https.as_ref().map(Proxy::https);
        let proxies = http.into_iter().chain(https);
        proxies.map(|proxy| Ok(proxy?.no_proxy(except.clone()))).collect()
    }
}

impl Transport {
    /// Makes connections for `host`.
    ///
    /// Redirects are not followed here: who does so decides what a stranger may be told. `silence` also limits how long sending
    /// a request takes, as its answer only comes then.
    pub fn connections(
        &self,
        options: &ClientOptions,
        host: &Host,
        silence: Option<Duration>,
    ) -> Result<reqwest::Client, RegistryError> {
        let setup = |e: Box<dyn Error + Send + Sync>| RegistryError::Setup(e);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls(&host.trust).map_err(|e| setup(Box::new(e)))?)
            .dns_resolver(self.resolver.get_or_init(HostResolver::new).clone())
            .redirect(Policy::none())
            .connect_timeout(host.connect_limit.unwrap_or(CONNECT_LIMIT))
            .user_agent(&options.user_agent)
            .no_proxy()
            .http1_only();
        for proxy in options.proxies.proxies().map_err(|e| setup(Box::new(e)))? {
            builder = builder.proxy(proxy);
        }
        if let Some(limit) = silence {
            builder = builder.read_timeout(limit);
        }
        builder.build().map_err(|e| setup(Box::new(e)))
    }

    fn tls(&self, trust: &Trust) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = if trust.verify {
            builder.with_root_certificates(self.authorities(trust))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        match &trust.identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()),
            None => Ok(builder.with_no_client_auth()),
        }
    }

    /// The system's certificate authorities and those of `trust`.
    fn authorities(&self, trust: &Trust) -> RootCertStore {
        let system = self.authorities.get_or_init(|| {
            let mut store = RootCertStore::empty();
            // Files it could not read are only missed when a certificate needs them.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store
        });
        let mut store = system.clone();
        store.add_parsable_certificates(trust.authorities.iter().cloned());
        store
    }
}

/// Takes the other side for who it says it is: for registries whose user said so.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Resolves names by `/etc/hosts` and the servers of `/etc/resolv.conf`: the C library of a static binary would load
/// modules of another one.
#[derive(Clone)]
struct HostResolver(Result<Arc<TokioResolver>, Arc<str>>);

impl HostResolver {
    /// A system without name servers still reaches addresses.
    fn new() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        Self(resolver.map(Arc::new).map_err(|e| e.to_string().into()))
    }

    async fn addresses(self, name: &str) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        let resolver = self.0.map_err(|e| e.to_string())?;
        Ok(resolver.lookup_ip(name).await?.iter().collect())
    }
}

impl Resolve for HostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of `host`, which may be one itself.
///
/// # Errors
/// It has none, or nobody could be asked.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    match host.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => HostResolver::new().addresses(host).await.map_err(io::Error::other),
    }
}
