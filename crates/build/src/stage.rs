//! One stage: its instructions in order, each from the cache or executed.

mod copying;
mod running;
mod sources;

use std::path::Path;
use std::time::Instant;

use image::Layer;
use oci::image::History;
use store::TempDir;

use crate::cache::{Claimed, Key, KeyBuilder, Outcome};
use crate::copy;
use crate::dockerfile::{Instruction, Step};
use crate::error::{BuildError, Location, StepError};
use crate::filesystem::Filesystem;
use crate::layer::{Attributes, Writer};
use crate::metadata::StageImage;
use crate::network::StageNetwork;
use crate::plan::{Base, PlannedStage, SourceRef, froms};
use crate::progress::{Event, StepId};
use crate::solve::{Finished, Solve};
use crate::tree::Tree;
use crate::users;

/// One stage as far as it has come.
pub struct StageRun<'s, 'a> {
    solve: &'s Solve<'a>,
    index: usize,
    image: StageImage,
    filesystem: Filesystem,
    network: StageNetwork<'s>,
    /// Numbered steps begun so far.
    number: usize,
    /// Instructions of all stages up to the one that is next.
    position: usize,
}

/// What executing a step came to.
struct Made {
    /// `None` when it changed nothing.
    layer: Option<Layer>,
    /// Whether it is what the key says: a file that changed while it was copied makes a layer nobody should find again.
    certain: bool,
}

/// A step as the progress knows it.
struct Running {
    id: StepId,
    start: Instant,
}

impl<'s, 'a> StageRun<'s, 'a> {
    /// Begins the stage where its base ends, which may have to be waited for.
    pub fn new(solve: &'s Solve<'a>, index: usize) -> Result<Self, BuildError> {
        let stage = &solve.plan.stages[index];
        let (config, filesystem) = match &stage.base {
            Base::Scratch => (None, Filesystem::empty()),
            Base::Stage(base) => {
                let base = solve.wait(*base).ok_or(BuildError::Cancelled)?;
                (Some(base.image.clone()), base.filesystem.clone())
            }
            Base::Image(name) => {
                let base = &solve.base_images[name];
                (Some(base.image.config.clone()), base.filesystem.clone())
            }
        };
        let mut run = Self {
            solve,
            index,
            image: StageImage::new(config, solve.file.escape),
            filesystem,
            network: StageNetwork::new(
                solve.network_context,
                solve.endpoints,
                solve.workspace,
                solve.options.users,
            ),
            number: 0,
            position: solve.plan.instructions_before(index),
        };
        // The base's triggers are among this stage's steps now; only its own ONBUILD instructions go into its image.
        run.image.image.config.on_build.clear();
        if let Base::Image(name) = &stage.base {
            let running = run.begin(&format!("FROM {name}"), &stage.text);
            solve.progress.event(Event::Finished { step: running.id, took: running.start.elapsed() });
        } else {
            run.number += usize::from(stage.base != Base::Scratch);
            run.announce(&stage.text, None);
        }
        Ok(run)
    }

    fn stage(&self) -> &'s PlannedStage {
        &self.solve.plan.stages[self.index]
    }

    /// Takes the stage to its end.
    pub fn run(mut self) -> Result<Finished, BuildError> {
        let stage = self.stage();
        for step in &stage.steps {
            if self.solve.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            let mut tail = Vec::new();
            self.step(step, &mut tail).map_err(|error| match error {
                StepError::Cancelled => BuildError::Cancelled,
                error => BuildError::Step { location: Box::new(self.location(step)), output: tail, error },
            })?;
        }
        Ok(Finished { image: self.image.image, filesystem: self.filesystem })
    }

    fn location(&self, step: &Step) -> Location {
        Location {
            file: self.solve.file_name.to_owned(),
            line: step.span.line,
            end_line: step.span.end_line,
            instruction: step.text.clone(),
        }
    }

    fn announce(&mut self, text: &str, step: Option<StepId>) {
        self.position += 1;
        let (number, count) = (self.position, self.solve.plan.instructions_before(usize::MAX));
        self.solve.progress.event(Event::Instruction { number, count, text, step });
    }

    /// Begins a step, which progress calls by `text`, for an instruction as it is written.
    fn begin(&mut self, text: &str, written: &str) -> Running {
        self.number += 1;
        let id = self.solve.next_step();
        self.announce(written, Some(id));
        let name = self.stage().step_name(self.number, text);
        self.solve.progress.event(Event::Started { step: id, name: &name });
        Running { id, start: Instant::now() }
    }

    fn step(&mut self, step: &Step, tail: &mut Vec<String>) -> Result<(), StepError> {
        if !step.instruction.makes_layer() {
            self.announce(&step.text, None);
            let shown =
                self.image.apply(&step.instruction, self.solve.globals).map_err(StepError::Invalid)?;
            self.history(shown, None, None);
            return Ok(());
        }
        // Its time begins when the files it needs are there.
        for from in froms(&step.instruction) {
            if let SourceRef::Stage(index) = &self.stage().sources[from] {
                self.solve.wait(*index).ok_or(StepError::Cancelled)?;
            }
        }
        let running = self.begin(&step.text, &step.text);
        let result = match &step.instruction {
            Instruction::Run(run) => self.run_step(run, &running, tail),
            Instruction::Copy(copy) => self.copy_step(step, copy, false, &running),
            Instruction::Add(copy) => self.copy_step(step, copy, true, &running),
            Instruction::Workdir(word) => self.workdir_step(word, &running),
            other => Err(StepError::Invalid(format!("{} makes no layer", other.name()))),
        };
        if let Err(error) = &result {
            let event = match error {
                StepError::Cancelled => Event::Cancelled { step: running.id },
                error => {
                    let text = error.to_string();
                    let took = running.start.elapsed();
                    self.solve.progress.event(Event::Failed { step: running.id, took, error: &text });
                    return result;
                }
            };
            self.solve.progress.event(event);
        }
        result
    }

    /// Takes the result of `key` from the cache or makes it, and adds it to the stage.
    fn settle(
        &mut self,
        key: &Key,
        running: &Running,
        created_by: String,
        execute: impl FnOnce(&mut Self) -> Result<Made, StepError>,
    ) -> Result<(), StepError> {
        let claimed = self.solve.cache.claim(key, !self.solve.options.no_cache);
        let outcome = match claimed.map_err(StepError::engine("read the build cache"))? {
            Claimed::Known(outcome) => {
                self.solve.count_cached();
                self.solve.progress.event(Event::Cached { step: running.id });
                outcome
            }
            Claimed::Ours(claim) => {
                let Made { layer, certain } = execute(self)?;
                let outcome = Outcome { layer, created: jiff::Timestamp::now().to_string() };
                claim.fulfil(&outcome, certain).map_err(StepError::engine("write the build cache"))?;
                self.solve.count_executed();
                let took = running.start.elapsed();
                self.solve.progress.event(Event::Finished { step: running.id, took });
                outcome
            }
        };
        self.history(created_by, outcome.layer.as_ref(), Some(outcome.created));
        match outcome.layer {
            Some(layer) => self.filesystem.push(layer),
            None => self.filesystem.key = self.filesystem.key.unchanged(key),
        }
        Ok(())
    }

    fn history(&mut self, created_by: String, layer: Option<&Layer>, created: Option<String>) {
        self.image.image.history.push(History {
            created,
            created_by,
            empty_layer: layer.is_none(),
            ..History::default()
        });
    }

    /// Fills a temporary upper directory over `lower` and makes a layer of it, unless nothing was written. `fill` says whether
    /// the result is certain.
    fn write_layer(
        &self,
        lower: &Tree,
        fill: impl FnOnce(&mut Writer) -> Result<bool, StepError>,
    ) -> Result<Made, StepError> {
        let scratch = self.scratch()?;
        let upper = scratch.path().join("upper");
        std::fs::create_dir(&upper).map_err(StepError::io("make", upper.display()))?;
        let mut writer = Writer::new(&upper, lower).map_err(StepError::io("open", upper.display()))?;
        let certain = fill(&mut writer)?;
        if !writer.finish().map_err(StepError::io("write", upper.display()))? {
            return Ok(Made { layer: None, certain });
        }
        Ok(Made { layer: Some(self.commit(&upper)?), certain })
    }

    fn scratch(&self) -> Result<TempDir, StepError> {
        self.solve.store.tmp_dir("build").map_err(StepError::engine("make a temporary directory"))
    }

    fn commit(&self, upper: &Path) -> Result<Layer, StepError> {
        self.solve.images.commit_layer(upper).map_err(StepError::engine("store the layer"))
    }

    fn expand(&self, word: &str) -> Result<String, StepError> {
        self.image.expand(word).map_err(StepError::Invalid)
    }

    fn workdir_step(&mut self, word: &str, running: &Running) -> Result<(), StepError> {
        let path = self.expand(word)?;
        if path.is_empty() {
            return Err(StepError::Invalid("WORKDIR cannot be empty".to_owned()));
        }
        let path = self.image.absolute(&path);
        let path = if path == "/" { path } else { path.trim_end_matches('/').to_owned() };
        let user = self.image.image.config.user.clone();
        let key = KeyBuilder::new("workdir")
            .add("below", &self.filesystem.key.0)
            .add("path", &path)
            .add("user", &user)
            .finish();
        self.image.image.config.working_dir.clone_from(&path);
        let created_by = format!("WORKDIR {path}");
        self.settle(&key, running, created_by, |run| {
            let lower = run.filesystem.tree(run.solve.store)?;
            run.write_layer(&lower, |writer| {
                let resolved = writer.resolve(Path::new(&path)).map_err(copy::explain(Path::new(&path)))?;
                match resolved.entry {
                    Some(entry) if entry.is_dir() => return Ok(true),
                    Some(_) => return Err(StepError::Invalid(format!("{path} is not a directory"))),
                    None => {}
                }
                let (uid, gid) = if user.is_empty() { (0, 0) } else { resolve_user(writer.view(), &user)? };
                writer
                    .ensure_dir(&resolved.path, &Attributes::dir(uid, gid))
                    .map_err(copy::explain(&resolved.path))?;
                Ok(true)
            })
        })
    }
}

fn resolve_user(tree: &Tree, spec: &str) -> Result<(u32, u32), StepError> {
    users::resolve(tree, spec).map_err(|error| StepError::Invalid(error.to_string()))
}
