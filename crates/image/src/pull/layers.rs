//! The layers of an image: those that are here, and the others, several at once.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::image::Descriptor;
use oci::{DiffId, Digest};

use super::resolve::Chosen;
use super::{LayerState, PullError, PullEvent, PullProgress, Source};
use crate::receive::{Arrived, receive};
use crate::{Layer, LayerError};

/// Layers on their way at the same time: two keep two processors busy, the others wait for the registry or the disk meanwhile.
const AT_ONCE: usize = 4;

/// The layers of an image, all of them here now.
pub struct Brought {
    /// Base first.
    pub layers: Vec<Layer>,
    /// How many were not here before.
    pub fetched: usize,
}

/// Brings the layers of an image that are not here.
pub fn fetch(
    source: &Source<'_>,
    chosen: &Chosen,
    progress: &dyn PullProgress,
) -> Result<Brought, PullError> {
    let wanted = || chosen.manifest.layers.iter().zip(&chosen.config.rootfs.diff_ids);
    let mut layers: HashMap<Digest, Layer> = HashMap::new();
    let mut missing: Vec<(&Descriptor, &DiffId)> = Vec::new();
    let mut states = Vec::new();
    for (descriptor, diff_id) in wanted() {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let known = source.images.layer_of_blob(digest)?;
        match known {
            Some(layer) => drop(layers.insert(*digest, layer)),
            None if missing.iter().any(|(other, _)| other.digest == *digest) => {}
            None => missing.push((descriptor, diff_id)),
        }
        let state = if layers.contains_key(digest) { LayerState::Exists } else { LayerState::Waiting };
        states.push(PullEvent::Layer { digest, size, state });
    }
    // Nothing is said of an image that is simply here.
    if !(missing.is_empty() && source.images.is_known(&chosen.id())?) {
        states.into_iter().for_each(|state| progress.event(state));
    }
    let fetched = missing.len();
    for arrived in Fetcher::new(source, progress, missing).run()? {
        let blob = arrived.blob();
        let layer = source.images.keep(arrived).map_err(|e| PullError::layer(blob, e))?;
        layers.insert(blob, layer);
    }
    // The same blob twice is one layer twice, whatever the config says.
    let layers = wanted()
        .map(|(descriptor, &expected)| match &layers[&descriptor.digest] {
            layer if layer.diff_id == expected => Ok(layer.clone()),
            Layer { diff_id, .. } => {
                let source = LayerError::DiffId { expected, found: *diff_id };
                Err(PullError::Layer { digest: descriptor.digest, source })
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Brought { layers, fetched })
}

/// Work that several threads share until it is done or one of them fails.
struct Fetcher<'a> {
    source: &'a Source<'a>,
    progress: &'a dyn PullProgress,
    queue: Mutex<VecDeque<(&'a Descriptor, &'a DiffId)>>,
    done: Mutex<Result<Vec<Arrived>, PullError>>,
    stop: AtomicBool,
}

impl<'a> Fetcher<'a> {
    fn new(
        source: &'a Source<'a>,
        progress: &'a dyn PullProgress,
        mut missing: Vec<(&'a Descriptor, &'a DiffId)>,
    ) -> Self {
        // The largest one ends last wherever it begins; begun last, it would end alone.
        missing.sort_by_key(|(descriptor, _)| std::cmp::Reverse(descriptor.size));
        Self {
            source,
            progress,
            queue: Mutex::new(missing.into()),
            done: Mutex::new(Ok(Vec::new())),
            stop: AtomicBool::new(false),
        }
    }

    fn run(self) -> Result<Vec<Arrived>, PullError> {
        let workers = lock(&self.queue).len().min(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work());
            }
        });
        self.done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some((descriptor, diff_id)) = lock(&self.queue).pop_front() else { return };
            let outcome = self.layer(descriptor, diff_id);
            let mut done = lock(&self.done);
            match (outcome, &mut *done) {
                (Ok(arrived), Ok(layers)) => layers.push(arrived),
                (Err(error), Ok(_)) => {
                    self.stop.store(true, Ordering::Relaxed);
                    *done = Err(error);
                }
                // Stopped because of the first error.
                (_, Err(_)) => {}
            }
        }
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: &DiffId) -> Result<Arrived, PullError> {
        let Descriptor { digest, size, .. } = descriptor;
        let event = |state| self.progress.event(PullEvent::Layer { digest, size: *size, state });
        let blob = self.source.client.blob(self.source.reference, digest, *size)?;
        let mut stream = Watched { blob, stop: &self.stop, so_far: 0, event: &event };
        let failed = |e| PullError::layer(*digest, e);
        let arrived = receive(self.source.images.store, &mut stream).map_err(failed)?;
        if arrived.blob() != *digest {
            return Err(PullError::Digest { what: "layer", expected: *digest, found: arrived.blob() });
        }
        arrived.expect(Some(diff_id)).map_err(failed)?;
        event(LayerState::Complete);
        Ok(arrived)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A stream that tells how far it is, and ends when others have failed.
struct Watched<'a, R> {
    blob: R,
    stop: &'a AtomicBool,
    so_far: u64,
    event: &'a (dyn Fn(LayerState) + Sync),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let length = self.blob.read(buffer)?;
        self.so_far += length as u64;
        (self.event)(LayerState::Fetched(self.so_far));
        Ok(length)
    }
}
