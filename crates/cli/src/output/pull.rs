//! The progress of a pull, in Docker's words.

use std::sync::Arc;

use image::{LayerState, NoProgress, PullEvent, PullProgress};
use oci::Reference;

use crate::context::print_line;

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Stdout,
    Nowhere,
}

/// Progress of pulling `reference`.
pub fn progress(reference: &Reference, place: Place) -> Arc<dyn PullProgress> {
    match place {
        Place::Nowhere => Arc::new(NoProgress),
        place => Arc::new(Lines { reference: reference.clone(), place }),
    }
}

impl Place {
    /// Prints one line there.
    pub fn say(self, line: &str) {
        match self {
            Place::Stdout => print_line(line),
            Place::Nowhere => {}
        }
    }
}

/// One line for each change.
struct Lines {
    reference: Reference,
    place: Place,
}

impl PullProgress for Lines {
    fn event(&self, event: PullEvent<'_>) {
        let (subject, message) = match event {
            PullEvent::Found(_) => {
                (version(&self.reference), format!("Pulling from {}", self.reference.path()))
            }
            PullEvent::Layer { digest, state, .. } => match word(state) {
                Some(word) => (digest.short(), word.to_owned()),
                None => return,
            },
        };
        self.place.say(&format!("{subject}: {message}"));
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
