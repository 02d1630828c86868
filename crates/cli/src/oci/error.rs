//! What is wrong with a command line of the runtime, beyond what the runtime itself says.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("{0:?} is not UTF-8")]
    NotUtf8(OsString),
    #[error("No help topic for '{name}'")]
    UnknownCommand { program: String, name: String },
    #[error("flag provided but not defined: {flag}")]
    UnknownFlag { flag: String },
    #[error("flag needs an argument: --{flag}")]
    NoValue { flag: &'static str },
    #[error("invalid value {value:?} for flag --{flag}")]
    Value { flag: &'static str, value: String },
    #[error("{given} arguments given: {usage}")]
    Operands { usage: String, given: usize },
    #[error("{what} is not supported")]
    Unsupported { what: String },
    #[error("cannot allocate tty if {program} will detach without setting console socket")]
    NoConsole { program: &'static str },
    #[error("cannot use console socket if {program} will not detach or allocate tty")]
    NeedlessConsole { program: &'static str },
    #[error("cannot send the terminal to the console socket {}", path.display())]
    Console { path: PathBuf, source: io::Error },
    #[error("cannot write the pid file {}", path.display())]
    PidFile { path: PathBuf, source: io::Error },
    #[error("descriptor {fd}, which the container is to inherit, is not open")]
    NotOpen { fd: u32 },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be used", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("no command specified")]
    NoCommand,
    #[error("cannot protect hull's own program from the container")]
    Seal { source: io::Error },
    #[error("cannot connect to container {id}")]
    Session { id: String, source: io::Error },
}

impl Diagnose for OciError {
    fn class(&self) -> Class {
        match self {
            Self::Console { source, .. }
            | Self::PidFile { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Session { source, .. }
            | Self::Seal { source } => Class::of_io(source),
            Self::Unsupported { .. } => Class::Unsupported,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownCommand { program, .. } => Some(format!("`{program} --help` lists the commands")),
            Self::NoConsole { .. } => Some(
                "give a --console-socket, or set process.terminal to false in the configuration".to_owned(),
            ),
            _ => None,
        }
    }
}
