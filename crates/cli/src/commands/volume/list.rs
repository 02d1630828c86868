//! `volume ls` and `volume inspect`.

use std::process::ExitCode;

use engine::model::Filters;
use engine::view;
use serde_json::{Map, Value, json};

use crate::commands::inspect::{Kind, of_kind};
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::output::listing::{self, Column, column, list};

/// List volumes
#[derive(clap::Parser)]
struct Args {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: &[Column] = &[column("DRIVER", "Driver"), column("VOLUME NAME", "Name")];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let filters = Filters::parse(&args.filter)?;
    let volumes: Vec<Value> = match context.remote()? {
        Some(remote) => {
            let mut answer =
                remote.get(&["volumes"]).maybe("filters", elsewhere::filters(&filters)).json()?;
            list(answer["Volumes"].take())
        }
        None => context.engine()?.volumes(&filters)?.iter().map(view::volume).collect(),
    };
    show(volumes, args.format, args.quiet)
}

/// Prints volumes, by name.
pub fn show(mut volumes: Vec<Value>, format: Option<String>, quiet: bool) -> Outcome {
    volumes.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    let rows: Vec<_> = volumes.iter().map(row).collect();
    let format = match (format, quiet) {
        (None, true) => "{{.Name}}".to_owned(),
        (format, _) => format.unwrap_or_default(),
    };
    print(&listing::render(&format, COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

fn row(volume: &Value) -> Map<String, Value> {
    let text = |key: &str| volume[key].as_str().unwrap_or_default().to_owned();
    let fields = [
        ("Name", text("Name")),
        ("Driver", text("Driver")),
        ("Scope", text("Scope")),
        ("Mountpoint", text("Mountpoint")),
        ("Labels", listing::pairs(&volume["Labels"])),
        ("Links", "N/A".to_owned()),
        ("Size", "N/A".to_owned()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

/// Display detailed information on one or more volumes
#[derive(clap::Parser)]
struct Inspect {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub fn inspect(context: &mut Context, invocation: Invocation) -> Outcome {
    let Inspect { format, volumes } = parse(&invocation)?;
    of_kind(context, Kind::Volume, &volumes, format.as_deref(), false)
}
