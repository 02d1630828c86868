//! Reading the values of flags: each mistake names the flag and the value.

use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use engine::model::Labels;

/// A value of a flag that cannot be understood, or a flag that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    #[error("invalid argument \"{value}\" for \"{flag}\" flag")]
    Value { flag: &'static str, value: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("invalid argument \"{value}\"")]
    Argument { value: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{flag} is not supported")]
    Unsupported { flag: String, instead: &'static str },
    #[error("conflicting options: {one} and {other}")]
    Conflict { one: &'static str, other: &'static str },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Reference(#[from] oci::ReferenceError),
    #[error(transparent)]
    Pull(#[from] image::PullPolicyError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("unable to prepare context: path \"{}\" not found or not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("cannot find the current directory")]
    CurrentDirectory { source: std::io::Error },
}

impl Diagnose for FlagsError {
    fn class(&self) -> Class {
        match self {
            FlagsError::Unsupported { .. } => Class::Unsupported,
            FlagsError::Read { source, .. } | FlagsError::Write { source, .. } => Class::of_io(source),
            FlagsError::CurrentDirectory { .. } | FlagsError::NotADirectory { .. } => Class::NotFound,
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FlagsError::Unsupported { instead, .. } => Some((*instead).into()),
            _ => None,
        }
    }
}

/// What a flag wants, where no parser has words for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Expected(&'static str);

pub fn wrong(flag: &'static str, value: &str, expected: &'static str) -> FlagsError {
    FlagsError::Value { flag, value: value.into(), source: Box::new(Expected(expected)) }
}

/// Parses `text` of `flag`, naming both when it is wrong.
pub fn value<T, E: std::error::Error + Send + Sync + 'static>(
    flag: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, FlagsError> {
    parse(text).map_err(|source| FlagsError::Value { flag, value: text.into(), source: Box::new(source) })
}

pub fn optional<T, E: std::error::Error + Send + Sync + 'static>(
    flag: &'static str,
    text: &Option<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, FlagsError> {
    text.as_deref().map(|text| value(flag, text, parse)).transpose()
}

pub fn each<T, E: std::error::Error + Send + Sync + 'static>(
    flag: &'static str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, FlagsError> {
    texts.iter().map(|text| value(flag, text, &parse)).collect()
}

/// An image's name.
pub fn reference(text: &str) -> Result<oci::Reference, FlagsError> {
    Ok(text.parse()?)
}

/// `key=value` entries as a map.
pub fn map(flag: &'static str, entries: &[String]) -> Result<Labels, FlagsError> {
    let pair = |entry: &String| match entry.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(wrong(flag, entry, "must be key=value")),
    };
    entries.iter().map(pair).collect()
}

/// `key` and `key=value` entries as labels.
pub fn labels(entries: &[String]) -> Labels {
    let pair = |entry: &String| match entry.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (entry.clone(), String::new()),
    };
    entries.iter().map(pair).collect()
}

/// The text of a file a flag names.
pub fn read(path: &Path) -> Result<String, FlagsError> {
    std::fs::read_to_string(path).map_err(|source| FlagsError::Read { path: path.into(), source })
}
