//! The documents an image is made of: index, manifest and config.
//!
//! Spec: OCI image-spec 1.1. Docker's own variants differ only in media types and in a few extra fields, which are kept.

mod config;
mod lenient;
mod manifest;

pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Descriptor, Document, DocumentError, Index, Manifest, Platform, parse_document};
