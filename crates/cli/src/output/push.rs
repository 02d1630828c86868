//! The progress of a push, in Docker's words.

use image::{PushEvent, PushProgress, PushState};

use crate::context::print_line;

/// One line for each change.
pub struct Lines;

impl PushProgress for Lines {
    fn event(&self, event: PushEvent<'_>) {
        let word = match event.state {
            PushState::Preparing => "Preparing",
            PushState::Sent(_) => return,
            PushState::Pushed => "Pushed",
            PushState::Exists => "Layer already exists",
            PushState::Mounted(from) => {
                return print_line(format_args!("{}: Mounted from {from}", event.layer.short()));
            }
        };
        print_line(format_args!("{}: {word}", event.layer.short()));
    }
}
