//! COPY and ADD as steps: words resolved, the key made, the files written.

use super::sources::{Sources, check_remote, parse_checksum};
use super::{Running, StageRun, resolve_user};
use crate::cache::KeyBuilder;
use crate::copy::{self, Inline, Placement};
use crate::dockerfile::{Copy, Step};
use crate::error::StepError;
use crate::ignore::Ignore;
use crate::mode::ModeChange;
use crate::select::Options;

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
        check_remote(&words, is_add)?;
        let checksum = self.expand(copy.checksum.as_deref().unwrap_or_default())?;
        let checksum = parse_checksum(&checksum, &words)?;
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
        let sources = Sources {
            solve,
            origin: solve.origin(self.index, copy.from.as_deref())?,
            options: Options { exclude: &exclude, parents: copy.parents },
            checksum,
            unpack_web: copy.unpack.unwrap_or(false),
            running,
        };
        let unpack = copy.unpack.unwrap_or(is_add);
        let (digests, parts) = sources.parts(&words, &destination, &lower)?;
        let key = KeyBuilder::new("copy")
            .add("below", &self.filesystem.key.0)
            .add("files", &digests)
            .list("inline", inline.iter().flat_map(|file| [&file.name, &file.content]))
            .add("destination", &destination)
            .add("placement", format!("{owner:?} {mode:?} {unpack} {}", copy.parents))
            .finish();
        let many = words.len() + inline.len() > 1;
        let placement = Placement { destination, owner, mode, many, parents: copy.parents, unpack };
        self.settle(&key, running, step.text.clone(), |run| {
            run.write_layer(&lower, |writer| {
                let mut steady = true;
                for part in parts {
                    steady &= sources.write(part, writer, &placement)?;
                }
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
