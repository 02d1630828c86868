//! What another engine tells while it pulls, pushes, loads or builds: a line of JSON for each change.

use std::collections::HashMap;
use std::sync::Arc;

use remote::{Answer, Client, RemoteError};
use serde_json::Value;

use super::registry_auth;
use crate::commands::Ended;
use crate::context::print;
use crate::output::human;
use crate::output::pull::Place;
use crate::output::screen::{Mark, Screen};

/// Lets an engine pull `name`, which is at the registry `host`.
pub fn pull(
    client: &Client,
    name: &str,
    host: &str,
    platform: Option<&str>,
    place: Place,
) -> Result<(), Ended> {
    let call = client.post(&["images", "create"]).query("fromImage", name).maybe("platform", platform);
    report(call.header("x-registry-auth", &registry_auth(host)?).stream()?, place)
}

/// Shows the lines of `answer` at `place`.
pub fn report(answer: Answer<'_>, place: Place) -> Result<(), Ended> {
    let mut lines = Lines { place, screen: None, shown: HashMap::new() };
    answer.each(|line| {
        failure(&line)?;
        lines.show(&line);
        Ok(())
    })
}

/// Prints what `answer` says as it is said.
pub fn said(answer: Answer<'_>) -> Result<(), Ended> {
    answer.each(|line| {
        failure(&line)?;
        line["stream"].as_str().into_iter().for_each(print);
        Ok(())
    })
}

/// The end of something that went wrong after its answer had begun.
fn failure(line: &Value) -> Result<(), RemoteError> {
    match line["errorDetail"]["message"].as_str().or_else(|| line["error"].as_str()) {
        // The status was sent before anybody knew.
        Some(message) => Err(RemoteError::Refused { status: 500, message: message.to_owned() }),
        None => Ok(()),
    }
}

struct Lines {
    place: Place,
    /// Made by the first thing that changes.
    screen: Option<Arc<Screen>>,
    /// What changes, by its id.
    shown: HashMap<String, u64>,
}

impl Lines {
    fn show(&mut self, line: &Value) {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let (id, status) = (text("id"), text("status"));
        let (current, total) =
            (line["progressDetail"]["current"].as_u64(), line["progressDetail"]["total"].as_u64());
        if status.is_empty() {
            return;
        }
        let is_layer = !id.is_empty() && line.get("progressDetail").is_some();
        match (is_layer, self.place.is_terminal()) {
            // Only a terminal shows how far it is.
            (true, false) if current.is_some() => {}
            (true, false) => self.place.say(&format!("{id}: {status}")),
            (true, true) => {
                let screen = self.screen.get_or_insert_with(Screen::new);
                let bar = *self.shown.entry(id.to_owned()).or_insert_with(|| screen.begin(format!("{id}:")));
                let far = match (current, total) {
                    (Some(current), Some(total)) => {
                        format!("  {}/{}", human::size(current), human::size(total))
                    }
                    _ => String::new(),
                };
                let is_done = ["Pull complete", "Already exists", "Pushed", "Layer already exists"]
                    .contains(&status)
                    || status.starts_with("Mounted from");
                screen.status(
                    bar,
                    &format!("{status}{far}"),
                    if is_done { Mark::Done } else { Mark::Running },
                );
            }
            (false, _) => {
                self.freeze();
                let id = if id.is_empty() { String::new() } else { format!("{id}: ") };
                self.place.say(&format!("{id}{status}"));
            }
        }
    }

    fn freeze(&mut self) {
        self.screen.iter().for_each(|screen| screen.freeze());
        self.shown.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.freeze();
    }
}
