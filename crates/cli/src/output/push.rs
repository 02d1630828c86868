//! The progress of a push, in Docker's words.

use image::{PushEvent, PushProgress, PushState};

use crate::context::{note, print_line};

/// One line for each change.
pub struct Lines {
    print: fn(String),
    done: &'static str,
    present: &'static str,
}

impl Lines {
    /// For `push`, whose output it is.
    pub fn on_stdout() -> Self {
        Self { print: |line| print_line(line), done: "Pushed", present: "Layer already exists" }
    }

    /// For `image copy`, which names all blobs.
    pub fn of_copy() -> Self {
        Self { print: |line| print_line(line), done: "Copied", present: "Already exists" }
    }

    /// For commands whose output is something else.
    pub fn on_stderr() -> Self {
        Self { print: |line| note(line), ..Self::on_stdout() }
    }
}

impl PushProgress for Lines {
    fn event(&self, event: PushEvent<'_>) {
        let state = match event.state {
            PushState::Preparing => "Preparing".to_owned(),
            PushState::Sent(_) => return,
            PushState::Pushed => self.done.to_owned(),
            PushState::Exists => self.present.to_owned(),
            PushState::Mounted(from) => format!("Mounted from {from}"),
        };
        (self.print)(format!("{}: {state}", event.layer.short()));
    }
}
