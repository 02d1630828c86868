//! The documents an image is made of: index, manifest and config.
//!
//! Spec: OCI image-spec 1.1. Docker's own variants differ only in media types and in a few extra fields, which are kept.

mod config;
mod lenient;
mod manifest;
mod platform;
mod referrer;

pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Descriptor, Document, DocumentError, Index, Manifest, parse_document};
pub use platform::{Platform, PlatformError};
pub use referrer::Referrer;
