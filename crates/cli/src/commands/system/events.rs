//! `events`: what happens, as it happens.

use std::process::ExitCode;

use engine::model::Filters;
use engine::parse::timestamp_ns;
use engine::time::{now_ns, rfc3339};
use monitor::events::Window;
use serde_json::Value;

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere;
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
    let filters = Filters::parse(&args.filter)?;
    if let Some(remote) = context.remote()? {
        let time = |ns: Option<i64>| ns.map(elsewhere::timestamp);
        let call = remote
            .get(&["events"])
            .maybe("since", time(window.since_ns))
            .maybe("until", time(window.until_ns));
        let events = call.maybe("filters", elsewhere::filters(&filters)).stream()?;
        events.each(|fields| show(&fields, template.as_ref()))?;
        return Ok(ExitCode::SUCCESS);
    }
    for event in context.engine()?.events(window, filters)? {
        let event = event.map_err(|source| ReadError { source })?;
        show(&serde_json::from_str(&event.to_json()).unwrap_or_default(), template.as_ref())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(event: &Value, template: Option<&Template>) -> Result<(), Ended> {
    let line = match template {
        None => text(event),
        Some(template) => template.render(event)?,
    };
    print(&format!("{line}\n"));
    Ok(())
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
fn text(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = event["Actor"]["Attributes"].as_object().into_iter().flatten();
    let attributes: Vec<_> = attributes.map(|(key, value)| format!("{key}={}", text(value))).collect();
    let details = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    let time = rfc3339(event["timeNano"].as_i64().unwrap_or_default());
    let (kind, action, id) = (text(&event["Type"]), text(&event["Action"]), text(&event["Actor"]["ID"]));
    format!("{time} {kind} {action} {id}{details}")
}
