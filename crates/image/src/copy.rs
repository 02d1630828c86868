//! Copying images between registries, OCI layouts, archives, other hosts and the local store, byte for byte.
//!
//! A [`Source`] gives documents and opens blobs by their descriptors; a [`Sink`] takes blobs, and then the documents that name
//! them. What is copied keeps its digests, each of which is verified while the bytes pass. Nothing is held in memory but
//! documents and the pieces under way.

mod archive;
mod choose;
mod error;
pub(crate) mod layout;
mod local;
mod place;
mod remote;
pub(crate) mod repository;
mod verify;
mod write_archive;

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;

use oci::image::{Descriptor, Document, parse_document};
use oci::{Digest, media};
use registry::Client;

use crate::Images;
use crate::crew::{Crew, lock};
use crate::documents::{MAX_DOCUMENT, Part};
use crate::push::{Platforms, PushEvent, PushProgress, PushState, SilentPush};
use verify::{Failure, Verified};

pub use error::CopyError;
pub use place::{Host, Place, PlaceError};

const AT_ONCE: usize = 4;

/// What is copied, and who is told about it.
#[derive(Clone)]
pub struct CopyOptions {
    /// By default the image for this host; all of them are all that the name stands for.
    pub platforms: Platforms,
    pub progress: Arc<dyn PushProgress>,
}

/// What a copy ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub digest: Digest,
    pub size: u64,
}

/// A stream that may be opened again from its beginning.
type Open<'a> = &'a mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>;

/// Where an image is.
pub(crate) trait Source: Sync {
    /// What the place's name stands for.
    fn root(&self) -> Result<Part, CopyError>;

    /// A manifest or an index that another one names.
    fn document(&self, descriptor: &Descriptor) -> Result<Part, CopyError>;

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CopyError>;

    /// Asks the system's policy about an image: `trail` are what the place's name stands for and what leads from there to it.
    fn check(&self, _trail: &[Digest]) -> Result<(), CopyError> {
        Ok(())
    }

    /// The repository it is in, from which another one of the same registry may take blobs.
    fn repository(&self) -> Option<&oci::Reference> {
        None
    }
}

/// Where an image goes.
trait Sink: Sync {
    /// Takes a blob unless it is there; `open` gives exactly the bytes that `descriptor` says, or an error.
    fn blob(
        &self,
        descriptor: &Descriptor,
        from: Option<&oci::Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError>;

    /// Takes the documents, the one that gets the place's name last.
    fn finish(self: Box<Self>, documents: &[Part]) -> Result<(), CopyError>;
}

/// How a sink came to a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Copied,
    WasThere,
    Mounted,
}

impl Images<'_> {
    /// Copies what `from` stands for to `to`.
    ///
    /// # Errors
    /// [`CopyError`]; the name `to` then stands for what it stood for before.
    pub fn copy(
        &self,
        client: &Client,
        (from, to): (&Place, &Place),
        options: &CopyOptions,
    ) -> Result<Copied, CopyError> {
        let _lock = self.store.lock_shared()?;
        let crew = Crew::new();
        let client = &client.until(crew.stop());
        let source = self.source(client, from, options)?;
        let root = source.root()?;
        let (documents, trail) = choose::documents(&*source, root, &options.platforms)?;
        source.check(&trail)?;
        let named = documents.last().expect("there is at least one").descriptor.clone();
        let blobs = blobs_of(&documents)?;
        let sink = self.sink(client, to, &documents)?;
        let copier = Copier { source: &*source, sink: &*sink, progress: &*options.progress, crew };
        copier.run(&blobs)?;
        sink.finish(&documents)?;
        Ok(Copied { digest: named.digest, size: named.size })
    }

    fn source<'s>(
        &'s self,
        client: &'s Client,
        place: &'s Place,
        options: &CopyOptions,
    ) -> Result<Box<dyn Source + 's>, CopyError> {
        Ok(match place {
            Place::Registry(reference) => Box::new(repository::Repository { client, reference }),
            Place::Local(name) => Box::new(local::source(self, name)?),
            Place::Layout { directory, name } => Box::new(layout::Layout::open(directory, name.as_deref())?),
            Place::OciArchive { file, name } | Place::DockerArchive { file, name } => {
                Box::new(archive::ArchiveFile::open(file, name.as_deref())?)
            }
            Place::Remote { host, reference } => {
                let (file, shown) = remote::save(host, reference, &options.platforms)?;
                Box::new(archive::ArchiveFile::read(file, &shown, None)?)
            }
        })
    }

    fn sink<'s>(
        &'s self,
        client: &'s Client,
        place: &'s Place,
        documents: &[Part],
    ) -> Result<Box<dyn Sink + 's>, CopyError> {
        Ok(match place {
            Place::Registry(reference) => Box::new(repository::Repository { client, reference }),
            Place::Local(name) => Box::new(local::sink(self, name, documents)?),
            Place::Layout { directory, name } => {
                Box::new(layout::Layout::create(directory, name.as_deref())?)
            }
            Place::OciArchive { file, name } => {
                Box::new(write_archive::file(file, write_archive::Kind::Oci, name.as_deref(), documents)?)
            }
            Place::DockerArchive { file, name } => {
                Box::new(write_archive::file(file, write_archive::Kind::Docker, name.as_deref(), documents)?)
            }
            Place::Remote { host, reference } => Box::new(remote::load(host, reference, documents)?),
        })
    }
}

/// Brings a manifest of the registry, and the blobs it names, from the repository of `from` into that of `to`, which both name it
/// by its digest.
pub(crate) fn manifest(
    client: &Client,
    (from, to): (&oci::Reference, &oci::Reference),
    part: &Part,
) -> Result<(), CopyError> {
    let crew = Crew::new();
    let client = &client.until(crew.stop());
    let source = repository::Repository { client, reference: from };
    let sink = Box::new(repository::Repository { client, reference: to });
    source.check(&[part.descriptor.digest])?;
    let documents = std::slice::from_ref(part);
    let copier = Copier { source: &source, sink: &*sink, progress: &SilentPush, crew };
    copier.run(&blobs_of(documents)?)?;
    sink.finish(documents)
}

/// The bytes of a blob that is a document.
pub(crate) fn small_blob(source: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>, CopyError> {
    let Descriptor { digest, size, .. } = *descriptor;
    if size > MAX_DOCUMENT {
        let too_large = format!("it has {size} bytes, and no more than {MAX_DOCUMENT} are taken");
        return Err(CopyError::Blob {
            digest,
            source: io::Error::new(io::ErrorKind::InvalidData, too_large),
        });
    }
    let failure = Failure::default();
    let mut stream = Verified::new(source.blob(descriptor)?, descriptor, Arc::default(), failure.clone());
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(told) => Err(CopyError::source(descriptor, lock(&failure).take().unwrap_or(told))),
    }
}

/// Every blob the documents need, once.
fn blobs_of(documents: &[Part]) -> Result<Vec<Descriptor>, CopyError> {
    let mut seen = HashSet::new();
    let mut blobs = Vec::new();
    for part in documents {
        let Document::Manifest(manifest) = parsed(part)? else { continue };
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            if media::is_foreign_layer(&descriptor.media_type) {
                return Err(CopyError::Foreign(descriptor.digest));
            }
            if seen.insert(descriptor.digest) {
                blobs.push(descriptor.clone());
            }
        }
    }
    Ok(blobs)
}

pub(crate) fn parsed(part: &Part) -> Result<Document, CopyError> {
    let Descriptor { digest, media_type, .. } = &part.descriptor;
    parse_document(&part.bytes, media_type).map_err(|source| CopyError::Document { digest: *digest, source })
}

/// Blobs on their way, several at once.
struct Copier<'a> {
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    progress: &'a dyn PushProgress,
    crew: Crew<CopyError>,
}

impl Copier<'_> {
    fn run(self, blobs: &[Descriptor]) -> Result<(), CopyError> {
        blobs.iter().for_each(|blob| self.tell(blob, PushState::Preparing));
        self.crew.run(blobs.iter().collect(), AT_ONCE, |blob| self.blob(blob));
        self.crew.end()
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(), CopyError> {
        let (mut unopened, failure) = (None, Failure::default());
        let mut open = || {
            let stream = self.source.blob(descriptor).map_err(|error| {
                unopened = Some(error);
                io::Error::other("the blob cannot be had")
            })?;
            let verified = Verified::new(stream, descriptor, self.crew.stop().clone(), failure.clone());
            Ok(Box::new(verified) as Box<dyn Read + Send>)
        };
        let taken = self.sink.blob(descriptor, self.source.repository(), &mut open);
        // What the sink says of a stream that ended badly is not why it did.
        let failed = lock(&failure).take();
        let state = match (taken, unopened, failed) {
            (Err(_), Some(error), _) => return Err(error),
            (Err(_), None, Some(error)) => return Err(CopyError::source(descriptor, error)),
            (Err(error), None, None) => return Err(error),
            (Ok(Taken::Copied), ..) => PushState::Pushed,
            (Ok(Taken::WasThere), ..) => PushState::Exists,
            (Ok(Taken::Mounted), ..) => {
                PushState::Mounted(self.source.repository().map_or("", |from| from.path()))
            }
        };
        self.tell(descriptor, state);
        Ok(())
    }

    fn tell(&self, descriptor: &Descriptor, state: PushState<'_>) {
        self.progress.event(PushEvent { layer: &descriptor.digest, size: descriptor.size, state });
    }
}
