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

use ::image::PullError;
use api::Version;
use axum::http::StatusCode;
use diag::{Class, Diagnose as _};
use oci::Reference;
use oci::image::Platform;

use crate::refusal::Refusal;
use crate::request::Request;

/// A reference, in Docker's words when it is none.
fn reference(text: &str) -> Result<Reference, Refusal> {
    Reference::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// The reference `name`, with another tag or digest when `tag` is one.
fn with_tag(name: &str, tag: &str) -> Result<Reference, Refusal> {
    match tag {
        "" => reference(name),
        digest if digest.contains(':') => reference(&format!("{name}@{digest}")),
        tag => reference(name)?.with_tag(tag).map_err(|_| Refusal::invalid("invalid tag format")),
    }
}

/// What keeps an image at its registry, in dockerd's statuses: one that is not there, or not for this client, is not found.
fn at_registry(error: PullError) -> Refusal {
    let is_own = matches!(error, PullError::Trust(_)) || error.class() == Class::Unsupported;
    match Refusal::from(error) {
        refusal if is_own || refusal.status == StatusCode::NOT_FOUND => refusal,
        refusal => Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, ..refusal },
    }
}

/// Whether `name` says which tag or digest of its repository it means.
fn is_exact(name: &str) -> bool {
    name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// `platform` as a JSON document, which it is for all but pulls and builds; clients before 1.`since` do not know it there.
fn platform(request: &Request, since: u16) -> Result<Option<Platform>, Refusal> {
    let text = request.query.get("platform").filter(|_| request.version >= Version::minor(since));
    let Some(text) = text else { return Ok(None) };
    let wrong = |error| Refusal::invalid(format!("platform: it is no JSON document of a platform: {error}"));
    let platform: Platform = serde_json::from_str(text).map_err(wrong)?;
    let platform = Platform::parse(&platform.to_string());
    platform.map(Some).map_err(|error| Refusal::invalid(error.to_string()))
}
