//! Archives as output: to a file that appears when it is complete, or to standard output unless that is a terminal.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use diag::{Class, Diagnose, Failure};
use sys::fs::NewFile;

use crate::commands::{Ended, Outcome, usage};

/// Where an archive goes.
pub enum Output {
    Stdout,
    /// What exists under the name is complete.
    File {
        path: PathBuf,
        file: NewFile,
    },
    /// A device or a pipe, written as it is.
    Special(File),
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
        if special {
            let file = File::options().write(true).open(path).map_err(failed)?;
            return Ok(Self::Special(file));
        }
        Ok(Self::File { path: path.into(), file: NewFile::create(path).map_err(failed)? })
    }

    /// Copies what another engine sends to the output.
    pub fn copy(self, mut from: impl io::Read) -> Outcome {
        self.write(|mut file| {
            let failed = |source| OutputError { path: "what the engine sends".into(), source };
            io::copy(&mut from, &mut file).map(drop).map_err(|source| failed(source).into())
        })
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
            Self::Special(file) => write(&file).map_err(Ended::plain)?,
            Self::File { path, file } => {
                write(file.file()).map_err(Ended::plain)?;
                file.commit().map_err(|source| OutputError { path, source })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
