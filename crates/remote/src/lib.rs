//! The client's side of the Docker Engine API: another hull, or a Docker engine, over a socket, TLS or ssh.
//!
//! ```text
//! endpoint   where an engine is, as users write it     contexts   endpoints with names, kept as Docker's client keeps them
//! connect    connections to it                         client     requests and their answers
//! frames     output of several streams on one connection
//! ```
//!
//! The faces are plain blocking calls and [`std::io::Read`], as those of `registry`; underneath, one runtime with one thread drives
//! the connections. Every transport is a Unix socket here, so that whoever attaches to a container has one descriptor to wait for.
//!
//! Spec: Docker Engine API 1.41 to 1.50. Start reading at [`Client`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod client;
mod connect;
pub mod contexts;
mod endpoint;
mod error;
pub mod frames;

pub use client::{Answer, Awaited, Call, Client, Hijacked};
pub use endpoint::{Endpoint, EndpointError};
pub use error::RemoteError;
