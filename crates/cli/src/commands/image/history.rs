//! `history`.

use std::process::ExitCode;

use api::Version;
use engine::{time, view};
use oci::image::Platform;
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::flags::value::optional;
use crate::output::human;
use crate::output::listing::{self, Column, column, list};

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
    let steps: Vec<Value> = match context.remote()? {
        Some(remote) => {
            let platform = elsewhere::platform(remote, platform.as_ref(), Version::minor(48))?;
            list(remote.get(&["images", &args.image, "history"]).maybe("platform", platform).json()?)
        }
        None => {
            let steps = context.engine()?.images().history(&args.image, platform.as_ref())?;
            steps.iter().map(view::image_step).collect()
        }
    };
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

fn row(step: &Value, args: &Args) -> Map<String, Value> {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let id = match text("Id") {
        id if args.no_trunc || !id.starts_with("sha256:") => id,
        id => human::short_id(id),
    };
    // Zero stands for a step without a time.
    let created_ns = step["Created"].as_i64().filter(|seconds| *seconds != 0);
    let created_ns = created_ns.map(|seconds| seconds.saturating_mul(1_000_000_000));
    let since = created_ns.map(|then| view::ago(then, time::now_ns()));
    let by = text("CreatedBy").replace('\t', " ");
    let size = step["Size"].as_u64().unwrap_or_default();
    let tags: Vec<_> = step["Tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = [
        ("ID", id.to_owned()),
        ("CreatedSince", since.unwrap_or_else(|| "N/A".into())),
        ("CreatedAt", created_ns.map(time::rfc3339).unwrap_or_default()),
        ("CreatedBy", if args.no_trunc { by } else { human::ellipsis(&by, 45) }),
        ("Size", if args.human { human::size(size) } else { size.to_string() }),
        ("Comment", text("Comment").to_owned()),
        ("Tags", tags.join(", ")),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}
