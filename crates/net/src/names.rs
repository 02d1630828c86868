//! Who answers to which name on a network: a directory on tmpfs, so that a registration is a file and a look-up a `readdir`.
//!
//! ```text
//! <run root>/networks/<network id>/names/<lower-case name>/<ipv4>   empty
//! <run root>/networks/<network id>/addrs/<ipv4>                     the primary name, for reverse look-ups
//! ```
//! Monitors register their own container and read everybody's; nobody keeps a copy, so nothing can be stale.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};

use crate::plan::{Context, EndpointPlan};

/// The names of one network, as the name service reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesDir {
    path: PathBuf,
    network: String,
    links: BTreeMap<String, String>,
}

impl NamesDir {
    /// The names of the network `id`, which answer also with `.name` appended.
    pub fn new(context: &Context, id: &str, name: &str) -> Self {
        let links = BTreeMap::new();
        Self { path: context.network_dir(id), network: name.to_ascii_lowercase(), links }
    }

    /// The same for somebody who calls some of them otherwise: each of `links` stands for a name of the network, and comes before it.
    pub fn with_links(self, links: &BTreeMap<String, String>) -> Self {
        let lower =
            |(alias, name): (&String, &String)| (alias.to_ascii_lowercase(), name.to_ascii_lowercase());
        Self { links: links.iter().map(lower).collect(), ..self }
    }

    /// The addresses that answer to `name`, which is lower-case and has no final dot.
    pub fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        if let Some(name) = self.links.get(name) {
            return self.read(name);
        }
        let found = self.read(name);
        match name.strip_suffix(&self.network).and_then(|rest| rest.strip_suffix('.')) {
            Some(bare) if found.is_empty() => self.read(bare),
            _ => found,
        }
    }

    fn read(&self, name: &str) -> Vec<Ipv4Addr> {
        if !is_name(name) {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(self.path.join("names").join(name)) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// The primary name of `address`, with the network's name appended as Docker does: `web.frontend`.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        let name = fs::read_to_string(self.path.join("addrs").join(address.to_string())).ok()?;
        Some(format!("{name}.{}", self.network))
    }
}

/// Why a name could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("invalid network alias `{name}`")]
    Name { name: String },
    #[error("cannot record the names of {address} in {}", path.display())]
    Io { address: Ipv4Addr, path: PathBuf, source: io::Error },
}

impl Diagnose for RegisterError {
    fn class(&self) -> Class {
        match self {
            Self::Name { .. } => Class::Invalid,
            Self::Io { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name { .. } => {
                Some("a name has 1 to 253 characters and no slash or white space".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

/// Whether `name` can be registered: it becomes a file name, and is compared with what resolvers send.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('.')
        && !name.bytes().any(|b| b == b'/' || b <= b' ' || b == 0x7f)
}

/// Makes every name of `endpoint` resolve to its address.
pub fn register(context: &Context, endpoint: &EndpointPlan) -> Result<(), RegisterError> {
    let dir = context.network_dir(&endpoint.network.id);
    let address = endpoint.address.to_string();
    for name in &endpoint.names {
        if !is_name(name) {
            unregister(context, endpoint);
            return Err(RegisterError::Name { name: name.clone() });
        }
        put(&dir.join("names").join(name.to_ascii_lowercase()), &address, b"")
            .map_err(|source| failed(context, endpoint, &dir, source))?;
    }
    if let Some(primary) = endpoint.names.first() {
        put(&dir.join("addrs"), &address, primary.to_ascii_lowercase().as_bytes())
            .map_err(|source| failed(context, endpoint, &dir, source))?;
    }
    Ok(())
}

fn failed(context: &Context, endpoint: &EndpointPlan, dir: &Path, source: io::Error) -> RegisterError {
    unregister(context, endpoint);
    RegisterError::Io { address: endpoint.address, path: dir.to_owned(), source }
}

/// Writes `dir/file`, again when a leaving container has just removed the empty `dir`.
fn put(dir: &Path, file: &str, content: &[u8]) -> io::Result<()> {
    loop {
        match fs::write(dir.join(file), content) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir)?,
            result => return result,
        }
    }
}

/// Forgets the names of `endpoint`; what is gone already is no failure.
pub fn unregister(context: &Context, endpoint: &EndpointPlan) {
    let dir = context.network_dir(&endpoint.network.id);
    let address = endpoint.address.to_string();
    for name in endpoint.names.iter().filter(|name| is_name(name)) {
        drop_name(&dir.join("names").join(name.to_ascii_lowercase()), &address);
    }
    let _ = fs::remove_file(dir.join("addrs").join(address));
}

/// Forgets whatever resolves to `address` on `network`, when the plan that registered it is lost.
pub fn forget_address(context: &Context, network: &str, address: Ipv4Addr) {
    let dir = context.network_dir(network);
    let address = address.to_string();
    for name in fs::read_dir(dir.join("names")).into_iter().flatten().flatten() {
        drop_name(&name.path(), &address);
    }
    let _ = fs::remove_file(dir.join("addrs").join(address));
}

/// Forgets every name of `network`.
pub fn forget_network(context: &Context, network: &str) {
    let _ = fs::remove_dir_all(context.network_dir(network));
}

fn drop_name(dir: &Path, address: &str) {
    let _ = fs::remove_file(dir.join(address));
    // Fails, as it should, while another container answers to the same name.
    let _ = fs::remove_dir(dir);
}
