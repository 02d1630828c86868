//! Pure types and parsers of the OCI image and runtime specifications. No I/O.
//!
//! What is parsed here is proof: a [`Digest`] is a well-formed digest, a [`Reference`] is normalised as Docker normalises it.
//! JSON documents keep the fields they do not know, so that reading and writing one again loses nothing. Start reading at
//! [`image`] for what a store holds, and at [`reference`] for what a user types.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod digest;
pub mod image;
pub mod media;
pub mod reference;
pub mod runtime;

pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher, chain_id};
pub use reference::{Reference, ReferenceError};
