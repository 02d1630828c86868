//! Signatures of images: what is verified, what is refused, and that others see it the same way.
//!
//! The registry is Debian's. Signatures are made here with openssl in cosign's formats ([`signer`]); cosign and skopeo say whether
//! they are right ([`interop`]).

mod attacks;
mod interop;
mod keyless;
mod keys;
mod place;
mod policy;
mod signer;
mod simple;
