//! The progress of a pull, in Docker's words.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use image::{LayerState, NoProgress, PullEvent, PullProgress};
use oci::{Digest, Reference};

use crate::context::{note, print_line};
use crate::output::human;
use crate::output::screen::{Mark, Screen};

/// How often a bar moves.
const REDRAW: Duration = Duration::from_millis(100);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// For `pull`, whose output it is.
    Stdout,
    /// For commands whose output is something else.
    Stderr,
    Nowhere,
}

/// Progress of pulls, shown at `place`.
pub fn progress(place: Place) -> Arc<dyn PullProgress> {
    match place {
        Place::Nowhere => Arc::new(NoProgress),
        place if place.is_terminal() => Arc::new(Bars::new(place)),
        place => Arc::new(Lines(place)),
    }
}

impl Place {
    /// Whether lines there can be drawn again; the screen is on standard error.
    pub fn is_terminal(self) -> bool {
        io::stderr().is_terminal() && (self != Place::Stdout || io::stdout().is_terminal())
    }

    /// Prints one line there.
    pub fn say(self, line: &str) {
        match self {
            Place::Stdout => print_line(line),
            Place::Stderr => note(line),
            Place::Nowhere => {}
        }
    }
}

/// One line for each change.
struct Lines(Place);

impl PullProgress for Lines {
    fn event(&self, event: PullEvent<'_>) {
        for line in lines(event) {
            self.0.say(&line);
        }
    }
}

/// A line for each layer, which changes until it is done.
struct Bars {
    place: Place,
    /// Made by the first thing to show: mostly there is none.
    screen: OnceLock<Arc<Screen>>,
    layers: Mutex<HashMap<Digest, Bar>>,
}

struct Bar {
    id: u64,
    drawn: Instant,
}

impl Bars {
    fn new(place: Place) -> Self {
        Self { place, screen: OnceLock::new(), layers: Mutex::default() }
    }

    /// What is shown stays.
    fn freeze(&self) {
        if let Some(screen) = self.screen.get() {
            screen.freeze();
        }
    }

    fn screen(&self) -> &Screen {
        self.screen.get_or_init(Screen::new)
    }

    fn layer(&self, digest: &Digest, size: u64, state: LayerState) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, mark) = match state {
            LayerState::Fetched(so_far) => (download(so_far, size), Mark::Running),
            state => {
                let is_done = state != LayerState::Waiting;
                (word(state).unwrap_or_default().to_owned(), if is_done { Mark::Done } else { Mark::Running })
            }
        };
        let now = Instant::now();
        let is_new = !layers.contains_key(digest);
        let bar = layers
            .entry(*digest)
            .or_insert_with(|| Bar { id: self.screen().begin(digest.short()), drawn: now });
        // Far more pieces come than anybody can see.
        let is_piece = matches!(state, LayerState::Fetched(_));
        if is_new || !is_piece || now.duration_since(bar.drawn) > REDRAW {
            bar.drawn = now;
            self.screen().status(bar.id, &text, mark);
        }
    }
}

impl PullProgress for Bars {
    fn event(&self, event: PullEvent<'_>) {
        if let PullEvent::Layer { digest, size, state } = event {
            return self.layer(digest, size, state);
        }
        if matches!(event, PullEvent::Done { .. }) {
            self.freeze();
        }
        for line in lines(event) {
            self.place.say(&line);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.freeze();
    }
}

/// `Downloading [=====>     ]  1.2MB/3MB`.
fn download(so_far: u64, size: u64) -> String {
    const WIDTH: usize = 50;
    let done = (u128::from(so_far) * WIDTH as u128).checked_div(size.into()).unwrap_or(WIDTH as u128);
    let done = (done as usize).min(WIDTH);
    let head = if done < WIDTH { ">" } else { "" };
    let bar = format!("{}{head}", "=".repeat(done));
    format!("Downloading [{bar:<WIDTH$}]  {}/{}", human::size(so_far), human::size(size))
}

/// What is said of an event once and for all.
fn lines(event: PullEvent<'_>) -> Vec<String> {
    match event {
        PullEvent::Missing(reference) => vec![format!("Unable to find image '{reference}' locally")],
        PullEvent::Found(reference, _) => {
            vec![format!("{}: Pulling from {}", version(reference), reference.path())]
        }
        PullEvent::Layer { digest, state, .. } => {
            word(state).map(|word| format!("{}: {word}", digest.short())).into_iter().collect()
        }
        PullEvent::Done { reference, digest, is_new } => {
            let status = if is_new { "Downloaded newer image" } else { "Image is up to date" };
            vec![format!("Digest: {digest}"), format!("Status: {status} for {reference}")]
        }
    }
}

/// The tag, or the digest where one was given.
fn version(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

fn word(state: LayerState) -> Option<&'static str> {
    match state {
        LayerState::Waiting => Some("Pulling fs layer"),
        LayerState::Exists => Some("Already exists"),
        LayerState::Fetched(_) => None,
        LayerState::Complete => Some("Pull complete"),
    }
}
