//! The client against registries that are slow, broken, or lie, and against Debian's real one.

mod access;
mod hosts;
mod listing;
mod mutations;
mod pulls;
mod server;
mod uploads;

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use oci::{Digest, Reference};
use registry::credentials::Anonymous;
use registry::{Client, ClientOptions, Hosts, Proxies, RegistryError};

/// Nothing of this machine's configuration, and little patience.
fn options() -> ClientOptions {
    ClientOptions {
        user_agent: "test".to_owned(),
        credentials: Arc::new(Anonymous),
        hosts: Hosts::default(),
        proxies: Proxies::default(),
        silence_limit: Duration::from_millis(400),
        pause_unit: Duration::from_millis(1),
    }
}

fn client() -> Client {
    Client::new(options()).unwrap()
}

fn reference(address: &str) -> Reference {
    Reference::parse(&format!("{address}/app:latest")).unwrap()
}

/// Bytes that are nowhere the same.
fn content(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

/// Reads the blob that is `content`; the error is the registry's.
fn pull(client: &Client, address: &str, content: &[u8]) -> Result<Vec<u8>, RegistryError> {
    let mut blob = client.blob(&reference(address), &Digest::of(content), content.len() as u64)?;
    let mut found = Vec::new();
    match blob.read_to_end(&mut found) {
        Ok(_) => Ok(found),
        Err(error) => Err(*error.into_inner().unwrap().downcast().unwrap()),
    }
}
