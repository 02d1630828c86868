//! The Docker Engine API on the wire: its versions, and the bodies clients send.
//!
//! Every field a client can send is here, whether hull honours it or not: what is refused has to be seen first. Every field is
//! optional, because clients written in Go send `null` for what they leave out; fields nobody knows are ignored, as Docker does.
//! What the server sends is made by `engine::view`.
//!
//! Spec: Docker Engine API 1.24 to 1.50.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod auth;
pub mod buildkit;
pub mod container;
pub mod exec;
pub mod network;
pub mod stream;
mod version;
pub mod volume;

pub use version::{Version, VersionError};

/// Labels, options and other maps of words.
pub type Words = std::collections::BTreeMap<String, String>;
