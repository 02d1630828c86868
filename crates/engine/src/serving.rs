//! Images for others: what a registry that serves this host's images asks of the engine.

use std::sync::Arc;

use store::{Roots, Store, StoreError};

use crate::image_mounts::mounted_at;
use crate::model::ListOptions;
use crate::{Engine, events};

/// The images under `roots` as a registry serves them.
///
/// # Errors
/// As [`Engine::open`].
pub fn images(roots: &Roots) -> Result<image::Serving, StoreError> {
    let engine = Arc::new(Engine::open(roots)?);
    let (emitting, instance) = (engine.clone(), engine.instance().to_owned());
    let told = move |action: &str, name: &str| emitting.emit(&events::image(name, name, action));
    let running = move || {
        let running = engine.list(&ListOptions::default())?;
        Ok(running.into_iter().map(|summary| summary.id.to_string()).collect())
    };
    let mounts = move |id: &oci::Digest| mounted_at(&instance, id);
    Ok(image::Serving::new(Store::open(roots)?, Box::new(running), Box::new(mounts), Box::new(told)))
}
