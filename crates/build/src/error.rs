//! Why a build failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

use crate::dockerfile::ParseError;

/// Where in a Dockerfile something is: `Dockerfile:3` or `Dockerfile:3-5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The Dockerfile as the user named it.
    pub file: String,
    /// First line, from 1.
    pub line: usize,
    /// Last line, inclusive.
    pub end_line: usize,
    /// The instruction as written, joined to one line.
    pub instruction: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.end_line > self.line {
            write!(f, "-{}", self.end_line)?;
        }
        Ok(())
    }
}

/// The error of a lower layer, with its class and hint.
#[derive(Debug)]
pub struct Cause(diag::Failure);

impl From<diag::Failure> for Cause {
    fn from(failure: diag::Failure) -> Self {
        Self(failure)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.error().source()
    }
}

/// A failed build. Whatever it had made so far is gone, except steps that entered the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error("cannot read {what} {}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to read dockerfile: open {}", path.display())]
    Dockerfile { path: PathBuf, source: io::Error },
    #[error("{file}:{}", error.lines())]
    Syntax {
        file: String,
        #[source]
        error: ParseError,
    },
    #[error("invalid {what} `{value}`: {reason}")]
    Request { what: &'static str, value: String, reason: String },
    #[error("target stage \"{target}\" could not be found in {file}")]
    NoSuchTarget { target: String, file: String },
    /// A step failed for a reason of its own; `output` holds the last lines it printed.
    #[error("{location}: {}", location.instruction)]
    Step {
        location: Box<Location>,
        output: Vec<String>,
        #[source]
        error: StepError,
    },
    #[error("cannot {what}")]
    Storage {
        what: String,
        #[source]
        source: Cause,
    },
    /// Addresses of repositories are shown without credentials.
    #[error("cannot clone {repository}: {reason}")]
    Clone { repository: String, reason: String },
    #[error("cannot clone {repository}: the program git is not on the PATH")]
    NoGit { repository: String },
    #[error(transparent)]
    Users(#[from] runtime::ids::PolicyError),
    #[error("build cancelled")]
    Cancelled,
}

/// What went wrong in one step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    #[error("process \"{command}\" did not complete successfully: exit code: {code}")]
    Exit { command: String, code: i32 },
    #[error("cannot start \"{command}\": {reason}")]
    Start { command: String, reason: String },
    #[error("{0}")]
    Invalid(String),
    /// The Dockerfile asks for a privilege its caller has not given it.
    #[error("{0}")]
    Denied(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("{what} not found: {name}")]
    NotFound { what: &'static str, name: String },
    #[error("{what} {path}")]
    Io { what: &'static str, path: String, source: io::Error },
    #[error("cannot {what}")]
    Engine {
        what: String,
        #[source]
        source: Cause,
    },
    #[error("stopped")]
    Cancelled,
}

impl StepError {
    pub(crate) fn io(what: &'static str, path: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_string();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn engine<E: Diagnose>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Engine { what, source: Cause(source.into()) }
    }
}

impl Diagnose for StepError {
    fn class(&self) -> Class {
        match self {
            Self::Exit { .. } | Self::Start { .. } | Self::Invalid(_) => Class::Invalid,
            Self::Denied(_) => Class::Denied,
            Self::Unsupported(_) => Class::Unsupported,
            Self::NotFound { .. } => Class::NotFound,
            Self::Io { source, .. } => io_class(source),
            Self::Engine { source, .. } => source.0.class(),
            Self::Cancelled => Class::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Engine { source, .. } => source.0.hint(),
            Self::Denied(_) => Some("if you trust this Dockerfile, build with `--network host`".to_owned()),
            _ => None,
        }
    }
}

impl BuildError {
    /// The last lines the failing step printed, oldest first.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Step { output, .. } => output,
            _ => &[],
        }
    }

    pub(crate) fn storage<E: Diagnose>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Storage { what, source: Cause(source.into()) }
    }
}

impl Diagnose for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } | Self::Dockerfile { source, .. } => io_class(source),
            Self::Syntax { .. } | Self::Request { .. } | Self::Users(_) => Class::Invalid,
            Self::NoSuchTarget { .. } => Class::NotFound,
            Self::Step { error, .. } => error.class(),
            Self::Storage { source, .. } => source.0.class(),
            // It is the other server's fault, or its user's: git does not tell them apart.
            Self::Clone { .. } => Class::Internal,
            Self::NoGit { .. } | Self::Cancelled => Class::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Step { error, .. } => error.hint(),
            Self::NoGit { .. } => {
                Some("install git, or clone the repository elsewhere and build its directory".to_owned())
            }
            Self::Storage { source, .. } => source.0.hint(),
            Self::Dockerfile { .. } => {
                Some("name another file with `-f`, or another context directory".to_owned())
            }
            _ => None,
        }
    }
}

fn io_class(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::PermissionDenied => Class::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::Unavailable,
        _ => Class::Internal,
    }
}
