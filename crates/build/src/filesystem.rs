//! What a stage's files are made of, and where the files of a COPY or a bind mount come from.

use std::path::PathBuf;

use image::Layer;
use store::Store;

use crate::cache::Key;
use crate::context::Context;
use crate::error::StepError;
use crate::ignore::Ignore;
use crate::select::{self, Owners};
use crate::tree::{Format, Tree};

/// Layers, base first, and the key of their chain.
#[derive(Clone, Debug)]
pub struct Filesystem {
    pub layers: Vec<Layer>,
    pub key: Key,
}

impl Filesystem {
    pub fn empty() -> Self {
        Self { layers: Vec::new(), key: Key::empty() }
    }

    pub fn of_layers(layers: Vec<Layer>) -> Self {
        let mut filesystem = Self::empty();
        for layer in layers {
            filesystem.push(layer);
        }
        filesystem
    }

    /// Puts a layer on top.
    pub fn push(&mut self, layer: Layer) {
        self.key = self.key.layer(&layer.diff_id);
        self.layers.push(layer);
    }

    /// The layers' directories, topmost first.
    pub fn lower_dirs(&self, store: &Store) -> Vec<PathBuf> {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id).collect();
        store.snapshots().lower_dirs(&diff_ids)
    }

    pub fn tree(&self, store: &Store) -> Result<Tree, StepError> {
        Tree::open(&self.lower_dirs(store), Format::Overlay)
            .map_err(StepError::io("open", "the layers below"))
    }
}

/// Where the files of a COPY or a bind mount come from.
pub enum Origin<'a> {
    Context(&'a Context),
    Layers { tree: Tree, key: Key, name: String, ignore: Ignore },
}

impl Origin<'_> {
    pub fn tree(&self) -> &Tree {
        self.source().tree
    }

    pub fn is_context(&self) -> bool {
        matches!(self, Self::Context(_))
    }

    pub fn source(&self) -> select::Source<'_> {
        match self {
            Self::Context(context) => context.source(),
            Self::Layers { tree, name, ignore, .. } => {
                select::Source { tree, ignore, name, owners: Owners::Kept }
            }
        }
    }
}
