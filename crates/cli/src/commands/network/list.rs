//! `network ls` and `network inspect`.

use std::process::ExitCode;

use engine::model::Filters;
use engine::{time, view};
use serde_json::{Map, Value, json};

use crate::commands::inspect::{Kind, of_kind};
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::output::human;
use crate::output::listing::{self, Column, column, list};

/// List networks
#[derive(clap::Parser)]
struct Args {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: &[Column] = &[
    column("NETWORK ID", "ID"),
    column("NAME", "Name"),
    column("DRIVER", "Driver"),
    column("SCOPE", "Scope"),
];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let filters = Filters::parse(&args.filter)?;
    let mut networks: Vec<Value> = match context.remote()? {
        Some(remote) => {
            list(remote.get(&["networks"]).maybe("filters", elsewhere::filters(&filters)).json()?)
        }
        None => context.engine()?.networks(&filters)?.iter().map(view::network).collect(),
    };
    networks.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    let rows: Vec<_> = networks.iter().map(|network| row(network, !args.no_trunc)).collect();
    let format = match (args.format, args.quiet) {
        (None, true) => "{{.ID}}".to_owned(),
        (format, _) => format.unwrap_or_default(),
    };
    print(&listing::render(&format, COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

fn row(network: &Value, truncate: bool) -> Map<String, Value> {
    let text = |key: &str| network[key].as_str().unwrap_or_default().to_owned();
    let flag = |key: &str, usual: bool| network[key].as_bool().unwrap_or(usual).to_string();
    let id = text("Id");
    let fields = [
        ("ID", if truncate { human::short_id(&id).to_owned() } else { id }),
        ("Name", text("Name")),
        ("Driver", text("Driver")),
        ("Scope", text("Scope")),
        ("IPv4", flag("EnableIPv4", true)),
        ("IPv6", flag("EnableIPv6", false)),
        ("Internal", flag("Internal", false)),
        ("Labels", listing::pairs(&network["Labels"])),
        ("CreatedAt", human::date(time::parse_rfc3339(&text("Created")).unwrap_or_default())),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

/// Display detailed information on one or more networks
#[derive(clap::Parser)]
struct Inspect {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short, long, hide = true)]
    verbose: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

pub fn inspect(context: &mut Context, invocation: Invocation) -> Outcome {
    let Inspect { format, networks, verbose: _ } = parse(&invocation)?;
    of_kind(context, Kind::Network, &networks, format.as_deref(), false)
}
