//! `network ls` and `network inspect`.

use std::process::ExitCode;

use engine::model::{Filters, NetworkInfo};
use serde_json::{Map, Value, json};

use crate::commands::inspect::{Kind, of_kind};
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::output::human;
use crate::output::listing::{self, Column, column};

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
    let mut networks = context.engine()?.networks(&Filters::parse(&args.filter)?)?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<_> = networks.iter().map(|network| row(network, !args.no_trunc)).collect();
    let format = match (args.format, args.quiet) {
        (None, true) => "{{.ID}}".to_owned(),
        (format, _) => format.unwrap_or_default(),
    };
    print(&listing::render(&format, COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

fn row(network: &NetworkInfo, truncate: bool) -> Map<String, Value> {
    let labels: Vec<_> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = [
        ("ID", if truncate { network.id.short().to_owned() } else { network.id.to_string() }),
        ("Name", network.name.clone()),
        ("Driver", network.driver.clone()),
        ("Scope", "local".to_owned()),
        ("IPv4", "true".to_owned()),
        ("IPv6", "false".to_owned()),
        ("Internal", network.internal.to_string()),
        ("Labels", labels.join(",")),
        ("CreatedAt", human::date(network.created_ns)),
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
