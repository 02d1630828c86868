//! How an image was made, step by step.

use oci::Digest;
use oci::image::Platform;

use crate::{Images, ResolveError};

/// One step, as `history` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id at its newest step; the steps below have none of their own.
    pub id: Option<Digest>,
    /// RFC 3339.
    pub created: Option<String>,
    pub created_by: String,
    pub comment: String,
    pub size: u64,
    /// References, at the newest step.
    pub tags: Vec<String>,
}

impl Images<'_> {
    /// The steps that made an image, newest first.
    ///
    /// # Errors
    /// As [`Images::resolve_for`].
    pub fn history(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryEntry>, ResolveError> {
        let image = self.resolve_for(name, platform)?;
        let mut layers = self.layers(&image)?.into_iter();
        let mut entries: Vec<_> = image
            .config
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: None,
                created: step.created.clone(),
                created_by: step.created_by.clone(),
                comment: step.comment.clone(),
                size: if step.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.size) },
                tags: Vec::new(),
            })
            .collect();
        if let Some(newest) = entries.last_mut() {
            newest.id = Some(image.id);
            newest.tags = image.references.iter().map(|reference| reference.familiar()).collect();
        }
        entries.reverse();
        Ok(entries)
    }
}
