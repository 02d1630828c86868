//! A registry's repository as an end of a copy.

use std::io::Read;

use oci::image::Descriptor;
use oci::{Digest, Reference};
use registry::{Client, Fetched, Push};
use trust::{Policy, TrustError};

use super::{CopyError, Open, Sink, Source, Taken};
use crate::documents::Part;

pub struct Repository<'a> {
    pub client: &'a Client,
    pub reference: &'a Reference,
}

impl Repository<'_> {
    fn fetch(&self, reference: &Reference) -> Result<Part, CopyError> {
        match self.client.manifest(reference, None)? {
            Fetched::Document { bytes, media_type, digest } => {
                let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
                Ok(Part { descriptor, bytes })
            }
            Fetched::Unchanged(digest) => Err(store::StoreError::Missing(digest).into()),
        }
    }
}

impl Source for Repository<'_> {
    fn root(&self) -> Result<Part, CopyError> {
        self.fetch(self.reference)
    }

    fn check(&self, trail: &[Digest]) -> Result<(), CopyError> {
        let policy = Policy::of_system().map_err(TrustError::Policy)?;
        policy.check(self.client, self.reference, trail)?;
        Ok(())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Part, CopyError> {
        self.fetch(&self.reference.with_digest(descriptor.digest))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(Box::new(self.client.blob(self.reference, &descriptor.digest, descriptor.size)?))
    }

    fn repository(&self) -> Option<&Reference> {
        Some(self.reference)
    }
}

impl Sink for Repository<'_> {
    fn blob(
        &self,
        descriptor: &Descriptor,
        from: Option<&Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError> {
        let Self { client, reference } = self;
        if client.has_blob(reference, &descriptor.digest)? {
            return Ok(Taken::WasThere);
        }
        let from = from.filter(|from| from.domain() == reference.domain() && from.path() != reference.path());
        match client.push_blob(reference, (&descriptor.digest, descriptor.size), from, open)? {
            Push::Mounted => Ok(Taken::Mounted),
            Push::Uploaded => Ok(Taken::Copied),
        }
    }

    fn finish(self: Box<Self>, documents: &[Part]) -> Result<(), CopyError> {
        let (root, parts) = documents.split_last().expect("there is at least one");
        if let Some(&expected) = self.reference.digest().filter(|digest| **digest != root.descriptor.digest) {
            return Err(CopyError::Digest {
                what: "what is copied to",
                expected,
                found: root.descriptor.digest,
            });
        }
        for part in parts {
            let by_digest = self.reference.with_digest(part.descriptor.digest);
            self.client.push_manifest(&by_digest, &part.descriptor.media_type, &part.bytes)?;
        }
        self.client.push_manifest(self.reference, &root.descriptor.media_type, &root.bytes)?;
        Ok(())
    }
}
