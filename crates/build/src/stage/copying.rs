//! COPY and ADD as steps: words resolved, the key made, the files written.

use super::{Running, StageRun, resolve_user};
use crate::cache::KeyBuilder;
use crate::copy::{self, Inline, Placement};
use crate::dockerfile::{Copy, Step};
use crate::error::StepError;
use crate::ignore::Ignore;
use crate::mode::ModeChange;
use crate::select::{Options, is_many, select};

impl StageRun<'_, '_> {
    pub(super) fn copy_step(
        &mut self,
        step: &Step,
        copy: &Copy,
        is_add: bool,
        running: &Running,
    ) -> Result<(), StepError> {
        let solve = self.solve;
        let words = copy.sources.iter().map(|word| self.expand(word)).collect::<Result<Vec<_>, _>>()?;
        if let Some(url) = words.iter().find(|word| is_add && is_remote(word)) {
            return Err(StepError::Unsupported(format!("ADD of a remote source ({url})")));
        }
        let unpack = is_add && copy.unpack;
        let inline = self.inline_files(copy)?;
        let destination = self.expand(&copy.destination)?;
        if destination.is_empty() {
            return Err(StepError::Invalid("the destination cannot be empty".to_owned()));
        }
        let destination = self.image.absolute(&destination);
        let name = step.instruction.name();
        if words.len() + inline.len() > 1 && !destination.ends_with('/') {
            return Err(StepError::Invalid(format!(
                "when using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let lower = self.filesystem.tree(solve.store)?;
        let owner = match &copy.chown {
            Some(chown) => Some(resolve_user(&lower, &self.expand(chown)?)?),
            None => None,
        };
        let mode = copy.chmod.as_deref().map(|chmod| self.mode_change(chmod)).transpose()?;
        let exclude = copy.exclude.iter().map(|word| self.expand(word)).collect::<Result<Vec<_>, _>>()?;
        let exclude =
            Ignore::from_patterns(exclude.iter().map(String::as_str)).map_err(StepError::Invalid)?;
        let options = Options { exclude: &exclude, parents: copy.parents };
        let origin = solve.origin(self.index, copy.from.as_deref())?;
        let (digest, selection) = if words.is_empty() {
            (String::new(), Some(Vec::new()))
        } else {
            solve.digest(&origin, &words, options)?
        };
        let key = KeyBuilder::new("copy")
            .add("below", &self.filesystem.key.0)
            .add("files", &digest)
            .list("inline", inline.iter().flat_map(|file| [&file.name, &file.content]))
            .add("destination", &destination)
            .add("placement", format!("{owner:?} {mode:?} {unpack} {}", copy.parents))
            .finish();
        let mut placement =
            Placement { destination, owner, mode, many: false, parents: copy.parents, unpack };
        self.settle(&key, running, step.text.clone(), |run| {
            let selection = match selection {
                Some(selection) => selection,
                None => select(origin.source(), &words, options)?,
            };
            placement.many = words.len() + inline.len() > 1 || is_many(&words, &selection);
            run.write_layer(&lower, |writer| {
                let steady = copy::copy(writer, origin.source(), &selection, &placement, &solve.stop)?;
                copy::write_inline(writer, &inline, &placement)?;
                Ok(steady)
            })
        })
    }

    fn mode_change(&self, word: &str) -> Result<ModeChange, StepError> {
        ModeChange::parse(&self.expand(word)?).map_err(StepError::Invalid)
    }

    fn inline_files(&self, copy: &Copy) -> Result<Vec<Inline>, StepError> {
        let files = copy.heredocs.iter().map(|doc| {
            let body = doc.body();
            let content =
                if doc.expand { self.image.expand_body(&body).map_err(StepError::Invalid)? } else { body };
            Ok(Inline { name: doc.name.clone(), content })
        });
        files.collect()
    }
}

fn is_remote(word: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|prefix| word.starts_with(prefix))
}
