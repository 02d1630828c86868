//! The steps of a build on a terminal: finished ones stay as a line each, running ones change at the bottom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use build::{Event, Progress, StepId};

use super::screen::Screen;

/// Shows one build on a screen it may share with others.
pub struct Steps {
    screen: Arc<Screen>,
    /// Stands before every step, such as a service's name.
    prefix: String,
    running: Mutex<HashMap<StepId, Running>>,
}

struct Running {
    id: u64,
    name: String,
}

impl Steps {
    pub fn new(screen: Arc<Screen>, prefix: impl Into<String>) -> Self {
        Self { screen, prefix: prefix.into(), running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<StepId, Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end(&self, step: StepId, took: Option<Duration>, word: &str) {
        let Some(running) = self.running().remove(&step) else { return };
        let time = took.map_or_else(String::new, |took| format!(" {:.1}s", took.as_secs_f64()));
        let name = running.name.replace('\n', " ");
        let line = match word {
            "ERROR" => format!("\x1b[31m => ERROR {}{name}\x1b[0m{time}", self.prefix),
            "" => format!("\x1b[34m => {}{name}\x1b[0m{time}", self.prefix),
            word => format!("\x1b[34m => {word} {}{name}\x1b[0m{time}", self.prefix),
        };
        self.screen.settle(running.id, &line);
    }
}

impl Progress for Steps {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Started { step, name } => {
                let first = name.lines().next().unwrap_or_default();
                let id = self.screen.begin(format!("{}{first}", self.prefix));
                let running = Running { id, name: first.to_owned() };
                self.running().insert(step, running);
            }
            Event::Dockerfile { .. } | Event::Instruction { .. } => {}
            Event::Cached { step } => self.end(step, None, "CACHED"),
            Event::Output { step, line, .. } => {
                if let Some(running) = self.running().get(&step) {
                    self.screen.output(running.id, &String::from_utf8_lossy(line));
                }
            }
            Event::Finished { step, took } => self.end(step, Some(took), ""),
            Event::Failed { step, took, .. } => self.end(step, Some(took), "ERROR"),
            Event::Cancelled { step } => self.end(step, None, "CANCELED"),
            Event::Warning { text } => self.screen.print(&format!("\x1b[33mWARNING: {text}\x1b[0m\n")),
            Event::Image { id, references } => {
                let names =
                    if references.is_empty() { String::new() } else { format!(" {}", references.join(", ")) };
                self.screen.print(&format!(
                    "\x1b[34m => {}image {}{names}\x1b[0m\n",
                    self.prefix,
                    super::human::short_id(id)
                ));
            }
        }
    }
}
