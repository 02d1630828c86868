//! Keys of steps, and their results in the database.
//!
//! A key is a digest over everything a result depends on: the filesystem below the step, the instruction with its variables
//! resolved, and the contents it reads. The filesystem enters as the chain of layers, not as the instructions that made it,
//! so two ways to the same files share what follows.

mod place;
pub mod transfer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use image::{Images, Layer};
use oci::DiffId;
use oci::digest::Hasher;
use serde::{Deserialize, Serialize};
use store::db::build_cache::{self, CacheRecord};
use store::{DatabaseError, Durability, Store, StoreError};

use crate::select::field;
pub use place::{CacheMode, CachePlaceError, CacheSource, CacheTarget};
use transfer::Import;

/// Changing what keys contain, or what results mean, changes this.
const VERSION: &[u8] = b"1";

/// A key being put together.
pub struct KeyBuilder(Hasher);

impl KeyBuilder {
    /// Begins the key of an operation called `kind`.
    pub fn new(kind: &str) -> Self {
        let mut hasher = Hasher::new();
        field(&mut hasher, b"version", VERSION);
        field(&mut hasher, b"kind", kind.as_bytes());
        Self(hasher)
    }

    /// Adds one named value.
    pub fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        field(&mut self.0, name.as_bytes(), value.as_ref());
        self
    }

    /// Adds a list; its length counts.
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<T> = values.into_iter().collect();
        field(&mut self.0, name.as_bytes(), &(values.len() as u64).to_le_bytes());
        for value in values {
            field(&mut self.0, name.as_bytes(), value.as_ref());
        }
        self
    }

    pub fn finish(self) -> Key {
        Key(self.0.finish().hex())
    }
}

/// 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub String);

impl Key {
    /// The filesystem without a layer.
    pub fn empty() -> Self {
        Self(String::new())
    }

    /// The filesystem with one more layer.
    pub fn layer(&self, diff_id: &DiffId) -> Self {
        KeyBuilder::new("layer").add("below", &self.0).add("diff", diff_id.to_string()).finish()
    }

    /// The same filesystem after the operation `key`, which changed nothing: running it again is another step.
    pub fn unchanged(&self, key: &Key) -> Self {
        KeyBuilder::new("unchanged").add("below", &self.0).add("key", &key.0).finish()
    }
}

/// What a step left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `None` when it changed nothing.
    pub layer: Option<Layer>,
    /// When it ran, RFC 3339.
    pub created: String,
}

/// The builder's document in a cache row.
#[derive(Serialize, Deserialize)]
struct Row {
    v: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    created: String,
    /// A content digest, or another derived text, instead of a layer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
}

const ROW_VERSION: u32 = 1;

/// The cache as one build sees it.
pub struct Cache<'a> {
    store: &'a Store,
    images: &'a Images<'a>,
    imports: Vec<Import>,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Results of this build, also with `--no-cache`.
    known: HashMap<Key, Outcome>,
    running: HashSet<Key>,
    used: Vec<String>,
}

/// The right to compute the result of a key that nobody else in this build is computing.
pub struct Claim<'c, 'a> {
    cache: &'c Cache<'a>,
    key: Key,
}

/// What [`Cache::claim`] found.
pub enum Claimed<'c, 'a> {
    Known(Outcome),
    Ours(Claim<'c, 'a>),
}

impl<'a> Cache<'a> {
    /// This host's cache, and what `imports` have, in this order.
    pub fn new(store: &'a Store, images: &'a Images<'a>, imports: Vec<Import>) -> Self {
        Self { store, images, imports, state: Mutex::default(), done: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of `key`, or the duty to make it. Two stages with the same step run it once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn claim(&self, key: &Key, use_stored: bool) -> Result<Claimed<'_, 'a>, StoreError> {
        let mut state = self.state();
        loop {
            if let Some(outcome) = state.known.get(key) {
                return Ok(Claimed::Known(outcome.clone()));
            }
            if state.running.insert(key.clone()) {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let claim = Claim { cache: self, key: key.clone() };
        if use_stored && let Some(outcome) = self.find(key)? {
            let mut state = self.state();
            state.used.push(key.0.clone());
            state.known.insert(key.clone(), outcome.clone());
            return Ok(Claimed::Known(outcome));
        }
        Ok(Claimed::Ours(claim))
    }

    /// A result that is here, or else one of another host's, which is here then.
    fn find(&self, key: &Key) -> Result<Option<Outcome>, StoreError> {
        if let Some(outcome) = self.stored(key)? {
            return Ok(Some(outcome));
        }
        for import in &self.imports {
            if let Some(outcome) = import.outcome(self.images, key)? {
                self.keep(key, &outcome)?;
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// What the steps of this build came to, by their keys; without results that are not what their keys say.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn results(&self) -> Result<BTreeMap<String, Outcome>, StoreError> {
        let known: Vec<Key> = self.state().known.keys().cloned().collect();
        let mut results = BTreeMap::new();
        for key in known {
            let outcome = self.stored(&key)?;
            results.extend(outcome.map(|outcome| (key.0, outcome)));
        }
        Ok(results)
    }

    /// A stored outcome whose layer still exists.
    fn stored(&self, key: &Key) -> Result<Option<Outcome>, StoreError> {
        let Some((record, row)) = self.row(key)? else { return Ok(None) };
        let layer = match record.diff_id {
            None => None,
            Some(diff_id) => match self.images.layer(&diff_id)? {
                Some(layer) => Some(layer),
                None => return Ok(None),
            },
        };
        Ok(Some(Outcome { layer, created: row.created }))
    }

    fn row(&self, key: &Key) -> Result<Option<(CacheRecord, Row)>, DatabaseError> {
        let record = self.store.database().read(|reader| build_cache::get(reader, &key.0))?;
        // A row of another version is no row.
        Ok(record.and_then(|record| {
            let row: Row = serde_json::from_str(&record.config).ok()?;
            (row.v == ROW_VERSION).then_some((record, row))
        }))
    }

    /// A text derived from immutable content, such as the digest of files in layers.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn text(&self, key: &Key) -> Result<Option<String>, DatabaseError> {
        Ok(self.row(key)?.map(|(_, row)| row.text))
    }

    /// Remembers such a text.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn put_text(&self, key: &Key, text: &str) -> Result<(), DatabaseError> {
        self.put(key, None, Row { v: ROW_VERSION, created: String::new(), text: text.to_owned() })
    }

    fn keep(&self, key: &Key, outcome: &Outcome) -> Result<(), DatabaseError> {
        let row = Row { v: ROW_VERSION, created: outcome.created.clone(), text: String::new() };
        self.put(key, outcome.layer.as_ref(), row)
    }

    fn put(&self, key: &Key, layer: Option<&Layer>, row: Row) -> Result<(), DatabaseError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let record = CacheRecord {
            key: key.0.clone(),
            diff_id: layer.map(|layer| layer.diff_id),
            blob: layer.map(|layer| layer.blob),
            size: layer.map_or(0, |layer| layer.size),
            config: serde_json::to_string(&row).unwrap_or_default(),
            created_ns: now,
            used_ns: now,
        };
        self.store.database().write(Durability::Relaxed, |writer| build_cache::put(writer, &record))
    }

    /// Notes which stored results this build used, for whoever prunes the least used.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn touch_used(&self) -> Result<(), DatabaseError> {
        let used = std::mem::take(&mut self.state().used);
        if used.is_empty() {
            return Ok(());
        }
        self.store.database().write(Durability::Relaxed, |writer| build_cache::touch(writer, &used))
    }
}

impl Claim<'_, '_> {
    /// Hands the result to whoever waits for it, and stores it when it is certain to be what the key says.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn fulfil(self, outcome: &Outcome, certain: bool) -> Result<(), DatabaseError> {
        if certain {
            self.cache.keep(&self.key, outcome)?;
        }
        self.cache.state().known.insert(self.key.clone(), outcome.clone());
        Ok(())
    }
}

impl Drop for Claim<'_, '_> {
    fn drop(&mut self) {
        self.cache.state().running.remove(&self.key);
        self.cache.done.notify_all();
    }
}
