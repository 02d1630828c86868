//! Commands on several objects: each is done, each failure is told, and the exit status says whether there was one.

use std::process::ExitCode;
use std::sync::Mutex;

use diag::Failure;

use super::Outcome;
use crate::context::{note, print_line};

/// Collects what happened to each object.
#[derive(Default)]
pub struct Report {
    failed: bool,
}

impl Report {
    /// Prints a failure, or what a success says.
    pub fn add(&mut self, result: Result<Option<String>, Failure>) {
        match result {
            Ok(Some(text)) => print_line(text),
            Ok(None) => {}
            Err(failure) => self.failure(&failure),
        }
    }

    /// Prints a failure.
    pub fn failure(&mut self, failure: &Failure) {
        self.failed = true;
        note(diag::render(failure));
    }

    /// The command's outcome.
    pub fn outcome(self) -> Outcome {
        Ok(ExitCode::from(u8::from(self.failed)))
    }
}

/// Does `act` to each of `names`, one after the other, and prints the names it was done to.
pub fn each(names: &[String], act: impl Fn(&str) -> Result<(), Failure>) -> Outcome {
    let mut report = Report::default();
    for name in names {
        report.add(act(name).map(|()| Some(name.clone())));
    }
    report.outcome()
}

/// As [`each`], all at once: for what waits.
pub fn each_at_once(names: &[String], act: impl Fn(&str) -> Result<(), Failure> + Sync) -> Outcome {
    if names.len() < 2 {
        return each(names, act);
    }
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for name in names {
            let (report, act) = (&report, &act);
            scope.spawn(move || {
                let result = act(name).map(|()| Some(name.clone()));
                report.lock().expect("printing does not panic").add(result);
            });
        }
    });
    report.into_inner().expect("printing does not panic").outcome()
}
