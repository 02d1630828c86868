//! The images that FROM and COPY --from name: those that are here, and those that a registry has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use diag::{Class, Diagnose, Failure};
use image::{
    Image, Images, LayerState, PullError, PullEvent, PullOptions, PullPolicy, PullProgress, Registries,
};

use crate::error::StepError;
use crate::filesystem::Filesystem;
use crate::progress::{Event, Progress, StepId};
use crate::request::Cancel;
use crate::solve::BaseImage;

/// Finds images, each once.
pub struct Bases<'a> {
    pub images: &'a Images<'a>,
    /// Where those that are not here come from.
    pub registries: Option<&'a dyn Registries>,
    pub policy: PullPolicy,
    pub progress: Arc<dyn Progress>,
    pub cancel: Cancel,
    /// By the names the Dockerfile has for them.
    pub found: HashMap<String, BaseImage>,
    /// How many steps there were. Each pull is one, before all stages.
    pub steps: u32,
}

impl Bases<'_> {
    pub fn find(&mut self, name: &str) -> Result<&BaseImage, StepError> {
        if !self.found.contains_key(name) {
            let what = || format!("use image {name}");
            let image = self.image(name).map_err(|error| {
                let is_missing = matches!(error, PullError::Resolve(_)) && error.class() == Class::NotFound;
                let mut source = Failure::from(error);
                if is_missing {
                    source = source.with_hint(
                        "bring it here with `hull image bootstrap`, `hull import` or `hull load`, or build it first",
                    );
                }
                StepError::Engine { what: what(), source: source.into() }
            })?;
            let layers = self.images.layers(&image).map_err(StepError::engine(what()))?;
            let base = BaseImage { image, filesystem: Filesystem::of_layers(layers) };
            self.found.insert(name.to_owned(), base);
        }
        Ok(&self.found[name])
    }

    fn image(&mut self, name: &str) -> Result<Image, PullError> {
        let Some(registries) = self.registries else { return Ok(self.images.resolve(name)?) };
        let step = Arc::new(PullStep {
            progress: self.progress.clone(),
            step: StepId(self.steps + 1),
            title: format!("pull {name}"),
            begun: Mutex::new(None),
        });
        let options =
            PullOptions { progress: step.clone(), stop: self.cancel.flag(), ..PullOptions::default() };
        let result = self.images.ensure(registries, name, self.policy, &options);
        self.steps += u32::from(step.end(result.as_ref().err()));
        result
    }
}

/// One pull as a step of the build; it begins when a registry is asked.
struct PullStep {
    progress: Arc<dyn Progress>,
    step: StepId,
    title: String,
    begun: Mutex<Option<Instant>>,
}

impl PullStep {
    fn begin(&self) -> Instant {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| {
            self.progress.event(Event::Started { step: self.step, name: &self.title });
            Instant::now()
        })
    }

    /// Tells how it went; whether it ever began.
    fn end(&self, error: Option<&PullError>) -> bool {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(took) = begun.map(|begun| begun.elapsed()) else { return false };
        let step = self.step;
        match error.map(ToString::to_string) {
            None => self.progress.event(Event::Finished { step, took }),
            Some(error) => self.progress.event(Event::Failed { step, took, error: &error }),
        }
        true
    }
}

impl PullProgress for PullStep {
    fn event(&self, event: PullEvent<'_>) {
        let begun = self.begin();
        let line = match event {
            PullEvent::Layer { digest, state: LayerState::Waiting, .. } => {
                format!("{}: Pulling fs layer", digest.short())
            }
            PullEvent::Layer { digest, state: LayerState::Complete, .. } => {
                format!("{}: Pull complete", digest.short())
            }
            PullEvent::Done { digest, .. } => format!("Digest: {digest}"),
            _ => return,
        };
        self.progress.event(Event::Output { step: self.step, at: begun.elapsed(), line: line.as_bytes() });
    }
}
