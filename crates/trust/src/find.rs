//! Where signatures of an image are: in its own repository, in two places.
//!
//! Everybody who may push to a repository may put there what he likes, so that how much is fetched is ours to say.

use std::io::Read;

use oci::image::{Descriptor, Document, Manifest, parse_document};
use oci::{Digest, Reference};
use registry::{Client, Fetched, RegistryError};

use crate::error::Reason;
use crate::signature::Signature;
use crate::{bundle, simple};

/// Payloads have about 300 bytes.
const PAYLOAD_LIMIT: u64 = 64 << 10;
/// Bundles have about ten thousand.
const BUNDLE_LIMIT: u64 = 1 << 20;

/// Something that says it is a signature.
pub struct Candidate {
    place: Place,
    descriptor: Descriptor,
}

enum Place {
    Layer,
    Referrer,
}

/// What the repository of `reference` has as signatures of `digest`, newest first.
pub fn candidates(
    client: &Client,
    reference: &Reference,
    digest: &Digest,
) -> Result<Vec<Candidate>, RegistryError> {
    let simple = layers(client, reference, digest)?;
    let mut found: Vec<_> =
        simple.into_iter().map(|descriptor| Candidate { place: Place::Layer, descriptor }).collect();
    let referrers = client.referrers(reference, digest, Some(bundle::MEDIA_TYPE))?;
    found.extend(referrers.into_iter().map(|descriptor| Candidate { place: Place::Referrer, descriptor }));
    found.reverse();
    Ok(found)
}

/// The layers of the image under the tag that cosign makes of `digest`.
fn layers(client: &Client, reference: &Reference, digest: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
    let tag = format!("{}.sig", digest.to_string().replace(':', "-"));
    let tagged = reference.with_tag(&tag).expect("a digest's hexadecimal digits are a tag");
    let (bytes, media_type) = match client.manifest(&tagged, None) {
        Ok(Fetched::Document { bytes, media_type, .. }) => (bytes, media_type),
        Ok(Fetched::Unchanged(_))
        | Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let malformed = |what: String| RegistryError::Malformed {
        host: reference.domain().to_owned(),
        url: tagged.canonical(),
        what,
    };
    match parse_document(&bytes, &media_type) {
        Ok(Document::Manifest(manifest)) => {
            Ok(manifest.layers.into_iter().filter(|layer| layer.media_type == simple::MEDIA_TYPE).collect())
        }
        Ok(Document::Index(_)) => Err(malformed("an index in place of signatures".to_owned())),
        Err(e) => Err(malformed(e.to_string())),
    }
}

impl Candidate {
    /// By what the signature is called in messages.
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    pub fn fetch(&self, client: &Client, reference: &Reference) -> Result<Signature, Reason> {
        match self.place {
            Place::Layer => {
                let payload = blob(client, reference, &self.descriptor, PAYLOAD_LIMIT)?;
                simple::read(payload, &self.descriptor.annotations)
            }
            Place::Referrer => {
                let manifest = referrer(client, reference, &self.digest())?;
                let is_bundle = |layer: &&Descriptor| layer.media_type == bundle::MEDIA_TYPE;
                let mut bundles = manifest.layers.iter().filter(is_bundle);
                let (Some(layer), None) = (bundles.next(), bundles.next()) else {
                    return Err(Reason::Malformed("its manifest has not exactly one bundle".to_owned()));
                };
                bundle::read(&blob(client, reference, layer, BUNDLE_LIMIT)?)
            }
        }
    }
}

fn referrer(client: &Client, reference: &Reference, digest: &Digest) -> Result<Manifest, Reason> {
    let malformed = |what: &dyn std::fmt::Display| Reason::Malformed(format!("its manifest is {what}"));
    match client.manifest(&reference.with_digest(*digest), None).map_err(Reason::Fetch)? {
        Fetched::Document { bytes, media_type, .. } => match parse_document(&bytes, &media_type) {
            Ok(Document::Manifest(manifest)) => Ok(*manifest),
            Ok(Document::Index(_)) => Err(malformed(&"an index")),
            Err(e) => Err(malformed(&e)),
        },
        Fetched::Unchanged(_) => Err(malformed(&"said to be known")),
    }
}

fn blob(
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, Reason> {
    let Descriptor { digest, size, .. } = *descriptor;
    if size > limit {
        return Err(Reason::TooLarge { size, limit });
    }
    let mut bytes = Vec::new();
    let mut blob = client.blob(reference, &digest, size).map_err(Reason::Fetch)?;
    blob.read_to_end(&mut bytes).map_err(|e| match e.downcast::<RegistryError>() {
        Ok(registry) => Reason::Fetch(registry),
        Err(e) => Reason::Malformed(format!("it cannot be read: {e}")),
    })?;
    match Digest::of(&bytes) {
        found if found == digest => Ok(bytes),
        found => Err(Reason::Malformed(format!("the registry gave {found} in its place"))),
    }
}
