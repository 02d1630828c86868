//! Error classes, hints, the one function that prints an error chain, and the exit codes computed from it.
//!
//! Every crate keeps one `thiserror` enum per operation and implements [`Diagnose`] for it. At the edge such an error becomes
//! a [`Failure`], and [`render`] prints it once. Statuses and exit codes are computed from [`Class`] here and nowhere else.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

use std::error::Error;
use std::fmt::{self, Write as _};

/// What kind of failure an error is; the closed list from which exit codes and HTTP statuses are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The named object does not exist.
    NotFound,
    /// The object's state or another object forbids the operation: name taken, in use, already running.
    Conflict,
    /// The request itself is wrong: syntax, range, contradiction.
    Invalid,
    /// The caller or the kernel does not permit it.
    Denied,
    /// Something needed is not there now: resource exhausted, timeout, interrupted.
    Unavailable,
    /// Known, but not supported by hull or by this kernel.
    Unsupported,
    /// A defect or an unexpected answer of the system.
    Internal,
}

impl Class {
    /// The class of a failed system call that no better context explains.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        match error.kind() {
            NotFound => Self::NotFound,
            AlreadyExists => Self::Conflict,
            PermissionDenied | ReadOnlyFilesystem => Self::Denied,
            InvalidInput | InvalidData | UnexpectedEof => Self::Invalid,
            Unsupported => Self::Unsupported,
            OutOfMemory | StorageFull | QuotaExceeded | WouldBlock | ResourceBusy | TimedOut
            | Interrupted => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// An error that knows its class and what the user can do about it.
pub trait Diagnose: Error + Send + Sync + 'static {
    /// The class of this failure.
    fn class(&self) -> Class;

    /// What to do next, as one sentence without a full stop; `None` when nothing useful can be said.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The exit status the failed process itself dictates (`docker run`'s 126 and 127), when there is one.
    fn exit_status(&self) -> Option<u8> {
        None
    }
}

/// Any [`Diagnose`] error on its way to the user.
pub struct Failure {
    error: Box<dyn Diagnose>,
    hint: Option<String>,
}

impl Failure {
    /// The class of the wrapped error.
    pub fn class(&self) -> Class {
        self.error.class()
    }

    /// The hint added at the edge, or else the error's own, or else what its innermost cause suggests.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone().or_else(|| self.error.hint()).or_else(|| hint_of_cause(self.error()))
    }

    /// The exit status the wrapped error dictates, when it does.
    pub fn exit_status(&self) -> Option<u8> {
        self.error.exit_status()
    }

    /// Replaces the hint by one the edge knows better, such as the flag to use.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The wrapped error, for its `Display` text and its sources.
    pub fn error(&self) -> &(dyn Error + 'static) {
        self.error.as_ref()
    }
}

impl<E: Diagnose> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), hint: None }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

/// What to do about a full disk; every operation that writes can meet one.
pub const HINT_FULL: &str = "free some space, for example with `hull system prune`";

fn hint_of_cause(error: &(dyn Error + 'static)) -> Option<String> {
    is_full(error).then(|| HINT_FULL.to_owned())
}

/// Whether `error`, or what caused it, is a disk or a quota without room.
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(StorageFull | QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The word of `known` that was probably meant by `word`: the nearest, when a third of the letters at most is wrong, or one.
/// Letters are wrong that are missing, added, replaced, or swapped with their neighbour.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|known| (strsim::osa_distance(word, known), known));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, known)| known)
}

/// The failures of several objects of one command, reported one by one; the first one decides the exit code.
pub type Failures = Vec<Failure>;

/// Renders `failure` as the lines a user sees: the error, its causes, its hint.
///
/// A cause whose text the line above already ends with is not repeated.
pub fn render(failure: &Failure) -> String {
    let mut out = format!("error: {failure}");
    let mut last = failure.to_string();
    let mut source = failure.error().source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !last.ends_with(&text) {
            let _ = write!(out, "\n  caused by: {text}");
        }
        last = text;
        source = cause.source();
    }
    if let Some(hint) = failure.hint() {
        let _ = write!(out, "\n  hint: {hint}");
    }
    out
}

/// An error and its causes in one line. A cause whose text the line already ends with is not repeated.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Which table of exit codes a command follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitTable {
    /// Commands whose exit status is their own: 1 on failure.
    Plain,
    /// `run`: 125 when hull failed, 126 and 127 when the command could not be started.
    Process,
    /// `exec`: 126 and 127 when the command could not be started, 1 when there was nothing to start it in.
    Exec,
}

/// Usage errors exit with this status, as Docker's do.
pub const EXIT_USAGE: u8 = 125;

/// The exit status of a command that ended with `failure`.
pub fn exit_status(table: ExitTable, failure: &Failure) -> u8 {
    match table {
        ExitTable::Plain => 1,
        ExitTable::Process => failure.exit_status().unwrap_or(125),
        ExitTable::Exec => failure.exit_status().unwrap_or(1),
    }
}

/// The HTTP status that stands for `class` in Docker's API.
pub fn http_status(class: Class) -> u16 {
    match class {
        Class::Invalid => 400,
        Class::Denied => 403,
        Class::NotFound => 404,
        Class::Conflict => 409,
        Class::Internal => 500,
        Class::Unsupported => 501,
        Class::Unavailable => 503,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let known = ["image", "ports", "environment", "volumes", "init", "rm", "run"];
        for (word, expected) in [
            ("imgae", Some("image")),
            ("port", Some("ports")),
            ("enviroment", Some("environment")),
            ("enviromnet", Some("environment")),
            ("volume", Some("volumes")),
            ("rnu", Some("run")),
            ("something", None),
            ("", None),
        ] {
            assert_eq!(similar(word, known), expected, "{word}");
        }
    }

    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot start container `web`")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    impl Diagnose for Outer {
        fn class(&self) -> Class {
            Class::Conflict
        }
        fn exit_status(&self) -> Option<u8> {
            Some(127)
        }
    }

    #[test]
    fn chain_is_printed_once_with_its_hint() {
        let failure =
            Failure::from(Outer(std::io::Error::other("bind: in use"))).with_hint("use another port");
        assert_eq!(
            render(&failure),
            "error: cannot start container `web`\n  caused by: bind: in use\n  hint: use another port"
        );
    }

    #[test]
    fn a_full_disk_is_told_what_to_do_about_it() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Failure::from(Outer(full)).hint().as_deref(), Some(HINT_FULL));
        let own = Failure::from(Outer(std::io::ErrorKind::StorageFull.into())).with_hint("own");
        assert_eq!(own.hint().as_deref(), Some("own"));
    }

    #[test]
    fn exit_status_follows_the_table() {
        let failure = Failure::from(Outer(std::io::Error::other("x")));
        assert_eq!(exit_status(ExitTable::Plain, &failure), 1);
        assert_eq!(exit_status(ExitTable::Process, &failure), 127);
        assert_eq!(exit_status(ExitTable::Exec, &failure), 127);
    }
}
