//! What can be wrong with a Compose project before anything is done with it.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

use crate::yaml::Span;

/// Why a project could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("no configuration file provided: not found in {} or its parents", directory.display())]
    NoFile { directory: PathBuf },
    #[error("cannot read {what} {}", path.display())]
    Read {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{at}: {message}")]
    Syntax { at: Span, message: String },
    /// A `${...}` that cannot be read, or `${X:?message}` without X.
    #[error("{at}: {path}: {message}")]
    Interpolation { at: Span, path: String, message: String },
    /// A value of the wrong type or outside its range.
    #[error("{at}: {path} {message}")]
    Value { at: Span, path: String, message: String },
    /// A key the Compose specification does not have.
    #[error("{at}: {path}: additional property '{key}' is not allowed")]
    UnknownKey { at: Span, path: String, key: String, similar: Option<&'static str> },
    /// A key of the specification that hull does not honour.
    #[error("{at}: {path} is not supported: {reason}")]
    Unsupported { at: Span, path: String, reason: &'static str },
    #[error("{at}: {message}")]
    EnvFile { at: Span, message: String },
    /// The parts contradict each other: undefined network, cycle, name taken twice.
    #[error("{at}: {message}: invalid compose project")]
    Inconsistent { at: Span, message: String },
    #[error(
        "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores \
         as well as start with a letter or number"
    )]
    ProjectName { name: String },
    #[error("project name must not be empty: {} has no usable name", directory.display())]
    NoProjectName { directory: PathBuf },
    #[error("no such service: {name}")]
    NoSuchService { name: String, known: Vec<String> },
    #[error("no service selected")]
    NoService,
    /// A service was asked for that was not among the targets the project was loaded for.
    #[error("service {name:?} is not enabled: its profiles are off ({})", profiles.join(", "))]
    ProfileOff { name: String, profiles: Vec<String> },
}

impl Diagnose for LoadError {
    fn class(&self) -> Class {
        match self {
            LoadError::NoFile { .. } | LoadError::NoSuchService { .. } => Class::NotFound,
            LoadError::Read { source, .. } => Class::of_io(source),
            LoadError::Unsupported { .. } => Class::Unsupported,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            LoadError::NoFile { .. } => {
                Some("change to the directory that holds compose.yaml, or name the file with `-f`".into())
            }
            LoadError::UnknownKey { similar: Some(similar), .. } => {
                Some(format!("did you mean `{similar}`?"))
            }
            LoadError::Unsupported { .. } => Some("remove the key to run without it".into()),
            LoadError::Interpolation { message, .. } if message.starts_with("invalid interpolation") => {
                Some("write `$$` for a dollar sign".into())
            }
            LoadError::ProjectName { .. } | LoadError::NoProjectName { .. } => {
                Some("choose a name with `-p` or COMPOSE_PROJECT_NAME".into())
            }
            LoadError::ProfileOff { profiles, .. } => Some(format!(
                "switch one on with `--profile {}`",
                profiles.first().map_or("", String::as_str)
            )),
            LoadError::NoService => Some("the file has no `services`, or the profiles of all are off".into()),
            LoadError::NoSuchService { known, .. } if !known.is_empty() => {
                Some(format!("the project has: {}", known.join(", ")))
            }
            _ => None,
        }
    }
}
