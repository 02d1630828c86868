//! The progress of a pull, in Docker's words.

use std::sync::Arc;

use image::{LayerState, NoProgress, PullEvent, PullProgress};
use oci::Reference;

use crate::context::{note, print_line};

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// For `pull`, whose output it is.
    Stdout,
    /// For commands whose output is something else.
    Stderr,
    Nowhere,
}

/// Progress of pulls, shown at `place`.
pub fn progress(place: Place) -> Arc<dyn PullProgress> {
    match place {
        Place::Nowhere => Arc::new(NoProgress),
        place => Arc::new(Lines(place)),
    }
}

impl Place {
    /// Prints one line there.
    pub fn say(self, line: &str) {
        match self {
            Place::Stdout => print_line(line),
            Place::Stderr => note(line),
            Place::Nowhere => {}
        }
    }
}

/// One line for each change.
struct Lines(Place);

impl PullProgress for Lines {
    fn event(&self, event: PullEvent<'_>) {
        for line in lines(event) {
            self.0.say(&line);
        }
    }
}

/// What is said of an event once and for all.
fn lines(event: PullEvent<'_>) -> Vec<String> {
    match event {
        PullEvent::Missing(reference) => vec![format!("Unable to find image '{reference}' locally")],
        PullEvent::Found(reference, _) => {
            vec![format!("{}: Pulling from {}", version(reference), reference.path())]
        }
        PullEvent::Layer { digest, state, .. } => {
            word(state).map(|word| format!("{}: {word}", digest.short())).into_iter().collect()
        }
        PullEvent::Done { reference, digest, is_new } => {
            let status = if is_new { "Downloaded newer image" } else { "Image is up to date" };
            vec![format!("Digest: {digest}"), format!("Status: {status} for {reference}")]
        }
    }
}

/// The tag, or the digest where one was given.
fn version(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

fn word(state: LayerState) -> Option<&'static str> {
    match state {
        LayerState::Waiting => Some("Pulling fs layer"),
        LayerState::Exists => Some("Already exists"),
        LayerState::Fetched(_) => None,
        LayerState::Complete => Some("Pull complete"),
    }
}
