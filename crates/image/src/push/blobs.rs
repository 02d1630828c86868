//! Sending blobs, several at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci::{DiffId, Digest, Reference};
use registry::{Client, Push, Streamed};
use store::Durability;
use store::db::compressed_layers::{self, CompressedLayer};

use super::plan::{Blob, Forms, Plan, Role};
use super::{Destination, PushError, PushEvent, PushProgress, PushState, mounts};
use crate::chunked::Announced;
use crate::compress::compress;
use crate::crew::{Crew, lock};

/// As many as Docker sends: a registry that thinks about one leaves the link to the others.
const AT_ONCE: usize = 5;
/// Of layers that are compressed, each of which has work for every processor and takes memory for it: while a registry thinks
/// about one, there are still two.
const COMPRESSED_AT_ONCE: usize = 3;

/// Brings the blobs of `plan` to the registry; returns what became of those that were compressed.
pub fn send(destination: &Destination<'_>, plan: &Plan) -> Result<Forms, PushError> {
    plan.layers().for_each(|layer| destination.tell(layer, PushState::Preparing));
    let mut queue: Vec<&Blob> = plan.blobs.iter().collect();
    // The largest one ends last wherever it begins; begun last, it would end alone.
    queue.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    let is_compressed = |blob: &&Blob| matches!(blob.role, Role::Compressed { .. });
    let at_once = if queue.iter().any(is_compressed) { COMPRESSED_AT_ONCE } else { AT_ONCE };
    let forms = Mutex::new(Forms::new());
    let crew = Crew::new();
    let client = &destination.client.until(crew.stop());
    let sender = Sender { destination, client, mounts: mounts::known(destination)?, crew };
    sender.crew.run(queue, at_once, |blob| {
        let form = sender.blob(blob)?;
        lock(&forms).extend(form.map(|form| (blob.digest, form)));
        Ok(())
    });
    sender.crew.end()?;
    Ok(forms.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Blobs on their way, several at once.
struct Sender<'a> {
    destination: &'a Destination<'a>,
    /// Stops with the crew.
    client: &'a Client,
    mounts: HashMap<Digest, Reference>,
    crew: Crew<PushError>,
}

impl Sender<'_> {
    /// Sees to it that the registry has a blob; returns what it became when it was compressed.
    fn blob(&self, blob: &Blob) -> Result<Option<CompressedLayer>, PushError> {
        let (client, reference) = (self.client, self.destination.reference);
        let (there, known) = match &blob.role {
            Role::Compressed { known, .. } => (known.as_ref().map(|known| known.digest), known.as_ref()),
            Role::Config | Role::Layer => (Some(blob.digest), None),
        };
        if let Some(digest) = &there
            && client.has_blob(reference, digest)?
        {
            self.tell(blob, PushState::Exists);
            return Ok(known.cloned());
        }
        let mount = there.as_ref().and_then(|digest| Some((digest, self.mounts.get(digest)?)));
        let mounted = || self.tell(blob, PushState::Mounted(mount.map_or("", |(_, from)| from.path())));
        let form = match &blob.role {
            Role::Config | Role::Layer => {
                let mut open = || Ok(Box::new(self.open(blob)?) as Box<dyn Read + Send>);
                let from = mount.map(|(_, from)| from);
                match client.push_blob(reference, (&blob.digest, blob.size), from, &mut open)? {
                    Push::Mounted => mounted(),
                    Push::Uploaded => self.tell(blob, PushState::Pushed),
                }
                None
            }
            Role::Compressed { method, level, known } => {
                let mut announced = Announced::default();
                let mut open = || {
                    let (stream, slot) = compress(self.open(blob)?, *method, *level)?;
                    announced = slot;
                    Ok(stream)
                };
                match client.push_stream(reference, mount, &mut open)? {
                    Streamed::Mounted => {
                        mounted();
                        known.clone()
                    }
                    Streamed::Uploaded { digest, size } => {
                        self.tell(blob, PushState::Pushed);
                        let form = CompressedLayer {
                            diff_id: DiffId(blob.digest),
                            method: method.name().to_owned(),
                            level: *level,
                            media_type: method.media_type().to_owned(),
                            digest,
                            size,
                            annotations: announced.get().cloned().unwrap_or_default(),
                        };
                        self.remember(&form)?;
                        Some(form)
                    }
                }
            }
        };
        Ok(form)
    }

    fn remember(&self, form: &CompressedLayer) -> Result<(), PushError> {
        let database = self.destination.images.store.database();
        Ok(database.write(Durability::Relaxed, |writer| compressed_layers::put(writer, form))?)
    }

    fn tell(&self, blob: &Blob, state: PushState<'_>) {
        if !matches!(blob.role, Role::Config) {
            self.destination.tell(blob, state);
        }
    }

    /// The blob's bytes as they are kept here.
    fn open(&self, blob: &Blob) -> io::Result<Watched> {
        let file = self.destination.images.store.blobs().open(&blob.digest).map_err(io::Error::other)?;
        let progress = match blob.role {
            Role::Config => None,
            Role::Layer | Role::Compressed { .. } => Some(self.destination.options.progress.clone()),
        };
        Ok(Watched {
            file,
            layer: blob.name(),
            size: blob.size,
            so_far: 0,
            progress,
            stop: self.crew.stop().clone(),
        })
    }
}

/// A blob's file that tells how far it has been read, and ends when others have failed.
struct Watched {
    file: File,
    layer: Digest,
    size: u64,
    so_far: u64,
    progress: Option<Arc<dyn PushProgress>>,
    stop: Arc<AtomicBool>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another blob failed"));
        }
        let length = self.file.read(buffer)?;
        self.so_far += length as u64;
        if let Some(progress) = &self.progress {
            let state = PushState::Sent(self.so_far);
            progress.event(PushEvent { layer: &self.layer, size: self.size, state });
        }
        Ok(length)
    }
}
