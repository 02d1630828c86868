//! Removing what is unused: the end of every `prune`.

use std::process::ExitCode;

use engine::model::Filters;

use super::image::list::warn_of_damage;
use super::prompt::confirm;
use super::{Ended, Outcome};
use crate::context::{Context, print};
use crate::elsewhere::{self, Unused};
use crate::output::human;

/// The flags of a `prune` that are the same for all.
pub struct Choice {
    filters: Filters,
    force: bool,
}

impl Choice {
    /// # Errors
    /// A filter that is none.
    pub fn new(filters: &[String], force: bool) -> Result<Self, Ended> {
        Ok(Self { filters: Filters::parse(filters)?, force })
    }

    /// Whether there is a filter by label.
    pub fn asks_for_labels(&self) -> bool {
        self.filters.has("label") || self.filters.has("label!")
    }

    /// Asks, removes what is unused of each of `kinds`, and tells what that was.
    pub fn prune(&self, context: &Context, warning: &str, kinds: &[Unused]) -> Outcome {
        if !confirm(warning, self.force) {
            return Ok(ExitCode::FAILURE);
        }
        let mut reclaimed = 0;
        for &kind in kinds {
            let pruned = elsewhere::prune(context, kind, &self.filters)?;
            let (heading, lines) = match kind {
                Unused::Containers => ("Containers", pruned.containers),
                Unused::Networks => ("Networks", pruned.networks),
                Unused::Volumes { .. } => ("Volumes", pruned.volumes),
                Unused::Images { .. } => {
                    let untagged = pruned.untagged.iter().map(|name| format!("untagged: {name}"));
                    let deleted = pruned.images.iter().map(|id| format!("deleted: {id}"));
                    ("Images", untagged.chain(deleted).collect())
                }
                Unused::BuildCache { .. } => ("build cache objects", pruned.build_cache),
            };
            if !lines.is_empty() {
                print(&format!("Deleted {heading}:\n{}\n\n", lines.join("\n")));
            }
            pruned.skipped.iter().for_each(|damage| warn_of_damage(damage));
            reclaimed += pruned.reclaimed_bytes;
        }
        // Networks take no space.
        if !matches!(kinds, [Unused::Networks]) {
            print(&format!("Total reclaimed space: {}\n", human::size(reclaimed)));
        }
        Ok(ExitCode::SUCCESS)
    }
}
