//! Archives as output: to a file that appears when it is complete, or to standard output unless that is a terminal.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use diag::{Class, Diagnose, Failure};

use crate::commands::{Ended, Outcome, usage};

/// Where an archive goes.
pub enum Output {
    Stdout,
    /// Written beside the path, then renamed: what exists under the name is complete.
    File {
        path: PathBuf,
        partial: PathBuf,
        file: File,
    },
}

/// An output file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

impl Diagnose for OutputError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }
}

impl Output {
    /// Output to `path`, or to standard output of the command `command`.
    pub fn new(path: Option<&Path>, command: &str) -> Result<Self, Ended> {
        let Some(path) = path else {
            if io::stdout().is_terminal() {
                return Err(usage(
                    command,
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            return Ok(Self::Stdout);
        };
        let failed = |source| OutputError { path: path.into(), source };
        let special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        let mut name = path.as_os_str().to_owned();
        if !special {
            name.push(format!(".{}.partial", std::process::id()));
        }
        let partial = PathBuf::from(name);
        let file =
            File::options().write(true).create(true).truncate(!special).open(&partial).map_err(failed)?;
        Ok(Self::File { path: path.into(), partial, file })
    }

    /// Lets `write` fill the output; a file appears only when that worked.
    ///
    /// It is given a file in any case: what is copied to one from another, the kernel copies.
    pub fn write(self, write: impl FnOnce(&File) -> Result<(), Failure>) -> Outcome {
        match self {
            Self::Stdout => {
                let descriptor = io::stdout().as_fd().try_clone_to_owned();
                let file = descriptor.map_err(|source| OutputError { path: "-".into(), source })?;
                write(&File::from(file)).map_err(Ended::plain)?;
            }
            Self::File { path, partial, file } => {
                let written = write(&file).map_err(Ended::plain).and_then(|()| match partial == path {
                    true => Ok(()),
                    false => Ok(std::fs::rename(&partial, &path)
                        .map_err(|source| OutputError { path: path.clone(), source })?),
                });
                if written.is_err() && partial != path {
                    let _ = std::fs::remove_file(&partial);
                }
                written?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
