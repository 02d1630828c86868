//! What a build tells while it runs. Events are facts; how they look is the face's decision.

pub mod plain;

use std::time::Duration;

/// Receives the events of one build, from any of its threads.
pub trait Progress: Send + Sync {
    /// Takes one event. Must not block for long: a stage waits for it.
    fn event(&self, event: Event<'_>);
}

/// Drops every event.
pub struct NoProgress;

impl Progress for NoProgress {
    fn event(&self, _: Event<'_>) {}
}

/// The number of a step within its build, from 1, in the order in which steps started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u32);

/// One event. Every step has exactly one `Started` and one of `Cached`, `Finished`, `Failed` or `Cancelled`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The Dockerfile was read.
    Dockerfile { text: &'a str },
    /// A step began; `name` is what BuildKit would print: `[builder 2/5] RUN make`.
    Started { step: StepId, name: &'a str },
    /// The `number`-th of all `count` instructions, as it is written, is next in its stage; `step` is what follows it when it makes
    /// a layer. Numbers are those of the file's order; stages run side by side.
    Instruction { number: usize, count: usize, text: &'a str, step: Option<StepId> },
    /// The step's result was in the cache.
    Cached { step: StepId },
    /// One line of the step's output, without its newline; `at` counts from the step's start.
    Output { step: StepId, at: Duration, line: &'a [u8] },
    /// The step is done.
    Finished { step: StepId, took: Duration },
    /// The step failed; the error is also what `build` returns.
    Failed { step: StepId, took: Duration, error: &'a str },
    /// The step was stopped because another failed or the caller wished so.
    Cancelled { step: StepId },
    /// Something the user should know, such as an undefined variable.
    Warning { text: &'a str },
    /// The image exists: its ID, and the references it got.
    Image { id: &'a str, references: &'a [String] },
}
