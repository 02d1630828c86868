//! The client: one for all registries a command talks to.

mod auth;
mod blobs;
mod body;
mod challenge;
mod download;
mod endpoint;
mod listing;
mod login;
mod manifests;
mod patience;
mod range;
mod referrers;
mod request;
mod scheme;
mod search;
mod stream;
mod transport;
mod upload;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;

pub use blobs::BlobReader;
pub use download::{Download, DownloadError, file_name, without_credentials};
pub use manifests::Fetched;
pub use search::Found;
pub use stream::Streamed;
pub use transport::{Proxies, resolve};
pub use upload::Push;

use crate::credentials::DockerConfig;
use crate::hosts::Hosts;
use crate::{Credentials, RegistryError};
use endpoint::Endpoint;
use transport::Transport;

/// What a client is told once.
#[derive(Clone)]
pub struct ClientOptions {
    /// What registries are told of their visitor: `hull/0.1.0`.
    pub user_agent: String,
    pub credentials: Arc<dyn Credentials>,
    /// Where registries are.
    pub hosts: Hosts,
    pub proxies: Proxies,
    /// A peer that sends or takes nothing for so long is taken for dead; what it sent is kept and the rest asked for again.
    pub silence_limit: Duration,
    /// What the pauses between attempts are multiples of.
    pub pause_unit: Duration,
}

impl ClientOptions {
    /// What every command of hull is: nothing is read before a registry asks for it.
    pub fn from_environment() -> Self {
        Self {
            user_agent: concat!("hull/", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: Arc::new(DockerConfig::from_environment()),
            hosts: Hosts::from_environment(),
            proxies: Proxies::from_environment(),
            silence_limit: Duration::from_secs(30),
            pause_unit: Duration::from_millis(250),
        }
    }
}

/// Talks to registries; cheap to clone, may be shared between threads. Connections and tokens are kept for its lifetime.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Any of them ends what is under way.
    stops: Vec<Arc<AtomicBool>>,
}

struct Inner {
    runtime: Runtime,
    options: ClientOptions,
    /// By domain as references have it.
    endpoints: Mutex<HashMap<String, Arc<[Arc<Endpoint>]>>>,
    transport: Transport,
}

impl Client {
    /// # Errors
    /// [`RegistryError::Setup`] when the system has no threads to give.
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("registry")
            .enable_io()
            .enable_time()
            // A terminal's new size is for whoever waits for it, and a thread that does not block the signal would take it.
            .on_thread_start(|| drop(sys::signal::block_all()))
            .build()
            .map_err(|e| RegistryError::Setup(Box::new(e)))?;
        let inner = Inner { runtime, options, endpoints: Mutex::default(), transport: Transport::default() };
        Ok(Self { inner: Arc::new(inner), stops: Vec::new() })
    }

    /// The same client for work that ends, with [`RegistryError::Stopped`], soon after `stop` is set, whatever it waits for.
    pub fn until(&self, stop: &Arc<AtomicBool>) -> Self {
        let stops = self.stops.iter().chain([stop]).cloned().collect();
        Self { inner: self.inner.clone(), stops }
    }
}
