//! `compose events`.

use std::process::ExitCode;

use engine::{parse as syntax, time};
use monitor::events::Window;
use serde_json::json;

use super::Compose;
use super::report::Printer;
use crate::commands::container::StreamError;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::print_line;

/// Receive real time events from containers
#[derive(clap::Parser)]
struct Events {
    /// Output events as a stream of json objects
    #[arg(long)]
    json: bool,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Events = parse(&invocation)?;
    let now = time::now_ns();
    let at = |text: &Option<String>| text.as_deref().map(|text| syntax::timestamp_ns(text, now)).transpose();
    let window = Window { since_ns: at(&args.since)?, until_ns: at(&args.until)? };
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    let filters = compose.on(&project, &printer, |stack| Ok(stack.event_filters(&args.services)))?;
    for event in compose.context.engine()?.events(window, filters)? {
        let event = event.map_err(StreamError::of("read", "the event log"))?;
        let attribute = |key: &str| event.attributes.get(key).cloned().unwrap_or_default();
        let service = attribute("com.docker.compose.service");
        if !args.services.is_empty() && !args.services.contains(&service) {
            continue;
        }
        let (time, name, image) = (time::rfc3339(event.time_ns), attribute("name"), attribute("image"));
        if args.json {
            print_line(json!({
                "action": event.action,
                "attributes": { "image": image, "name": name },
                "id": event.id,
                "service": service,
                "time": time,
                "type": event.kind,
            }));
        } else {
            print_line(format_args!(
                "{time} {} {} {} (image={image}, name={name})",
                event.kind, event.action, event.id
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
