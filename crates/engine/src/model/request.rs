//! Options of the calls on existing objects.

use super::{Labels, Limits, RestartPolicy};
use diag::{Class, Diagnose};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `stop` and `restart`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopOptions {
    /// Seconds until SIGKILL; -1 waits for ever, `None` is the container's own.
    pub timeout_s: Option<i64>,
    /// Signal instead of the container's own stop signal.
    pub signal: Option<String>,
}

/// `rm`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoveOptions {
    /// Kill it first.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
}

/// `logs`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogOptions {
    /// Keep going until the container stops.
    pub follow: bool,
    /// Only that many lines from the end.
    pub tail: Option<u64>,
    /// Not before this time.
    pub since_ns: Option<i64>,
    /// Not after this time.
    pub until_ns: Option<i64>,
}

/// `exec`: one more process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `KEY=value`, over the container's environment.
    pub env: Vec<String>,
    /// Working directory; the container's when absent.
    pub working_dir: Option<String>,
    /// `user[:group]`; the container's when absent.
    pub user: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// With a terminal.
    pub tty: bool,
    /// Terminal size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// `commit`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitSpec {
    /// `repository[:tag]` of the new image.
    pub reference: Option<String>,
    /// Shown by history.
    pub comment: String,
    /// Shown by inspect.
    pub author: String,
    /// What goes before the container's own configuration.
    pub config: Option<oci::image::Config>,
    /// Dockerfile instructions applied to the config.
    pub changes: Vec<String>,
    /// Freeze the container meanwhile.
    pub pause: bool,
}

/// `update`: only what is given changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateSpec {
    /// New limits; absent fields stay.
    pub limits: Limits,
    /// New restart policy.
    pub restart: Option<RestartPolicy>,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Until it does not run (at once when it does not).
    #[default]
    NotRunning,
    /// Until the next exit.
    NextExit,
    /// Until it is gone.
    Removed,
}

/// What `ps` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    /// Stopped containers too.
    pub all: bool,
    /// Only that many of the newest (implies `all`).
    pub last: Option<usize>,
    /// Compute sizes.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// `--filter key=value`, several times: values of one key are alternatives, keys must all hold (labels: each value must hold).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// A filter that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum FiltersError {
    #[error("invalid argument {0:?} for \"-f, --filter\": bad format of filter (expected name=value)")]
    Syntax(String),
    #[error("invalid filter '{key}'")]
    UnknownKey { key: String, known: &'static [&'static str] },
    #[error("invalid filter '{key}={value}'")]
    BadValue { key: String, value: String },
}

impl Diagnose for FiltersError {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { known, .. } => Some(format!("known filters here: {}", known.join(", "))),
            _ => None,
        }
    }
}

impl Filters {
    /// Reads `key=value` arguments.
    pub fn parse<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, FiltersError> {
        let mut filters = Self::default();
        for argument in arguments {
            let argument = argument.as_ref();
            let (key, value) =
                argument.split_once('=').ok_or_else(|| FiltersError::Syntax(argument.into()))?;
            filters.add(key.trim().to_lowercase(), value.trim());
        }
        Ok(filters)
    }

    /// Adds one value.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().push(value.into());
    }

    /// All of them: the values of each key.
    pub fn entries(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }

    /// The values of `key`.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` was given.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses keys that are not in `known`.
    pub fn allow(&self, known: &'static [&'static str]) -> Result<(), FiltersError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(FiltersError::UnknownKey { key: key.clone(), known }),
            None => Ok(()),
        }
    }

    /// Whether `key` is absent or one of its values satisfies `matches`.
    pub fn any(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|value| matches(value)))
    }

    /// Whether every value of `label` (`key` or `key=value`) holds for `labels`, and none of `label!` does.
    pub fn labels(&self, labels: &Labels) -> bool {
        let holds = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(holds) && !self.values("label!").iter().any(holds)
    }

    /// A yes-or-no filter such as `dangling=true`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, FiltersError> {
        match self.values(key).first().map(String::as_str) {
            None => Ok(None),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(FiltersError::BadValue { key: key.into(), value: other.into() }),
        }
    }

    /// The time of `until=`, before which something must have been made to be pruned.
    pub fn until(&self, now_ns: i64) -> Result<Option<i64>, FiltersError> {
        let parse = |value: &String| {
            crate::parse::timestamp_ns(value, now_ns)
                .map_err(|_| FiltersError::BadValue { key: "until".into(), value: value.clone() })
        };
        self.values("until").first().map(parse).transpose()
    }
}
