//! The caches of other hosts: read before a build, written after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use image::{Layer, PullOptions, PushError, PushOptions};
use oci::DiffId;
use oci::image::ImageConfig;

use super::BuildContext;
use crate::cache::transfer::{self, Import};
use crate::cache::{CacheMode, CacheSource, CacheTarget, Outcome};
use crate::error::BuildError;
use crate::progress::{Event, Progress, StepId};
use crate::request::Cancel;
use crate::solve::{Finished, Solve};

/// The caches of other hosts that can be read. Each is a step; `steps` counts them.
pub fn import(
    context: &BuildContext<'_>,
    sources: &[CacheSource],
    cancel: &Cancel,
    progress: &Arc<dyn Progress>,
    steps: &mut u32,
) -> Vec<Import> {
    let mut imports = Vec::new();
    for source in sources {
        let name = format!("importing cache manifest from {source}");
        *steps += 1;
        let (step, start) = (StepId(*steps), Instant::now());
        progress.event(Event::Started { step, name: &name });
        let options = PullOptions { stop: cancel.flag(), ..PullOptions::default() };
        let opened = Import::open(context.images, context.registries, source, options, progress.clone());
        let took = start.elapsed();
        match opened {
            Ok(import) => {
                imports.push(import);
                progress.event(Event::Finished { step, took });
            }
            Err(error) => progress.event(Event::Failed { step, took, error: &diag::with_sources(&error) }),
        }
    }
    imports
}

/// Brings results to a registry. Those that an image has itself are there already.
pub fn export(
    context: &BuildContext<'_>,
    solve: &Solve<'_>,
    finished: &Finished,
    results: &BTreeMap<String, Outcome>,
    target: &CacheTarget,
) -> Result<(), BuildError> {
    let CacheTarget::Registry { reference, mode, ignore_error } = target else { return Ok(()) };
    let Some(registries) = context.registries else {
        let reason = "this build has no way to registries".to_owned();
        return Err(BuildError::Request { what: "cache target", value: reference.familiar(), reason });
    };
    let of_image: Vec<DiffId> = finished.filesystem.layers.iter().map(|layer| layer.diff_id).collect();
    let mut layers: Vec<Layer> = results.values().filter_map(|outcome| outcome.layer.clone()).collect();
    layers.retain(|layer| *mode == CacheMode::Max || of_image.contains(&layer.diff_id));
    layers.sort_by_key(|layer| layer.diff_id);
    layers.dedup_by_key(|layer| layer.diff_id);
    let ImageConfig { architecture, os, .. } = finished.image.clone();
    let mut config = ImageConfig { architecture, os, ..ImageConfig::default() };
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
    transfer::describe(&mut config, results, &diff_ids);

    let name = format!("exporting cache to registry {}", reference.familiar());
    let (step, start, progress) = (solve.next_step(), Instant::now(), solve.progress);
    progress.event(Event::Started { step, name: &name });
    let push = || -> Result<_, PushError> {
        let client = registries.client()?.until(&solve.stop.wish().flag());
        context.images.push_unrecorded(&client, reference, config, &layers, &PushOptions::default())
    };
    let pushed = push();
    let took = start.elapsed();
    match pushed {
        Ok(_) => progress.event(Event::Finished { step, took }),
        Err(error) => {
            progress.event(Event::Failed { step, took, error: &diag::with_sources(&error) });
            if !ignore_error {
                let what = format!("export the build cache to {}", reference.familiar());
                return Err(BuildError::storage(what)(error));
            }
        }
    }
    Ok(())
}
