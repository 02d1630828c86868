//! A build's progress as the classic builder tells it: one instruction after the other, in the order of the file.
//!
//! Stages run side by side. What a later instruction says waits until the earlier ones are done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::build::{Event, Progress, StepId};
use serde_json::json;

use crate::stream::Sink;

/// Progress that a client reads.
pub struct Steps {
    sink: Arc<Sink>,
    /// Nothing but the image's id is told.
    quiet: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was not shown yet, by the number of its instruction.
    waiting: BTreeMap<usize, Waiting>,
    numbers: HashMap<StepId, usize>,
    /// Steps nobody is told of, as dockerd clones repositories.
    internal: HashSet<StepId>,
    /// How many instructions have been shown to their end.
    shown: usize,
    /// The instruction whose step failed.
    failed: Option<usize>,
    begun: bool,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<String>,
    done: bool,
}

impl Steps {
    pub fn new(sink: &Arc<Sink>, quiet: bool) -> Self {
        Self { sink: sink.clone(), quiet, state: Mutex::default() }
    }

    /// Whether anything was told.
    pub fn have_begun(&self) -> bool {
        self.state().begun
    }

    /// Shows what the failed step said, wherever it stands.
    pub fn show_failed(&self) {
        let mut state = self.state();
        let failed = state.failed.take().and_then(|number| state.waiting.remove(&number));
        failed.into_iter().flat_map(|step| step.lines).for_each(|line| self.say(&line));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that has gone is noticed elsewhere.
    fn say(&self, text: &str) {
        if !self.quiet {
            let _ = self.sink.line(&json!({ "stream": text }));
        }
    }

    /// Shows what has its turn.
    fn advance(&self, state: &mut State) {
        loop {
            let next = state.shown + 1;
            let Some(step) = state.waiting.get_mut(&next) else { return };
            step.lines.drain(..).for_each(|line| self.say(&line));
            if !step.done {
                return;
            }
            state.waiting.remove(&next);
            state.shown = next;
        }
    }

    fn instruction(&self, number: usize, count: usize, text: &str, step: Option<StepId>) {
        let mut state = self.state();
        state.begun |= !self.quiet;
        if let Some(step) = step {
            state.numbers.insert(step, number);
        }
        let lines = vec![format!("Step {number}/{count} : {text}"), "\n".to_owned()];
        state.waiting.insert(number, Waiting { lines, done: step.is_none() });
        self.advance(&mut state);
    }

    fn step(&self, step: StepId, line: Option<String>, done: bool) {
        let mut state = self.state();
        let number = state.numbers.get(&step).copied();
        let Some(waiting) = number.and_then(|number| state.waiting.get_mut(&number)) else {
            // Not one of the file's: an image is pulled, before all of them.
            let is_told = !state.internal.contains(&step);
            drop(state);
            line.iter().filter(|_| is_told).for_each(|line| self.say(line));
            return;
        };
        waiting.lines.extend(line);
        waiting.done |= done;
        self.advance(&mut state);
    }
}

impl Progress for Steps {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { step, name } if name.starts_with("[internal] ") => {
                self.state().internal.insert(step);
            }
            Event::Dockerfile { .. } | Event::Started { .. } | Event::Cancelled { .. } => {}
            Event::Instruction { number, count, text, step } => self.instruction(number, count, text, step),
            Event::Cached { step } => self.step(step, Some(" ---> Using cache\n".to_owned()), true),
            Event::Output { step, line, .. } => {
                self.step(step, Some(format!("{}\n", String::from_utf8_lossy(line))), false);
            }
            Event::Finished { step, .. } => self.step(step, None, true),
            Event::Failed { step, .. } => {
                let mut state = self.state();
                state.failed = state.numbers.get(&step).copied();
            }
            Event::Warning { text } => self.say(&format!("[Warning] {text}\n")),
            Event::Image { id, references } => {
                let _ = self.sink.line(&json!({"aux": {"ID": id}}));
                let short = id.strip_prefix("sha256:").unwrap_or(id).get(..12).unwrap_or(id);
                self.say(&format!("Successfully built {short}\n"));
                for reference in references {
                    let familiar = oci::Reference::parse(reference).map(|reference| reference.familiar());
                    self.say(&format!("Successfully tagged {}\n", familiar.as_deref().unwrap_or(reference)));
                }
            }
        }
    }
}
