//! The local store as an end of a copy.

use std::io::{self, PipeWriter, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use oci::image::Descriptor;
use oci::{Reference, media};
use store::db::{self, manifests::ManifestRecord};
use store::{DatabaseError, Store};

use super::layout::checked;
use super::write_archive::{ArchiveSink, Kind};
use super::{CopyError, Open, Sink, Source, Taken};
use crate::documents::Part;
use crate::{Images, LoadError, Loaded, ResolveError};

/// An image that is here.
pub struct LocalSource<'a> {
    images: &'a Images<'a>,
    root: Part,
}

/// What `name` stands for: an index, or an image.
pub fn source<'a>(images: &'a Images<'a>, name: &str) -> Result<LocalSource<'a>, CopyError> {
    let root = match tagged(images, name)? {
        Some(record) => part(images, &Descriptor::new(record.media_type, record.digest, record.size))?,
        None => {
            let image = images.resolve(name)?;
            Part::read(images.store, &image.manifest, media::OCI_MANIFEST)?
        }
    };
    Ok(LocalSource { images, root })
}

fn tagged(images: &Images<'_>, name: &str) -> Result<Option<ManifestRecord>, CopyError> {
    let Ok(reference) = Reference::parse(name) else { return Ok(None) };
    let record = images.store.database().read(|reader| {
        match db::manifests::tagged(reader, &reference)?.or(reference.digest().copied()) {
            Some(digest) => db::manifests::get(reader, &reference.name(), &digest),
            None => Ok::<_, DatabaseError>(None),
        }
    })?;
    Ok(record.filter(|record| images.store.blobs().contains(&record.digest)))
}

fn part(images: &Images<'_>, descriptor: &Descriptor) -> Result<Part, CopyError> {
    checked(descriptor, images.store.blobs().read(&descriptor.digest)?)
}

impl Source for LocalSource<'_> {
    fn root(&self) -> Result<Part, CopyError> {
        Ok(self.root.clone())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Part, CopyError> {
        part(self.images, descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(Box::new(self.images.store.blobs().open(&descriptor.digest)?))
    }
}

type Loader = JoinHandle<Result<Vec<Loaded>, LoadError>>;

/// A load that reads what a copy writes.
pub struct LocalSink {
    /// Taken when it ends, or when the load has given up.
    archive: Mutex<Option<ArchiveSink<PipeWriter>>>,
    loader: Mutex<Option<Loader>>,
}

/// Begins a load of `documents`, the last of which will be called `name`.
pub fn sink(images: &Images<'_>, name: &str, documents: &[Part]) -> Result<LocalSink, CopyError> {
    let reference = Reference::parse(name).map_err(ResolveError::from)?;
    let (mut reader, writer) = io::pipe().map_err(CopyError::Pipe)?;
    let roots = images.store.roots().clone();
    let load = move || {
        let store = Store::open(&roots)?;
        Images::new(&store).load(&mut reader, None)
    };
    let loader = std::thread::Builder::new().name("load".to_owned()).spawn(load).map_err(CopyError::Pipe)?;
    let sink = LocalSink { archive: Mutex::new(None), loader: Mutex::new(Some(loader)) };
    let shown = Path::new("the local store");
    match ArchiveSink::begin(writer, shown, Kind::Oci, Some(&reference.canonical()), documents) {
        Ok(archive) => {
            *sink.archive.lock().unwrap_or_else(PoisonError::into_inner) = Some(archive);
            Ok(sink)
        }
        Err(error) => Err(sink.reason(error)),
    }
}

impl LocalSink {
    /// Why the load gave up, when that is why nothing can be written to it any more.
    fn reason(&self, error: CopyError) -> CopyError {
        let broken =
            matches!(&error, CopyError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe);
        match self.join() {
            Some(Err(why)) if broken => why.into(),
            _ => error,
        }
    }

    fn join(&self) -> Option<Result<Vec<Loaded>, LoadError>> {
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(loader.join().expect("a panic ends the process"))
    }
}

impl Sink for LocalSink {
    fn blob(
        &self,
        descriptor: &Descriptor,
        _: Option<&Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match &*archive {
            Some(archive) => archive.add(descriptor, open),
            None => Ok(Taken::WasThere),
        };
        outcome.map_err(|error| {
            // The load ends when nobody can write any more.
            *archive = None;
            self.reason(error)
        })
    }

    fn finish(self: Box<Self>, _: &[Part]) -> Result<(), CopyError> {
        let archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(archive) = archive {
            archive.end().map_err(|error| self.reason(error))?;
        }
        self.join().unwrap_or_else(|| Ok(Vec::new()))?;
        Ok(())
    }
}

impl Drop for LocalSink {
    fn drop(&mut self) {
        // A load that is not told how the archive ends leaves nothing; it is waited for.
        *self.archive.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(self.join());
    }
}
