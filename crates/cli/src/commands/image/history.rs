//! `history`.

use std::process::ExitCode;

use engine::{time, view};
use image::HistoryEntry;
use oci::image::Platform;
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::flags::value::optional;
use crate::output::human;
use crate::output::listing::{self, Column, column};

/// Show the history of an image
#[derive(clap::Parser)]
struct Args {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, value_name = "bool", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set,
          hide_possible_values = true)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

const COLUMNS: &[Column] = &[
    column("IMAGE", "ID"),
    column("CREATED", "CreatedSince"),
    column("CREATED BY", "CreatedBy"),
    column("SIZE", "Size"),
    column("COMMENT", "Comment"),
];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let platform = optional("--platform", &args.platform, Platform::parse)?;
    let steps = context.engine()?.images().history(&args.image, platform.as_ref())?;
    let rows: Vec<_> = steps.iter().map(|step| row(step, &args)).collect();
    let format = match (&args.format, args.quiet) {
        (None, true) => "{{.ID}}",
        (format, _) => format.as_deref().unwrap_or_default(),
    };
    let mut columns: Vec<Column> = COLUMNS.iter().map(|c| column(c.heading, c.field)).collect();
    if !args.human {
        columns[1] = column("CREATED AT", "CreatedAt");
    }
    print(&listing::render(format, &columns, &rows)?);
    Ok(ExitCode::SUCCESS)
}

fn row(step: &HistoryEntry, args: &Args) -> Map<String, Value> {
    let created = step.created.clone().unwrap_or_default();
    let id = step.id.map(|id| id.to_string());
    let id = match id {
        None => "<missing>".to_owned(),
        Some(id) if args.no_trunc => id,
        Some(id) => human::short_id(&id).to_owned(),
    };
    let since = time::parse_rfc3339(&created).map(|then| view::ago(then, time::now_ns()));
    let by = step.created_by.replace('\t', " ");
    let fields = [
        ("ID", id),
        ("CreatedSince", since.unwrap_or_else(|| "N/A".into())),
        ("CreatedAt", created),
        ("CreatedBy", if args.no_trunc { by } else { human::ellipsis(&by, 45) }),
        ("Size", if args.human { human::size(step.size) } else { step.size.to_string() }),
        ("Comment", step.comment.clone()),
        ("Tags", step.tags.join(", ")),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}
