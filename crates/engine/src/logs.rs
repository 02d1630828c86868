//! A container's log, and the log of events.

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{Filters, FiltersError, LogOptions};
use diag::{Class, Diagnose};
use monitor::events::{self, Event, Follower, Window};
use monitor::logs::{self, Follow, Query, Reader};
use std::io;
use std::path::PathBuf;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LogError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("configured logging driver does not support reading: {name}")]
    NoLog { name: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Filter(#[from] FiltersError),
}

impl Diagnose for LogError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NoLog { .. } => Class::Unsupported,
            Self::Read { source, .. } => Class::of_io(source),
            Self::Filter(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::NoLog { .. } => Some("it was created with `--log-driver none`".into()),
            Self::Filter(error) => error.hint(),
            Self::Read { .. } => None,
        }
    }
}

const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// What nothing ever happens to here.
const ABSENT: [&str; 6] = ["config", "daemon", "node", "plugin", "secret", "service"];

impl Engine {
    /// The lines a container wrote. Following, the reader waits for more until the container has ended.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn logs(&self, name: &str, options: &LogOptions) -> Result<Reader, LogError> {
        let container = self.find(name)?;
        if container.doc.spec.log.driver.as_deref() == Some("none") {
            return Err(LogError::NoLog { name: container.name });
        }
        let active = self.observe(&container)?.state.status.is_active();
        let data_dir = self.data_dir(&container.id);
        let path = data_dir.join("container.log");
        let query = Query { tail: options.tail, since_ns: options.since_ns, until_ns: options.until_ns };
        let failed = |source| LogError::Read { path: path.clone(), source };
        let reader = logs::read(&path, query).map_err(failed)?;
        if !options.follow || !active {
            return Ok(reader);
        }
        reader.follow(Follow { run_dir: self.run_dir(&container.id), data_dir }).map_err(failed)
    }

    /// Events as they happen, after those since `window.since_ns`; [`EventStream`] ends at `window.until_ns`.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn events(&self, window: Window, filters: Filters) -> Result<EventStream, LogError> {
        filters.allow(FILTERS)?;
        let path = self.events_path();
        let follower = events::follow(&path, window).map_err(|source| LogError::Read { path, source })?;
        Ok(EventStream { follower, filters })
    }
}

/// The events that match, as an iterator that waits for the next one.
#[derive(Debug)]
pub struct EventStream {
    follower: Follower,
    filters: Filters,
}

impl EventStream {
    /// The log below, for a poll loop.
    pub fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// Whether `event` passes the filters.
    pub fn shows(&self, event: &Event) -> bool {
        let is = |kind: &str, wanted: &str| {
            event.kind == kind
                && (event.id.starts_with(wanted)
                    || event.attributes.get("name").is_some_and(|name| name == wanted))
        };
        self.filters.any("type", |wanted| event.kind == wanted)
            && self.filters.any("event", |wanted| {
                event.action == wanted
                    || event.action.split_once(':').is_some_and(|(action, _)| action == wanted)
            })
            && self.filters.any("container", |wanted| is("container", wanted))
            && self.filters.any("network", |wanted| is("network", wanted))
            && self.filters.any("volume", |wanted| is("volume", wanted))
            && self.filters.any("image", |wanted| {
                is("image", wanted) || event.attributes.get("image").is_some_and(|image| image == wanted)
            })
            && self.filters.any("scope", |wanted| wanted == "local")
            && !ABSENT.iter().any(|kind| self.filters.has(kind))
            && self.filters.labels(&event.attributes)
    }
}

impl Iterator for EventStream {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.follower.next()? {
                Ok(event) if !self.shows(&event) => {}
                result => return Some(result),
            }
        }
    }
}
