//! The layers of an image: those that are here, and the others, several at once.
//!
//! A layer that has come whole is recorded at once and held for a day, so that a pull that is interrupted is gone on with. The
//! lock of a blob's beginning is held until then: whoever else needs the same layer waits and finds it.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use oci::image::Descriptor;
use oci::{DiffId, Hasher};
use registry::Client;
use store::{Partial, StoreError};

use super::resolve::Chosen;
use super::{LayerState, PullError, PullEvent, PullProgress, Source};
use crate::crew::{Crew, lock};
use crate::receive::receive_into;
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

/// Something to fetch.
#[derive(Clone, Copy)]
struct Job<'a> {
    descriptor: &'a Descriptor,
    /// `None` for what is kept as it is.
    diff_id: Option<&'a DiffId>,
}

/// Brings the layers of an image that are not here.
pub fn fetch(
    source: &Source<'_>,
    chosen: &Chosen,
    others: &[Descriptor],
    progress: &dyn PullProgress,
) -> Result<Brought, PullError> {
    let wanted = || chosen.manifest.layers.iter().zip(&chosen.config.rootfs.diff_ids);
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    let mut states = Vec::new();
    for (descriptor, diff_id) in wanted() {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let is_here = source.images.layer_of_blob(digest)?.is_some();
        if !is_here && seen.insert(digest) {
            missing.push(Job { descriptor, diff_id: Some(diff_id) });
        }
        let state = if is_here { LayerState::Exists } else { LayerState::Waiting };
        states.push(PullEvent::Layer { digest, size, state });
    }
    for descriptor in others {
        let Descriptor { digest, size, .. } = descriptor;
        let is_here = source.images.store.blobs().contains(digest);
        if !is_here {
            missing.push(Job { descriptor, diff_id: None });
        }
        let state = if is_here { LayerState::Exists } else { LayerState::Waiting };
        states.push(PullEvent::Layer { digest, size: *size, state });
    }
    // Nothing is said of an image that is simply here.
    if !(missing.is_empty() && source.images.is_known(&chosen.id())?) {
        states.into_iter().for_each(|state| progress.event(state));
    }
    let fetched = missing.len();
    let crew = Crew::new();
    let client = &source.client.until(crew.stop());
    Fetcher { source, client, progress, crew }.run(missing)?;
    // The same blob twice is one layer twice, whatever the config says.
    let layer = |(descriptor, &expected): (&Descriptor, &DiffId)| {
        let digest = descriptor.digest;
        match source.images.layer_of_blob(&digest)? {
            Some(layer) if layer.diff_id == expected => Ok(layer),
            Some(Layer { diff_id, .. }) => {
                let source = LayerError::DiffId { expected, found: diff_id };
                Err(PullError::Layer { digest, source })
            }
            None => Err(StoreError::Missing(digest).into()),
        }
    };
    Ok(Brought { layers: wanted().map(layer).collect::<Result<_, _>>()?, fetched })
}

/// Layers on their way, several at once.
struct Fetcher<'a> {
    source: &'a Source<'a>,
    /// Stops with the crew.
    client: &'a Client,
    progress: &'a dyn PullProgress,
    crew: Crew<PullError>,
}

impl Fetcher<'_> {
    fn run(self, mut jobs: Vec<Job<'_>>) -> Result<(), PullError> {
        // The largest one ends last wherever it begins; begun last, it would end alone.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.descriptor.size));
        self.crew.run(jobs, AT_ONCE, |job| self.layer(job));
        self.crew.end()
    }

    fn layer(&self, job: Job<'_>) -> Result<(), PullError> {
        let Descriptor { digest, size, .. } = job.descriptor;
        let store = self.source.images.store;
        match store.blobs().partial(digest)? {
            Some(partial) => self.fetch(job, partial)?,
            // Another pull has brought it.
            None if job.diff_id.is_none() => {}
            None if self.source.images.layer_of_blob(digest)?.is_some() => {}
            None => {
                let mut blob = store.blobs().open(digest)?;
                self.take(job, &mut blob, &mut io::sink())?;
            }
        }
        let state = LayerState::Complete;
        self.progress.event(PullEvent::Layer { digest, size: *size, state });
        Ok(())
    }

    /// Fetches what is missing of a layer while it is unpacked.
    fn fetch(&self, job: Job<'_>, mut partial: Partial) -> Result<(), PullError> {
        let size = job.descriptor.size;
        let outcome = match partial.present() {
            0 => self.attempt(job, &mut partial),
            // What a power cut leaves of a file may be anything.
            present if present > size => {
                partial.restart()?;
                self.attempt(job, &mut partial)
            }
            _ => match self.attempt(job, &mut partial) {
                Err(error) if !error.is_interruption() && !self.crew.has_stopped() => {
                    partial.restart()?;
                    self.attempt(job, &mut partial)
                }
                other => other,
            },
        };
        let Err(error) = outcome else { return Ok(partial.commit()?) };
        let first = self.crew.failure().as_ref().map(PullError::is_interruption);
        if !first.unwrap_or(error.is_interruption()) {
            partial.discard();
        }
        Err(error)
    }

    fn attempt(&self, job: Job<'_>, partial: &mut Partial) -> Result<(), PullError> {
        let Descriptor { digest, size, .. } = job.descriptor;
        let (known, present) = (partial.reader()?, partial.present());
        let rest = self.client.blob_from(self.source.reference, (digest, *size), present)?;
        let mut stream = known.chain(rest);
        let error = match self.take(job, &mut stream, partial) {
            Err(error @ PullError::Layer { .. }) if !self.crew.has_stopped() => error,
            other => return other,
        };
        // Other bytes than announced are seldom an archive; then that is what is wrong.
        if io::copy(&mut stream, partial).is_err() {
            return Err(error);
        }
        match partial.digest()? {
            found if found == *digest => Err(error),
            found => Err(PullError::Digest { what: "layer", expected: *digest, found }),
        }
    }

    /// Verifies what `stream` brings, passes it on to `blob`, and records it; a layer is unpacked.
    fn take(
        &self,
        job: Job<'_>,
        stream: &mut (dyn Read + Send),
        blob: &mut (dyn io::Write + Send),
    ) -> Result<(), PullError> {
        let Descriptor { digest, size, media_type, .. } = job.descriptor;
        let failed = |error| PullError::layer(*digest, error);
        let tell = |so_far| {
            let state = LayerState::Fetched(so_far);
            self.progress.event(PullEvent::Layer { digest, size: *size, state });
        };
        let mut stream = Watched { stream, stop: self.crew.stop(), so_far: 0, tell: &tell };
        let images = self.source.images;
        let Some(diff_id) = job.diff_id else {
            let mut hashed = Tee(blob, Hasher::new());
            io::copy(&mut stream, &mut hashed).map_err(|e| failed(LayerError::Read(e)))?;
            return match hashed.1.finish() {
                found if found == *digest => {
                    images.hold_blob(digest)?;
                    lock(&self.source.brought).push(*digest);
                    Ok(())
                }
                found => Err(PullError::Digest { what: "blob", expected: *digest, found }),
            };
        };
        let received = receive_into(images.store, &mut stream, blob).map_err(failed)?;
        if received.blob != *digest {
            return Err(PullError::Digest { what: "layer", expected: *digest, found: received.blob });
        }
        received.expect(Some(diff_id)).map_err(failed)?;
        // Bzip2 and xz, which the specification does not know.
        let Some(found) = received.media_type else {
            return Err(failed(LayerError::MediaType(media_type.clone())));
        };
        let layer = Layer {
            diff_id: received.diff_id,
            blob: *digest,
            media_type: found.to_owned(),
            blob_size: *size,
            size: received.size,
        };
        received.commit()?;
        images.hold_layer(&layer)?;
        lock(&self.source.brought).push(*digest);
        Ok(())
    }
}

/// Hashes what it passes on.
struct Tee<'a>(&'a mut (dyn io::Write + Send), Hasher);

impl io::Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A stream that tells how far it is, and ends when others have failed.
struct Watched<'a> {
    stream: &'a mut (dyn Read + Send),
    stop: &'a AtomicBool,
    so_far: u64,
    tell: &'a (dyn Fn(u64) + Sync),
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let length = self.stream.read(buffer)?;
        self.so_far += length as u64;
        (self.tell)(self.so_far);
        Ok(length)
    }
}
