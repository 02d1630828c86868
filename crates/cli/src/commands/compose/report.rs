//! What a running verb shows: progress on standard error, output of containers on standard output.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use build::progress::plain::Plain;
use compose::{Interrupt, LogLine, Object, Paint, Reporter, Status};
use diag::{Class, Diagnose};
use sys::event::{PollFlags, SignalFd, poll_one};

use super::Flags;

/// Writes what happens, one line each.
pub struct Printer {
    paint: Paint,
    /// Marks and elapsed times instead of Docker's plain lines.
    fancy: bool,
    quiet: bool,
    quiet_build: bool,
    begun: Mutex<HashMap<String, Instant>>,
}

impl Printer {
    pub fn new(flags: &Flags) -> Self {
        Self {
            paint: Paint { color: flags.color(true), prefix: true, timestamps: false },
            fancy: flags.color(false),
            quiet: flags.quiet,
            quiet_build: flags.quiet,
            begun: Mutex::default(),
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

    /// Without progress altogether.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet |= quiet;
        self.quiet_build |= quiet;
        self
    }

    /// The line for `status`; none for a step that a fancy report leaves out.
    fn line(&self, object: Object<'_>, status: Status<'_>) -> Option<String> {
        let subject = format!("{} {}", object.kind.as_str(), object.name);
        if !self.fancy {
            let text = if let Status::Failed(text) = status { format!(" {text}") } else { String::new() };
            return Some(format!(" {subject}  {}{text}", status.word()));
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = match status {
            Status::Doing(word) => {
                begun.entry(subject.clone()).or_insert_with(Instant::now);
                return matches!(word, "Waiting" | "Building" | "Stopping")
                    .then(|| format!(" \x1b[33m⠿\x1b[0m {subject}  {word}"));
            }
            Status::Done(_) => "\x1b[32m✔\x1b[0m",
            Status::Failed(_) => "\x1b[31m✘\x1b[0m",
        };
        let took = begun.remove(&subject).map(|begun| begun.elapsed().as_secs_f64()).unwrap_or(0.0);
        Some(format!(" {mark} {subject}  {:<10} {took:.1}s", status.word()))
    }
}

impl Reporter for Printer {
    fn progress(&self, object: Object<'_>, status: Status<'_>) {
        if self.quiet {
            return;
        }
        if let Some(line) = self.line(object, status) {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    fn warning(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "WARNING: {text}");
    }

    fn log(&self, line: &LogLine<'_>) {
        let text = self.paint.render(line);
        let mut out = io::stdout().lock();
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            // Whoever read our output has seen enough.
            sys::process::exit(0);
        }
    }

    fn build(&self, service: &str) -> Arc<dyn build::Progress> {
        match self.quiet_build {
            true => Arc::new(build::NoProgress),
            false => Arc::new(Plain::new(Prefixed { prefix: service.to_owned(), line_begins: true })),
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
