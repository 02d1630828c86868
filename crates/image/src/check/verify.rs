//! Looking at each piece, several at once.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Mutex;

use oci::{DiffId, Digest, Hasher};
use store::{Store, StoreError};

use super::compare::compare;
use super::inventory::{Had, Inventory, Snapshot};
use super::{CheckError, Damage, Fault, Part};
use crate::receive::receive_into;

/// Something to look at.
enum Job<'a> {
    Blob(Part, Digest, &'a Had),
    /// With its blob, which is verified in the same pass.
    Snapshot(DiffId, Digest, &'a Snapshot),
}

/// Verifies everything in `inventory`; what is found comes in its order.
pub fn all(store: &Store, inventory: &Inventory) -> Result<Vec<Damage>, CheckError> {
    let mut damage = Vec::new();
    let mut jobs = Vec::new();
    let mut with_snapshot = HashSet::new();
    for (&diff_id, snapshot) in &inventory.snapshots {
        let part = Part::Snapshot { diff_id };
        let there = store.snapshots().contains(&diff_id);
        match snapshot.blob.filter(|blob| store.blobs().contains(blob)) {
            _ if !there => damage.push(damaged(part, Fault::Missing, &snapshot.had)),
            Some(blob) => {
                with_snapshot.insert(blob);
                jobs.push(Job::Snapshot(diff_id, blob, snapshot));
            }
            // A blob that is missed is told of as such.
            None if snapshot.blob.is_none() => {
                damage.push(damaged(part, Fault::Unverifiable, &snapshot.had));
            }
            None => {}
        }
    }
    let documents = inventory.documents.iter().map(|(&digest, document)| {
        Job::Blob(Part::Document { what: document.what, digest }, digest, &document.had)
    });
    let blobs = inventory.blobs.iter().filter(|(digest, _)| !with_snapshot.contains(digest));
    let blobs = blobs
        .map(|(&digest, blob)| Job::Blob(Part::Blob { diff_id: blob.diff_id, digest }, digest, &blob.had));
    jobs.extend(documents.chain(blobs));
    damage.extend(at_once(store, jobs)?);
    damage.sort_by(|a, b| (&a.owners, &a.part).cmp(&(&b.owners, &b.part)));
    Ok(damage)
}

/// Does the jobs, as many at once as there are processors, until one cannot be done.
fn at_once(store: &Store, jobs: Vec<Job<'_>>) -> Result<Vec<Damage>, CheckError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter());
    let damage = Mutex::new(Ok(Vec::new()));
    let work = || {
        while let Some(job) = next(&jobs) {
            let found = look(store, &job);
            let mut damage = damage.lock().expect("nothing panics while it is held");
            match (found, &mut *damage) {
                (Ok(found), Ok(damage)) => damage.extend(found),
                (Err(error), Ok(_)) => *damage = Err(error),
                (_, Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    damage.into_inner().expect("nothing panics while it is held")
}

fn next<'a>(jobs: &Mutex<impl Iterator<Item = Job<'a>>>) -> Option<Job<'a>> {
    jobs.lock().expect("nothing panics while it is held").next()
}

fn look(store: &Store, job: &Job<'_>) -> Result<Option<Damage>, CheckError> {
    match job {
        Job::Blob(part, digest, had) => {
            Ok(blob(store, digest)?.map(|fault| damaged(part.clone(), fault, had)))
        }
        Job::Snapshot(diff_id, blob, snapshot) => layer(store, *diff_id, *blob, snapshot),
    }
}

/// Hashes a blob.
fn blob(store: &Store, digest: &Digest) -> Result<Option<Fault>, StoreError> {
    let mut file = match store.blobs().open(digest) {
        Err(StoreError::Missing(_)) => return Ok(Some(Fault::Missing)),
        file => file?,
    };
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(&buffer[..length]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The disk has lost them.
            Err(_) => return Ok(Some(Fault::Content)),
        }
    }
    Ok((hasher.finish() != *digest).then_some(Fault::Content))
}

/// Unpacks a layer once more and compares.
fn layer(
    store: &Store,
    diff_id: DiffId,
    digest: Digest,
    snapshot: &Snapshot,
) -> Result<Option<Damage>, CheckError> {
    let bad_blob = |fault| {
        let part = Part::Blob { diff_id: Some(diff_id), digest };
        Ok(Some(damaged(part, fault, &snapshot.had)))
    };
    let again = match receive_into(store, &mut store.blobs().open(&digest)?, &mut io::sink()) {
        Ok(again) if again.blob == digest && again.diff_id == diff_id => again,
        Ok(_) => return bad_blob(Fault::Content),
        // A damaged blob often is no archive any more; a good one that cannot be unpacked is trouble of another kind.
        Err(source) => match blob(store, &digest)? {
            Some(fault) => return bad_blob(fault),
            None => return Err(CheckError::Unpack { diff_id, source }),
        },
    };
    let failed = |source| CheckError::Compare { diff_id, source };
    let found = sys::fs::open_dir(store.snapshots().path(&diff_id)).map_err(failed)?;
    let expected = sys::fs::open_dir(again.staged.path()).map_err(failed)?;
    let differences = compare(found.as_fd(), expected.as_fd()).map_err(failed)?;
    let part = Part::Snapshot { diff_id };
    Ok((differences.count > 0).then(|| damaged(part, Fault::Differs(differences), &snapshot.had)))
}

fn damaged(part: Part, fault: Fault, had: &Had) -> Damage {
    Damage { owners: had.owners.iter().cloned().collect(), part, fault }
}
