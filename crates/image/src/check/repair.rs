//! Mending: blobs from where they can be had again, then snapshots from blobs.
//!
//! What is damaged is replaced by something verified, in one step, or stays as it is. Blobs are brought under the store's
//! shared lock, so that pulls and runs go on; snapshots are replaced under the exclusive one, when nobody is about to mount them.

use std::any::Any;
use std::io;
use std::os::fd::AsFd;

use diag::with_sources;
use oci::{DiffId, Digest, Reference};
use registry::{Client, Fetched};
use store::{ExclusiveLock, Ingest, StoreError};

use super::inventory::{self, Had, Inventory};
use super::{CheckError, Checked, Damage, Part};
use crate::Images;
use crate::archive::{PackOptions, Writer, pack};
use crate::receive::receive_into;

/// Keeps containers from mounting a layer while it is held.
pub type Hold = Box<dyn Any>;

/// What a repair needs beside the store.
pub struct RepairTools<'a> {
    pub client: &'a Client,
    /// Keeps everybody from mounting a layer, or says who has it mounted.
    pub hold: &'a dyn Fn(&DiffId) -> Result<Hold, InUse>,
}

/// Why a layer must not change now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub why: String,
    /// What ends that.
    pub remedy: String,
}

/// What became of a damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Mended, and from what.
    Repaired(String),
    /// Not mended, and why; and what to do.
    Left { why: String, hint: String },
}

/// Each mending may bring to light what could not be checked before: layers behind a manifest, a snapshot behind its blob.
const ROUNDS: usize = 4;

impl Images<'_> {
    /// Checks as [`Images::check`] does, and mends what can be mended. Returns what was looked at last, with what is
    /// left, and what happened to each damage; those that stay are the last ones.
    ///
    /// # Errors
    /// [`CheckError`]; what was mended until then stays so.
    pub fn repair(
        &self,
        names: &[String],
        tools: &RepairTools<'_>,
    ) -> Result<(Checked, Vec<(Damage, Outcome)>), CheckError> {
        let mut repaired = Vec::new();
        for _ in 0..ROUNDS {
            let checked = self.check(names)?;
            let mut left = Vec::new();
            let before = repaired.len();
            for (damage, outcome) in self.mend(names, &checked.damage, tools)? {
                match outcome {
                    Outcome::Repaired(_) => repaired.push((damage, outcome)),
                    Outcome::Left { .. } => left.push((damage, outcome)),
                }
            }
            if repaired.len() == before {
                repaired.extend(left);
                return Ok((checked, repaired));
            }
        }
        let checked = self.check(names)?;
        let again = |damage: &Damage| {
            let why = "it is damaged again after each repair".to_owned();
            (damage.clone(), Outcome::Left { why, hint: "look at the disk".to_owned() })
        };
        repaired.extend(checked.damage.iter().map(again));
        Ok((checked, repaired))
    }

    fn mend(
        &self,
        names: &[String],
        damage: &[Damage],
        tools: &RepairTools<'_>,
    ) -> Result<Vec<(Damage, Outcome)>, CheckError> {
        let mut outcomes = Vec::new();
        if damage.is_empty() {
            return Ok(outcomes);
        }
        let shared = self.store.lock_shared()?;
        let inventory = inventory::take(self.store, names)?;
        let mender = Mender { images: *self, inventory: &inventory, tools };
        for damage in damage {
            let outcome = match &damage.part {
                Part::Document { digest, .. } => mender.document(digest)?,
                Part::Blob { diff_id, digest } => mender.blob(digest, diff_id.as_ref())?,
                Part::Snapshot { .. } => continue,
            };
            outcomes.push((damage.clone(), outcome));
        }
        drop(shared);
        let exclusive = self.store.lock_exclusive()?;
        let used = self.store.database().read(|reader| self.store.usage(reader))?.snapshots;
        for damage in damage {
            if let Part::Snapshot { diff_id } = &damage.part {
                if !used.contains(diff_id) {
                    outcomes.push((damage.clone(), gone()));
                    continue;
                }
                outcomes.push((damage.clone(), mender.snapshot(diff_id, &exclusive)?));
            }
        }
        self.store.sync()?;
        Ok(outcomes)
    }
}

struct Mender<'a> {
    images: Images<'a>,
    inventory: &'a Inventory,
    tools: &'a RepairTools<'a>,
}

impl Mender<'_> {
    fn document(&self, digest: &Digest) -> Result<Outcome, CheckError> {
        let Some(document) = self.inventory.documents.get(digest) else { return Ok(gone()) };
        let size = document.size;
        self.fetch_again(&document.had, |reference| {
            let bytes = match (document.what, size) {
                ("config", None) => {
                    return Err("the manifest that says how long it is is damaged, too".into());
                }
                ("config", Some(size)) => {
                    let mut bytes = Vec::new();
                    let mut blob =
                        self.tools.client.blob(reference, digest, size).map_err(|e| with_sources(&e))?;
                    io::Read::read_to_end(&mut blob, &mut bytes).map_err(|e| with_sources(&e))?;
                    bytes
                }
                _ => {
                    let wanted = reference.with_digest(*digest);
                    match self.tools.client.manifest(&wanted, None).map_err(|e| with_sources(&e))? {
                        Fetched::Document { bytes, .. } => bytes,
                        Fetched::Unchanged(_) => return Err("the registry sent nothing".into()),
                    }
                }
            };
            self.write(digest, &mut &bytes[..])
        })
    }

    fn blob(&self, digest: &Digest, diff_id: Option<&DiffId>) -> Result<Outcome, CheckError> {
        let Some(blob) = self.inventory.blobs.get(digest) else { return Ok(gone()) };
        if diff_id.is_some_and(|diff_id| diff_id.0 == *digest) && self.repack(digest) {
            return Ok(Outcome::Repaired("packed from its snapshot".to_owned()));
        }
        self.fetch_again(&blob.had, |reference| {
            let mut stream =
                self.tools.client.blob(reference, digest, blob.size).map_err(|e| with_sources(&e))?;
            self.write(digest, &mut stream)
        })
    }

    /// A layer that was made here is its snapshot packed. Whether that still gives the same bytes, the digest tells.
    fn repack(&self, digest: &Digest) -> bool {
        let store = self.images.store;
        let packed = || -> Option<Ingest> {
            let root = sys::fs::open_dir(store.snapshots().path(&DiffId(*digest))).ok()?;
            let buffer = io::BufWriter::with_capacity(256 << 10, store.blobs().ingest().ok()?);
            let mut archive = Writer::new(buffer);
            pack(&mut archive, root.as_fd(), &PackOptions::layer()).ok()?;
            archive.finish().ok()?.into_inner().ok()
        };
        packed().is_some_and(|ingest| store.blobs().replace(ingest, digest).is_ok())
    }

    /// Asks the repositories that had it, one after the other.
    fn fetch_again(
        &self,
        had: &Had,
        fetch: impl Fn(&Reference) -> Result<(), String>,
    ) -> Result<Outcome, CheckError> {
        let mut why = "it came from no registry".to_owned();
        for repository in &had.repositories {
            let Ok(reference) = Reference::parse(repository) else { continue };
            match fetch(&reference) {
                Ok(()) => return Ok(Outcome::Repaired(format!("fetched from {}", reference.repository()))),
                Err(reason) => why = format!("{} does not give it: {reason}", reference.repository()),
            }
        }
        let hint = "remove the image and build, load or pull it again".to_owned();
        Ok(Outcome::Left { why, hint })
    }

    fn write(&self, digest: &Digest, from: &mut dyn io::Read) -> Result<(), String> {
        let store = self.images.store;
        let mut ingest = store.blobs().ingest().map_err(|e| with_sources(&e))?;
        io::copy(from, &mut ingest).map_err(|e| with_sources(&e))?;
        store.blobs().replace(ingest, digest).map_err(|e| with_sources(&e))
    }

    fn snapshot(&self, diff_id: &DiffId, lock: &ExclusiveLock) -> Result<Outcome, CheckError> {
        let store = self.images.store;
        let Some(snapshot) = self.inventory.snapshots.get(diff_id) else { return Ok(gone()) };
        let left = |why: &str, hint: &str| Ok(Outcome::Left { why: why.to_owned(), hint: hint.to_owned() });
        let Some(blob) = snapshot.blob else {
            return left("nothing says what it came from", "pull, load or build the image again");
        };
        // Whoever would be given other files under its feet is asked first.
        let _held = match (self.tools.hold)(diff_id) {
            Ok(held) => held,
            Err(InUse { why, remedy }) => return left(&why, &format!("{remedy}, then repair again")),
        };
        let again = match store.blobs().open(&blob) {
            Err(StoreError::Missing(_)) => return left("its blob is missing", "repair the blob first"),
            file => receive_into(store, &mut file?, &mut io::sink()),
        };
        match again {
            Ok(again) if again.diff_id == *diff_id => {
                again.staged.replace(diff_id, lock)?;
                Ok(Outcome::Repaired("unpacked again from its blob".to_owned()))
            }
            Ok(_) => left("its blob is damaged", "repair the blob first"),
            Err(source) => Err(CheckError::Unpack { diff_id: *diff_id, source }),
        }
    }
}

/// An image that was removed between the check and the repair.
fn gone() -> Outcome {
    Outcome::Repaired("it is not needed any more".to_owned())
}
