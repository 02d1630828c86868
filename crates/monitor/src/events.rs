//! The bounded event log: one JSON object per line, in the shape of Docker's `/events`.
//!
//! Any process appends with one `write(2)` on an `O_APPEND` descriptor; lines stay below 4096 bytes, so they never mix.
//! Beyond [`MAX_BYTES`] the file becomes `<name>.1`, replacing the one before, and a new one begins.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sys::event::{Notifier, PollFlags, WatchFlags, poll_one};

/// The size at which the log is turned over.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Longest line written, line end included.
const MAX_LINE: usize = 4095;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Docker's object type: `container`, `image`, `network`, `volume`, `builder`.
    pub kind: String,
    /// Docker's word for what happened: `start`, `die`, `health_status: healthy`, ...
    pub action: String,
    /// The object's id (an image's or volume's name where Docker has that).
    pub id: String,
    /// Details; a container's always have `name` and `image`, then its labels.
    pub attributes: BTreeMap<String, String>,
    /// When, in nanoseconds since the epoch.
    pub time_ns: i64,
}

impl Event {
    /// An event of now without attributes.
    pub fn new(kind: &str, action: &str, id: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            attributes: BTreeMap::new(),
            time_ns: crate::time::now_ns(),
        }
    }

    /// Adds one attribute.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    /// The event as one line of Docker's JSON, without the line end.
    pub fn to_json(&self) -> String {
        let object = matches!(self.kind.as_str(), "container" | "image");
        let wire = Wire {
            status: object.then_some(self.action.as_str().into()),
            id: (object && !self.id.is_empty()).then_some(self.id.as_str().into()),
            from: (self.kind == "container")
                .then(|| self.attributes.get("image").map(|image| image.as_str().into()))
                .flatten(),
            kind: self.kind.as_str().into(),
            action: self.action.as_str().into(),
            actor: WireActor { id: self.id.as_str().into(), attributes: self.attributes.clone() },
            scope: "local".into(),
            time: self.time_ns.div_euclid(1_000_000_000),
            time_nano: self.time_ns,
        };
        serde_json::to_string(&wire).expect("strings and integers always have a JSON form")
    }

    /// Reads a line written by [`Event::to_json`]; `None` for anything else, such as a line cut off by a crash.
    pub fn from_json(line: &[u8]) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(line).ok()?;
        Some(Self {
            kind: wire.kind.into_owned(),
            action: wire.action.into_owned(),
            id: wire.actor.id.into_owned(),
            attributes: wire.actor.attributes,
            time_ns: wire.time_nano,
        })
    }
}

type Text<'a> = std::borrow::Cow<'a, str>;

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Text<'a>>,
    #[serde(rename = "Type")]
    kind: Text<'a>,
    #[serde(rename = "Action")]
    action: Text<'a>,
    #[serde(rename = "Actor")]
    actor: WireActor<'a>,
    scope: Text<'a>,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Serialize, Deserialize)]
struct WireActor<'a> {
    #[serde(rename = "ID")]
    id: Text<'a>,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

/// Appends `event` to the log at `path`.
///
/// Labels that do not fit into a line are left out, longest first; name, image and exit code always fit.
pub fn append(path: &Path, event: &Event) -> io::Result<()> {
    let mut line = event.to_json();
    let mut shortened = event.clone();
    while line.len() >= MAX_LINE {
        let Some(key) = longest_label(&shortened) else { break };
        shortened.attributes.remove(&key);
        line = shortened.to_json();
    }
    line.push('\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    file.write_all(line.as_bytes())?;
    if file.metadata()?.len() > MAX_BYTES { rotate(path) } else { Ok(()) }
}

fn longest_label(event: &Event) -> Option<String> {
    let kept = ["name", "image", "exitCode", "signal", "container", "type"];
    let labels = event.attributes.iter().filter(|(key, _)| !kept.contains(&key.as_str()));
    labels.max_by_key(|(key, value)| key.len() + value.len()).map(|(key, _)| key.clone())
}

/// Turns the log over, once: whoever holds the lock and still finds it too large does it.
fn rotate(path: &Path) -> io::Result<()> {
    let lock = File::create(suffixed(path, "lock"))?;
    lock.lock()?;
    if fs::metadata(path).is_ok_and(|meta| meta.len() > MAX_BYTES) {
        fs::rename(path, suffixed(path, "1"))?;
    }
    Ok(())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Which events a [`Follower`] returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Only events at or after this time; without it only those that happen from now on.
    pub since_ns: Option<i64>,
    /// Only events before this time; the follower ends when it has passed.
    pub until_ns: Option<i64>,
}

/// Opens the log at `path` (which need not exist yet) for reading and following.
pub fn follow(path: &Path, window: Window) -> io::Result<Follower> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let changes = Notifier::new()?;
    // The directory, not the file: that also tells of turn-overs and of a log that does not exist yet.
    changes.watch(directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_FROM)?;
    let mut follower =
        Follower { path: path.to_owned(), window, changes, file: None, buffer: Vec::new(), parsed: 0 };
    match window.since_ns {
        Some(_) => match File::open(suffixed(path, "1")) {
            Ok(older) => follower.file = Some(older),
            Err(_) => drop(follower.open_current()?),
        },
        None => {
            follower.open_current()?;
            if let Some(file) = &mut follower.file {
                io::Seek::seek(file, io::SeekFrom::End(0))?;
            }
        }
    }
    Ok(follower)
}

/// Reads the events of a [`Window`] and waits for more; as an iterator it blocks until `until_ns`, or for ever.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    window: Window,
    changes: Notifier,
    file: Option<File>,
    buffer: Vec<u8>,
    parsed: usize,
}

/// What [`Follower::next_within`] came back with.
#[derive(Debug)]
pub enum Next {
    Event(Event),
    /// Nothing happened in the time given.
    Idle,
    /// `until_ns` has passed.
    End,
}

impl Follower {
    /// Returns the next event, waiting for at most `timeout` (without one, until something happens).
    pub fn next_within(&mut self, timeout: Option<Duration>) -> io::Result<Next> {
        let deadline = timeout.map(|t| Instant::now() + t);
        loop {
            while let Some(event) = self.buffered() {
                if self.window.until_ns.is_some_and(|until| event.time_ns >= until) {
                    return Ok(Next::End);
                }
                if self.window.since_ns.is_none_or(|since| event.time_ns >= since) {
                    return Ok(Next::Event(event));
                }
            }
            if self.fill()? {
                continue;
            }
            let mut wait = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if let Some(until) = self.window.until_ns {
                let left = until.saturating_sub(crate::time::now_ns());
                let Ok(left) = u64::try_from(left) else { return Ok(Next::End) };
                let left = Duration::from_nanos(left);
                wait = Some(wait.map_or(left, |w| w.min(left)));
            }
            let ready = poll_one(self.changes.as_fd(), PollFlags::IN, wait)?;
            self.changes.take()?;
            if !ready && deadline.is_some_and(|d| Instant::now() >= d) {
                return Ok(Next::Idle);
            }
        }
    }

    fn buffered(&mut self) -> Option<Event> {
        loop {
            let rest = &self.buffer[self.parsed..];
            let Some(end) = rest.iter().position(|&b| b == b'\n') else {
                self.buffer.drain(..self.parsed);
                self.parsed = 0;
                return None;
            };
            let event = Event::from_json(&rest[..end]);
            self.parsed += end + 1;
            if event.is_some() {
                return event;
            }
        }
    }

    /// Reads more; at the end of a file that has been turned over, goes on with the current one.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            if let Some(file) = &mut self.file {
                let turned = fs::metadata(&self.path).ok().map(|m| m.ino()) != Some(file.metadata()?.ino());
                // In this order: what was appended before the turn-over was noticed is read here.
                if file.take(64 * 1024).read_to_end(&mut self.buffer)? > 0 {
                    return Ok(true);
                }
                if !turned {
                    return Ok(false);
                }
            }
            if !self.open_current()? {
                return Ok(false);
            }
        }
    }

    fn open_current(&mut self) -> io::Result<bool> {
        match File::open(&self.path) {
            Ok(file) => {
                self.file = Some(file);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Follower {
    /// Readable when [`Follower::next_within`] may have something new.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

impl Iterator for Follower {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_within(None) {
                Ok(Next::Event(event)) => return Some(Ok(event)),
                Ok(Next::End) => return None,
                Ok(Next::Idle) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);
    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hull-events-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
        fn log(&self) -> PathBuf {
            self.0.join("events.jsonl")
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn json_is_dockers() {
        let mut event = Event::new("container", "die", "abc").with("image", "busybox").with("exitCode", "0");
        event.time_ns = 1_000_000_002;
        assert_eq!(
            event.to_json(),
            r#"{"status":"die","id":"abc","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"0","image":"busybox"}},"scope":"local","time":1,"timeNano":1000000002}"#
        );
        assert_eq!(Event::from_json(event.to_json().as_bytes()), Some(event));
    }

    #[test]
    fn a_follower_sees_every_event_over_a_turn_over() {
        let scratch = Scratch::new("follow");
        let log = scratch.log();
        append(&log, &Event::new("network", "create", "early")).unwrap();
        let mut fresh = follow(&log, Window::default()).unwrap();
        let mut all = follow(&log, Window { since_ns: Some(0), until_ns: None }).unwrap();
        let long = "x".repeat(3000);
        let count = 3 + MAX_BYTES / 3000;
        let mut seen = Vec::new();
        for n in 0..count {
            append(&log, &Event::new("network", "connect", &n.to_string()).with("pad", &long)).unwrap();
            while let Next::Event(event) = fresh.next_within(Some(Duration::ZERO)).unwrap() {
                seen.push(event.id);
            }
        }
        assert!(suffixed(&log, "1").exists());
        assert_eq!(seen, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
        let Next::Event(first) = all.next_within(Some(Duration::ZERO)).unwrap() else { panic!("no event") };
        assert_eq!(first.id, "early");
    }

    #[test]
    fn oversized_labels_are_left_out() {
        let scratch = Scratch::new("labels");
        let log = scratch.log();
        let event = Event::new("container", "start", "id").with("name", "web").with("huge", "y".repeat(9000));
        append(&log, &event).unwrap();
        let now = crate::time::now_ns();
        let window = Window { since_ns: Some(0), until_ns: Some(now + 1) };
        let events: Vec<_> = follow(&log, window).unwrap().map(Result::unwrap).collect();
        assert_eq!(events[0].attributes.keys().collect::<Vec<_>>(), ["name"]);
    }
}
