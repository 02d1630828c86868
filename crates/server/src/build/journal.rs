//! What a build tells its clients: steps, their parts, their output, as BuildKit's messages.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::buildkit::control::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use api::buildkit::{Status, Timestamp};
use build::{Event, Progress, StepId};
use futures_util::{Stream, stream};
use monitor::time::now_ns;
use oci::Digest;
use tokio::sync::watch;

/// Everything a build has told so far, for whoever asks for it, and asks when.
pub struct Journal {
    reference: String,
    told: Mutex<Told>,
    /// Changes when there is more, or an end.
    changed: watch::Sender<()>,
    listener: Listener,
}

/// Who is told at once, one update after the other.
type Listener = Box<dyn Fn(&StatusResponse) + Send + Sync>;

#[derive(Default)]
struct Told {
    updates: Vec<StatusResponse>,
    has_ended: bool,
    /// Empty until the builder has read it.
    dockerfile: String,
    /// Of steps that are not done.
    open: HashMap<StepId, Vertex>,
}

/// A step of the server's own, such as the transfer of the context. It fails unless it is told to have ended.
pub struct Task<'a> {
    journal: &'a Journal,
    vertex: Vertex,
}

fn now() -> Option<Timestamp> {
    Some(Timestamp::from_ns(now_ns()))
}

impl Journal {
    pub fn new(reference: &str) -> Self {
        Self::telling(reference, |_| {})
    }

    /// The journal of a build whose only client is told at once.
    pub fn telling(reference: &str, listener: impl Fn(&StatusResponse) + Send + Sync + 'static) -> Self {
        let (told, changed) = (Mutex::default(), watch::Sender::new(()));
        Self { reference: reference.to_owned(), told, changed, listener: Box::new(listener) }
    }

    /// Nothing more is told.
    pub fn end(&self) {
        self.lock().has_ended = true;
        self.changed.send_replace(());
    }

    /// What was told and what is told, to the end.
    pub fn follow(self: std::sync::Arc<Self>) -> impl Stream<Item = StatusResponse> {
        let changed = self.changed.subscribe();
        stream::unfold((self, changed, 0), |(journal, mut changed, at)| async move {
            loop {
                changed.mark_unchanged();
                {
                    let told = journal.lock();
                    if at < told.updates.len() {
                        let update = merged(&told.updates[at..]);
                        let at = told.updates.len();
                        drop(told);
                        return Some((update, (journal, changed, at)));
                    }
                    if told.has_ended {
                        return None;
                    }
                }
                changed.changed().await.ok()?;
            }
        })
    }

    /// The text of the Dockerfile that was built, to be quoted.
    pub fn dockerfile(&self) -> String {
        self.lock().dockerfile.clone()
    }

    /// Begins a step of the server's own.
    pub fn task(&self, name: &str) -> Task<'_> {
        let vertex =
            Vertex { digest: self.digest(name), name: name.to_owned(), started: now(), ..Vertex::default() };
        self.tell(of_vertex(vertex.clone()));
        Task { journal: self, vertex }
    }

    /// A warning about the build as a whole.
    pub fn warn(&self, text: &str) {
        let vertex = self.digest("warnings");
        let warning = VertexWarning { vertex, level: 1, short: text.as_bytes().to_vec() };
        self.tell(StatusResponse { warnings: vec![warning], ..StatusResponse::default() });
    }

    fn digest(&self, what: &str) -> String {
        Digest::of(format!("{} {what}", self.reference).as_bytes()).to_string()
    }

    fn tell(&self, update: StatusResponse) {
        let mut told = self.lock();
        (self.listener)(&update);
        told.updates.push(update);
        drop(told);
        self.changed.send_replace(());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a step of the builder's.
    fn finish(&self, step: StepId, change: impl FnOnce(&mut Vertex)) {
        let vertex = self.lock().open.remove(&step);
        if let Some(mut vertex) = vertex {
            vertex.completed = now();
            change(&mut vertex);
            self.tell(of_vertex(vertex));
        }
    }
}

fn of_vertex(vertex: Vertex) -> StatusResponse {
    StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() }
}

/// Several updates as one, of a size that clients take.
fn merged(updates: &[StatusResponse]) -> StatusResponse {
    let mut all = StatusResponse::default();
    for update in updates {
        all.vertexes.extend_from_slice(&update.vertexes);
        all.statuses.extend_from_slice(&update.statuses);
        all.logs.extend_from_slice(&update.logs);
        all.warnings.extend_from_slice(&update.warnings);
    }
    all
}

impl Progress for Journal {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Dockerfile { text } => text.clone_into(&mut self.lock().dockerfile),
            Event::Started { step, name } => {
                let vertex = Vertex {
                    digest: self.digest(&step.0.to_string()),
                    name: name.to_owned(),
                    started: now(),
                    ..Vertex::default()
                };
                self.lock().open.insert(step, vertex.clone());
                self.tell(of_vertex(vertex));
            }
            Event::Output { step, line, at: Duration { .. } } => {
                let log = VertexLog {
                    vertex: self.digest(&step.0.to_string()),
                    timestamp: now(),
                    stream: 1,
                    message: [line, b"\n"].concat(),
                };
                self.tell(StatusResponse { logs: vec![log], ..StatusResponse::default() });
            }
            Event::Cached { step } => self.finish(step, |vertex| vertex.cached = true),
            Event::Finished { step, .. } => self.finish(step, |_| {}),
            Event::Failed { step, error, .. } => {
                self.finish(step, |vertex| error.clone_into(&mut vertex.error))
            }
            Event::Cancelled { step } => {
                self.finish(step, |vertex| "context canceled".clone_into(&mut vertex.error))
            }
            Event::Warning { text } => self.warn(text),
            // Told as part of the export; instructions are told as their steps.
            Event::Image { .. } | Event::Instruction { .. } => {}
        }
    }
}

impl Task<'_> {
    /// Tells of a part of it that is done; `current` is in bytes when it is not 0.
    pub fn part(&self, name: &str, current: u64) {
        let (started, current) = (self.vertex.started, i64::try_from(current).unwrap_or(i64::MAX));
        let status = VertexStatus {
            id: name.to_owned(),
            vertex: self.vertex.digest.clone(),
            current,
            timestamp: now(),
            started,
            completed: now(),
            ..VertexStatus::default()
        };
        self.journal.tell(StatusResponse { statuses: vec![status], ..StatusResponse::default() });
    }

    /// Ends it with the number of bytes that came, or with the failure, which it gives back.
    ///
    /// # Errors
    /// `bytes`'s.
    pub fn transferred(self, what: &str, bytes: Result<u64, Status>) -> Result<(), Status> {
        if let Ok(bytes) = bytes {
            self.part(&format!("transferring {what}:"), bytes);
        }
        self.end(bytes.map(drop))
    }

    /// Ends it as `result` says, which it gives back.
    ///
    /// # Errors
    /// `result`'s.
    pub fn end<T>(mut self, result: Result<T, Status>) -> Result<T, Status> {
        self.vertex.completed = now();
        if let Err(status) = &result {
            self.vertex.error.clone_from(&status.message);
        }
        self.journal.tell(of_vertex(self.vertex));
        result
    }
}
