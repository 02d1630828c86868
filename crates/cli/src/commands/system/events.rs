//! `events`: what happens, as it happens.

use std::process::ExitCode;

use engine::model::Filters;
use engine::parse::timestamp_ns;
use engine::time::{now_ns, rfc3339};
use monitor::events::{Event, Window};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::template::Template;

/// Get real time events
#[derive(clap::Parser)]
struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template: 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let template = match args.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let now = now_ns();
    let time = |text: &Option<String>| text.as_deref().map(|text| timestamp_ns(text, now)).transpose();
    let window = Window { since_ns: time(&args.since)?, until_ns: time(&args.until)? };
    let stream = context.engine()?.events(window, Filters::parse(&args.filter)?)?;
    for event in stream {
        let event = event.map_err(|source| ReadError { source })?;
        let line = match &template {
            None => text(&event),
            Some(template) => {
                let fields = serde_json::from_str(&event.to_json()).unwrap_or_default();
                template.render(&fields)?
            }
        };
        print(&format!("{line}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The event log could not be read on.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the event log")]
struct ReadError {
    source: std::io::Error,
}

impl diag::Diagnose for ReadError {
    fn class(&self) -> diag::Class {
        diag::Class::of_io(&self.source)
    }
}

/// `time type action id (key=value, ...)`, as Docker prints it.
fn text(event: &Event) -> String {
    let attributes: Vec<_> = event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let details = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{} {} {} {}{details}", rfc3339(event.time_ns), event.kind, event.action, event.id)
}
