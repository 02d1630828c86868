//! Who a client is at registries: the headers it sends, never what is kept on this host.

use std::sync::Arc;

use ::registry::credentials::{Credentials, Given};
use ::registry::{Client, RegistryError};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine::Engine;
use image::Registries;
use oci::Reference;

use crate::refusal::Refusal;
use crate::request::Request;

const AUTH: &str = "x-registry-auth";
const CONFIG: &str = "x-registry-config";

/// A client's own way to registries.
pub struct Session {
    engine: Arc<Engine>,
    credentials: Arc<dyn Credentials>,
}

impl Session {
    /// A way with `credentials`.
    pub fn with(engine: Arc<Engine>, credentials: Arc<dyn Credentials>) -> Self {
        Self { engine, credentials }
    }

    /// `X-Registry-Auth`: credentials for the registry `host`.
    ///
    /// # Errors
    /// A header that cannot be read.
    pub fn new(request: &Request, host: &str) -> Result<Self, Refusal> {
        let given = match header(request, AUTH)? {
            Some(text) => Given::entry(host, &text).map_err(|why| wrong(AUTH, why))?,
            None => Given::default(),
        };
        Ok(Self::with(request.state.engine.clone(), Arc::new(given)))
    }

    /// The client, which shows these credentials and no others.
    ///
    /// # Errors
    /// [`RegistryError::Setup`].
    pub fn client(&self) -> Result<Client, RegistryError> {
        self.engine.registry_with(self.credentials.clone())
    }
}

impl Registries for Session {
    fn client(&self) -> Result<Client, RegistryError> {
        Self::client(self)
    }

    fn pulled(&self, reference: &Reference) {
        self.engine.pulled(reference);
    }
}

/// `X-Registry-Config`: credentials for every registry a build may ask.
///
/// # Errors
/// A header that cannot be read.
pub fn registries(request: &Request) -> Result<Session, Refusal> {
    let given = match header(request, CONFIG)? {
        Some(text) => Given::entries(&text).map_err(|why| wrong(CONFIG, why))?,
        None => Given::default(),
    };
    Ok(Session::with(request.state.engine.clone(), Arc::new(given)))
}

fn header(request: &Request, name: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = request.headers.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    // Clients disagree about the padding, and old ones about the alphabet.
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: Vec<u8> = value
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            byte => *byte,
        })
        .collect();
    let bytes =
        GeneralPurpose::new(&URL_SAFE, config).decode(text).map_err(|_| wrong(name, "it is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(name, "it is not UTF-8"))?;
    Ok(Some(text).filter(|text| !matches!(text.trim(), "" | "null")))
}

fn wrong(name: &str, why: &str) -> Refusal {
    Refusal::invalid(format!("invalid {name} header: {why}"))
}
