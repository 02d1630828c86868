//! How pulls and pushes tell how far they are, in the lines of Docker's engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use image::{LayerState, PullEvent, PullProgress, PushEvent, PushProgress, PushState};
use oci::Digest;
use serde_json::{Value, json};

use crate::stream::Sink;

/// How often a bar moves.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of a bar.
const WIDTH: u64 = 50;

/// Lines about layers. A client that has gone is noticed elsewhere.
pub struct Lines {
    sink: Arc<Sink>,
    /// When something was said of a layer that is on its way.
    told: Mutex<HashMap<Digest, Instant>>,
}

impl Lines {
    pub fn new(sink: &Arc<Sink>) -> Self {
        Self { sink: sink.clone(), told: Mutex::default() }
    }

    /// A line that is about no layer.
    pub fn say(&self, status: &str) {
        let _ = self.sink.line(&json!({ "status": status }));
    }

    fn layer(&self, digest: &Digest, status: &str) {
        let line = json!({"status": status, "progressDetail": {}, "id": digest.short()});
        let _ = self.sink.line(&line);
    }

    fn moved(&self, digest: &Digest, status: &str, current: u64, total: u64) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Far more pieces come than anybody can see.
        if told.get(digest).is_some_and(|then| now.duration_since(*then) < REDRAW) {
            return;
        }
        told.insert(*digest, now);
        drop(told);
        let line = json!({
            "status": status,
            "progressDetail": {"current": current, "total": total},
            "progress": bar(current, total),
            "id": digest.short(),
        });
        let _ = self.sink.line(&line);
    }
}

impl PullProgress for Lines {
    fn event(&self, event: PullEvent<'_>) {
        match event {
            PullEvent::Missing(_) => {}
            PullEvent::Found(reference, _) => {
                let digest = reference.digest().map(ToString::to_string);
                let id = digest.unwrap_or_else(|| reference.tag().unwrap_or_default().to_owned());
                let status = format!("Pulling from {}", reference.path());
                let _ = self.sink.line(&json!({"status": status, "id": id}));
            }
            PullEvent::Layer { digest, size, state } => match state {
                LayerState::Waiting => self.layer(digest, "Pulling fs layer"),
                LayerState::Exists => self.layer(digest, "Already exists"),
                LayerState::Fetched(so_far) => self.moved(digest, "Downloading", so_far, size),
                LayerState::Complete => self.layer(digest, "Pull complete"),
            },
            PullEvent::Done { reference, digest, is_new } => {
                let status = if is_new { "Downloaded newer image" } else { "Image is up to date" };
                self.say(&format!("Digest: {digest}"));
                self.say(&format!("Status: {status} for {}", reference.familiar()));
            }
        }
    }
}

impl PushProgress for Lines {
    fn event(&self, event: PushEvent<'_>) {
        let PushEvent { layer, size, state } = event;
        match state {
            PushState::Preparing => self.layer(layer, "Preparing"),
            PushState::Sent(so_far) => self.moved(layer, "Pushing", so_far, size),
            PushState::Pushed => self.layer(layer, "Pushed"),
            PushState::Exists => self.layer(layer, "Layer already exists"),
            PushState::Mounted(from) => self.layer(layer, &format!("Mounted from {from}")),
        }
    }
}

/// `[=====>     ]  1.2MB/3MB`, for clients that do not draw it themselves.
fn bar(current: u64, total: u64) -> Value {
    let done = (current.saturating_mul(WIDTH)).checked_div(total).unwrap_or(WIDTH).min(WIDTH) as usize;
    let head = if done < WIDTH as usize { ">" } else { "" };
    let drawn = format!("{}{head}", "=".repeat(done));
    format!("[{drawn:<50}] {:>8}/{}", size(current), size(total)).into()
}

/// Bytes with four significant digits, as Docker writes them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits = if unit == 0 { 0 } else { 3 - (value.log10().floor() as usize).min(3) };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_sizes_are_dockers() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0B");
        check(999, "999B");
        check(1000, "1kB");
        check(2_231_000, "2.231MB");
        check(71_234_567, "71.23MB");
        let line = bar(500, 1000);
        assert_eq!(line, format!("[{:<50}]     500B/1kB", format!("{}>", "=".repeat(25))));
        assert_eq!(bar(7, 0), format!("[{}]       7B/0B", "=".repeat(50)));
    }
}
