//! Following an index: how deep it nests, and which of its images is this host's.

use std::collections::HashSet;

use oci::Digest;
use oci::image::{Document, Index, Platform, parse_document};
use oci::media;
use store::Store;

use super::find::Rows;
use crate::documents::MAX_NESTING;

/// Whether `index` leads through no more than `allowed` further indexes.
pub fn is_flat_enough(store: &Store, index: &Index, allowed: usize) -> bool {
    check(store, index, allowed, &mut HashSet::new())
}

fn check(store: &Store, index: &Index, allowed: usize, seen: &mut HashSet<(Digest, usize)>) -> bool {
    index.manifests.iter().filter(|child| media::is_index(&child.media_type)).all(|child| {
        // Many ways to one index would otherwise be as many walks through it.
        if !seen.insert((child.digest, allowed)) {
            return true;
        }
        allowed > 0 && read(store, &child.digest).is_none_or(|index| check(store, &index, allowed - 1, seen))
    })
}

/// The image that serves this host best of those that `index` leads to in a repository.
pub fn host_image(store: &Store, rows: &Rows, index: &Index) -> Option<Digest> {
    let mut found = Vec::new();
    collect(store, rows, index, MAX_NESTING, &mut HashSet::new(), &mut found);
    // The first of the best.
    found.into_iter().min_by_key(|(rank, _)| *rank).map(|(_, image)| image)
}

/// Adds the images that this host can run, each with how well it does.
fn collect(
    store: &Store,
    rows: &Rows,
    index: &Index,
    allowed: usize,
    seen: &mut HashSet<Digest>,
    found: &mut Vec<(usize, Digest)>,
) {
    let host = Platform::host();
    for child in &index.manifests {
        let rank = child.platform.as_ref().map_or(Some(0), |platform| host.rank(platform));
        let Some(rank) = rank.filter(|_| seen.insert(child.digest)) else { continue };
        if !media::is_index(&child.media_type) {
            found.extend(rows.image_of(&child.digest).map(|image| (rank, image)));
        } else if allowed > 0
            && let Some(inner) = read(store, &child.digest)
        {
            collect(store, rows, &inner, allowed - 1, seen, found);
        }
    }
}

fn read(store: &Store, digest: &Digest) -> Option<Index> {
    let bytes = store.blobs().read(digest).ok()?;
    let index = |media_type| match parse_document(&bytes, media_type) {
        Ok(Document::Index(index)) => Some(index),
        _ => None,
    };
    index(media::OCI_INDEX).or_else(|| index(media::DOCKER_INDEX))
}
