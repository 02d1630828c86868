//! Which documents are copied: all that a name stands for, or one image of it.

use std::collections::HashSet;

use oci::Digest;
use oci::image::{Descriptor, Document, Index, Platform};

use super::{CopyError, Source, parsed};
use crate::documents::{MAX_NESTING, Part};
use crate::push::Platforms;

/// The documents to copy, what others name before what names it, and the digests of those that lead to all of them.
pub fn documents(
    source: &dyn Source,
    root: Part,
    platforms: &Platforms,
) -> Result<(Vec<Part>, Vec<Digest>), CopyError> {
    match platforms {
        Platforms::All => {
            // Who has signed one platform's image has said nothing about the others.
            let (mut found, trail) = (Vec::new(), vec![root.descriptor.digest]);
            collect(source, root, 0, &mut HashSet::new(), &mut found)?;
            Ok((found, trail))
        }
        Platforms::Usual => one(source, root, &Platform::host()),
        Platforms::One(wanted) => one(source, root, wanted),
    }
}

fn collect(
    source: &dyn Source,
    part: Part,
    depth: usize,
    seen: &mut HashSet<Digest>,
    found: &mut Vec<Part>,
) -> Result<(), CopyError> {
    if depth > MAX_NESTING {
        return Err(CopyError::Nesting(part.descriptor.digest));
    }
    if let Document::Index(index) = parsed(&part)? {
        for child in &index.manifests {
            if seen.insert(child.digest) {
                collect(source, source.document(child)?, depth + 1, seen, found)?;
            }
        }
    }
    found.push(part);
    Ok(())
}

fn one(
    source: &dyn Source,
    mut part: Part,
    wanted: &Platform,
) -> Result<(Vec<Part>, Vec<Digest>), CopyError> {
    let mut trail = Vec::new();
    for _ in 0..=MAX_NESTING {
        trail.push(part.descriptor.digest);
        match parsed(&part)? {
            Document::Manifest(_) => return Ok((vec![part], trail)),
            Document::Index(index) => {
                let best = best(&index, wanted).ok_or_else(|| CopyError::Platform(wanted.to_string()))?;
                part = source.document(best)?;
            }
        }
    }
    Err(CopyError::Nesting(part.descriptor.digest))
}

/// The first of the entries that serve `wanted` best. One that does not say what it is for serves everybody, badly.
fn best<'i>(index: &'i Index, wanted: &Platform) -> Option<&'i Descriptor> {
    let rank = |descriptor: &Descriptor| match &descriptor.platform {
        Some(platform) => wanted.rank(platform),
        None => Some(usize::MAX),
    };
    let ranked = index.manifests.iter().filter_map(|descriptor| Some((rank(descriptor)?, descriptor)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, descriptor)| descriptor)
}
