//! What a running verb shows: progress on standard error, output of containers on standard output.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use build::progress::plain::Plain;
use compose::{Interrupt, LogLine, Object, Paint, Reporter, Status};
use diag::{Class, Diagnose};
use sys::event::{PollFlags, SignalFd, poll_one};

use super::Flags;
use crate::output::screen::{Mark, Screen};
use crate::output::steps::Steps;

/// Writes what happens, one line each.
pub struct Printer {
    paint: Paint,
    /// On a terminal: objects stay and change until they are done.
    screen: Option<Arc<Screen>>,
    shown: Mutex<HashMap<String, u64>>,
    quiet: bool,
    quiet_build: bool,
    quiet_pull: bool,
}

impl Printer {
    pub fn new(flags: &Flags) -> Self {
        Self {
            paint: Paint { color: flags.color(true), prefix: true, timestamps: false },
            screen: (flags.color(false) && io::stderr().is_terminal()).then(Screen::new),
            shown: Mutex::default(),
            quiet: flags.quiet,
            quiet_build: flags.quiet,
            quiet_pull: false,
        }
    }

    /// How log lines look, where a verb has flags for it.
    pub fn with_logs(mut self, no_color: bool, no_prefix: bool, timestamps: bool) -> Self {
        self.paint.color &= !no_color;
        self.paint.prefix = !no_prefix;
        self.paint.timestamps = timestamps;
        self
    }

    /// Without the steps of builds.
    pub fn quiet_build(mut self, quiet: bool) -> Self {
        self.quiet_build |= quiet;
        self
    }

    /// Without the progress of pulls.
    pub fn quiet_pull(mut self, quiet: bool) -> Self {
        self.quiet_pull |= quiet;
        self
    }

    /// Without progress altogether.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet |= quiet;
        self.quiet_build |= quiet;
        self
    }
}

impl Printer {
    /// Leaves what the screen shows as it is, before something else is printed.
    fn settle(&self) {
        if let Some(screen) = &self.screen {
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).clear();
            screen.freeze();
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Reporter for Printer {
    fn progress(&self, object: Object<'_>, status: Status<'_>) {
        let of_pull = matches!(status.word(), "Pulling" | "Pulled");
        if self.quiet || self.quiet_pull && of_pull {
            return;
        }
        let subject = format!("{} {}", object.kind.as_str(), object.name);
        let Some(screen) = &self.screen else {
            let text = if let Status::Failed(text) = status { format!(" {text}") } else { String::new() };
            let _ = writeln!(io::stderr().lock(), " {subject}  {}{text}", status.word());
            return;
        };
        let mark = match status {
            Status::Doing(_) => Mark::Running,
            Status::Done(_) => Mark::Done,
            Status::Failed(_) => Mark::Failed,
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *shown.entry(subject.clone()).or_insert_with(|| screen.begin(subject));
        screen.status(id, status.word(), mark);
    }

    fn warning(&self, text: &str) {
        self.settle();
        let _ = writeln!(io::stderr().lock(), "WARNING: {text}");
    }

    fn log(&self, line: &LogLine<'_>) {
        self.settle();
        let text = self.paint.render(line);
        let mut out = io::stdout().lock();
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            // Whoever read our output has seen enough.
            sys::process::exit(0);
        }
    }

    fn build(&self, service: &str) -> Arc<dyn build::Progress> {
        match (self.quiet_build, &self.screen) {
            (true, _) => Arc::new(build::NoProgress),
            (false, Some(screen)) => Arc::new(Steps::new(Arc::clone(screen), format!("[{service}] "))),
            (false, None) => Arc::new(Plain::new(Prefixed { prefix: service.to_owned(), line_begins: true })),
        }
    }
}

/// Standard error with a service's name before each line: builds run side by side.
struct Prefixed {
    prefix: String,
    line_begins: bool,
}

impl Write for Prefixed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line_begins && line != b"\n" {
                out.extend_from_slice(self.prefix.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line);
            self.line_begins = line.ends_with(b"\n");
        }
        io::stderr().lock().write_all(&out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot wait for signals")]
pub struct SignalsError(#[source] io::Error);

impl Diagnose for SignalsError {
    fn class(&self) -> Class {
        Class::of_io(&self.0)
    }
}

/// Turns Ctrl-C into a wish to stop, a second one into an urgent one, a third one into the end of this process.
pub fn interrupt_on_signals() -> Result<Interrupt, SignalsError> {
    const INT: i32 = 2;
    const TERM: i32 = 15;
    let interrupt = Interrupt::default();
    let signals = SignalFd::new(&[INT, TERM]).map_err(SignalsError)?;
    let raised = interrupt.clone();
    // The thread ends with the process.
    std::thread::spawn(move || {
        let mut count = 0;
        while poll_one(std::os::fd::AsFd::as_fd(&signals), PollFlags::IN, None).is_ok() {
            while let Ok(Some(_)) = signals.take() {
                count += 1;
                match count {
                    1 => raised.stop.store(true, Ordering::SeqCst),
                    2 => raised.kill.store(true, Ordering::SeqCst),
                    _ => sys::process::exit(super::INTERRUPTED),
                }
            }
        }
    });
    Ok(interrupt)
}
