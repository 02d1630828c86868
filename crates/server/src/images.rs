//! `/images`, and what else is about images: `/commit`, `/distribution`, `/auth`.

pub mod archive;
pub mod change;
pub mod create;
mod credentials;
pub mod list;
mod progress;
pub mod push;
pub mod registry;

pub use credentials::{Session, registries};

use oci::Reference;
use oci::image::Platform;

use crate::refusal::Refusal;
use crate::request::{Query, Request};

/// A reference, in Docker's words when it is none.
fn reference(text: &str) -> Result<Reference, Refusal> {
    Reference::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// The reference `name`, with another tag or digest when `tag` is one.
fn with_tag(name: &str, tag: &str) -> Result<Reference, Refusal> {
    match tag {
        "" => reference(name),
        digest if digest.contains(':') => reference(&format!("{name}@{digest}")),
        tag => reference(&format!("{name}:{tag}")),
    }
}

/// Whether `name` says which tag or digest of its repository it means.
fn is_exact(name: &str) -> bool {
    name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// `platform` as a JSON document, which it is for all but pulls and builds.
fn platform(query: &Query) -> Result<Option<Platform>, Refusal> {
    let Some(text) = query.get("platform") else { return Ok(None) };
    let wrong = |error| Refusal::invalid(format!("platform: it is no JSON document of a platform: {error}"));
    let platform: Platform = serde_json::from_str(text).map_err(wrong)?;
    let platform = Platform::parse(&platform.to_string());
    platform.map(Some).map_err(|error| Refusal::invalid(error.to_string()))
}

/// Refuses parameters that choose among an image's platforms where hull has one of them.
fn refuse_platform(request: &Request, names: &[&str]) -> Result<(), Refusal> {
    match names.iter().find(|name| request.query.get(name).is_some()) {
        Some(name) => {
            Err(Refusal::unsupported(format!("{name}: images are kept and shown for one platform at a time")))
        }
        None => Ok(()),
    }
}
