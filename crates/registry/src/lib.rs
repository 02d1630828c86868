//! The distribution protocol: asking registries for images and giving them images, and being one.
//!
//! Knows HTTP, authentication, names, digests and descriptors; knows neither a store nor an archive. What arrives is handed on
//! as a stream whose length is that of its descriptor; whoever stores it verifies the digest while it passes by.
//!
//! The faces are plain blocking calls and [`std::io::Read`]: an image is pulled by a few threads that hash, decompress and
//! write. Underneath, one runtime with one thread drives all sockets ([`client`] is one of the places that wait on many).
//! By the same connections it fetches what is no registry's: files and build contexts that are named by their addresses
//! ([`Client::download`]).
//!
//! Spec: OCI distribution-spec 1.1. Start reading at [`Client`], and for the other side at [`server`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod client;
pub mod credentials;
mod error;
pub mod hosts;
pub mod server;

pub use client::{
    BlobReader, Client, ClientOptions, Download, DownloadError, Fetched, Found, Proxies, Push, Streamed,
    file_name, without_credentials,
};
pub use credentials::{Credential, Credentials, CredentialsError};
pub use error::RegistryError;
pub use hosts::Hosts;
