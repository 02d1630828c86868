//! Images for others: what a registry that serves this host's images asks of the engine.

use store::{Roots, Store, StoreError};

use crate::Engine;
use crate::model::ListOptions;

/// The images under `roots` as a registry serves them.
///
/// # Errors
/// As [`Engine::open`].
pub fn images(roots: &Roots) -> Result<image::Serving, StoreError> {
    let engine = Engine::open(roots)?;
    let running = move || {
        let running = engine.list(&ListOptions::default())?;
        Ok(running.into_iter().map(|summary| summary.id.to_string()).collect())
    };
    Ok(image::Serving::new(Store::open(roots)?, Box::new(running)))
}
