//! Progress as plain lines, in the shape of BuildKit's `--progress=plain`.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;

use super::{Event, Progress, StepId};

/// Writes events as lines to `W`, each event with one write.
pub struct Plain<W> {
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    names: HashMap<StepId, String>,
    /// The step the last line belonged to; output of another one repeats its name first.
    last: Option<StepId>,
}

impl<W: Write + Send> Plain<W> {
    /// Renders to `out`, usually standard error.
    pub fn new(out: W) -> Self {
        Self { state: Mutex::new(State { out, names: HashMap::new(), last: None }) }
    }

    /// Gives the writer back.
    pub fn into_inner(self) -> W {
        self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).out
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let text = state.render(event);
        // A closed standard error must not fail the build.
        let _ = state.out.write_all(&text);
    }
}

impl<W> State<W> {
    fn render(&mut self, event: Event<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        match event {
            Event::Started { step, name } => {
                self.separate(step, &mut out);
                let _ = writeln!(out, "#{} {}", step.0, first_line(name));
                self.names.insert(step, first_line(name).to_owned());
                self.last = Some(step);
            }
            Event::Output { step, at, line } => {
                self.switch(step, &mut out);
                let _ = write!(out, "#{} {:.3} ", step.0, at.as_secs_f64());
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            Event::Dockerfile { .. } | Event::Instruction { .. } => {}
            Event::Cached { step } => self.end(step, &mut out, "CACHED"),
            Event::Finished { step, took } => {
                self.end(step, &mut out, &format!("DONE {:.1}s", took.as_secs_f64()));
            }
            Event::Failed { step, error, .. } => self.end(step, &mut out, &format!("ERROR: {error}")),
            Event::Cancelled { step } => self.end(step, &mut out, "CANCELED"),
            Event::Warning { text } => {
                let _ = writeln!(out, "warning: {text}");
            }
            Event::Image { id, references } => {
                let _ = writeln!(out, "\nimage {id}");
                for reference in references {
                    let _ = writeln!(out, "naming to {reference}");
                }
            }
        }
        out
    }

    fn separate(&self, step: StepId, out: &mut Vec<u8>) {
        if self.last.is_some_and(|last| last != step) {
            out.push(b'\n');
        }
    }

    fn switch(&mut self, step: StepId, out: &mut Vec<u8>) {
        if self.last != Some(step) {
            self.separate(step, out);
            if let Some(name) = self.names.get(&step) {
                let _ = writeln!(out, "#{} {name}", step.0);
            }
            self.last = Some(step);
        }
    }

    fn end(&mut self, step: StepId, out: &mut Vec<u8>, how: &str) {
        self.switch(step, out);
        let _ = writeln!(out, "#{} {how}", step.0);
        self.names.remove(&step);
    }
}

fn first_line(name: &str) -> &str {
    name.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn interleaved_steps_repeat_their_name() {
        let plain = Plain::new(Vec::new());
        let (one, two) = (StepId(1), StepId(2));
        plain.event(Event::Started { step: one, name: "[1/2] FROM scratch" });
        plain.event(Event::Cached { step: one });
        plain.event(Event::Started { step: two, name: "[2/2] RUN make" });
        plain.event(Event::Output { step: two, at: Duration::from_millis(123), line: b"hello" });
        plain.event(Event::Finished { step: two, took: Duration::from_millis(420) });
        assert_eq!(
            String::from_utf8(plain.into_inner()).unwrap(),
            "#1 [1/2] FROM scratch\n#1 CACHED\n\n#2 [2/2] RUN make\n#2 0.123 hello\n#2 DONE 0.4s\n"
        );
    }
}
