//! Whether an image is what somebody trusted has signed.
//!
//! A [`Policy`] says what is required of images by where they come from; [`Policy::check`] asks an image's registry for
//! signatures and holds them against it. Two forms are understood: cosign's own (a payload and its signature in an image under a
//! tag made of the digest), and sigstore bundles that refer to the image. A signature is by a key, or by a short-lived
//! certificate of an identity, whose validity a transparency log's signed time stamp shows.
//!
//! Everything that comes from a registry is an attacker's until a signature over it is verified, and is small until then. Nothing
//! here decides by what a registry says of itself. What cannot be read, found or understood is a refusal.
//!
//! The cryptography is ring's, X.509 paths are webpki's, what a certificate says beyond that is read by `x509-cert`.
//!
//! Formats: cosign `specs/SIGNATURE_SPEC.md`, sigstore `protobuf-specs`, containers-policy.json(5). Start reading at [`check`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod bundle;
mod certificate;
mod check;
mod error;
mod find;
mod identity;
mod key;
mod policy;
mod rekor;
mod signature;
mod simple;

pub use certificate::{Fulcio, RootsError, Subject};
pub use check::{Verified, check};
pub use error::{Reason, TrustError};
pub use identity::Identity;
pub use key::{KeyError, PublicKey};
pub use policy::{Policy, PolicyError, Requirement, Signers, SigstoreSigned};
