//! `ps`.

use std::process::ExitCode;

use engine::model::{Filters, ListOptions};
use engine::{time, view};
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::output::human;
use crate::output::listing::{self, Column, column, keys, list};

/// List containers
#[derive(clap::Parser)]
struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const COLUMNS: &[Column] = &[
    column("CONTAINER ID", "ID"),
    column("IMAGE", "Image"),
    column("COMMAND", "Command"),
    column("CREATED", "RunningFor"),
    column("STATUS", "Status"),
    column("PORTS", "Ports"),
    column("NAMES", "Names"),
    column("SIZE", "Size"),
];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let last = match (args.latest, args.last) {
        (true, _) => Some(1),
        (false, Some(count @ 1..)) => Some(count as usize),
        (false, Some(0)) => return Err(usage(&invocation.path, "--last must not be 0")),
        (false, _) => None,
    };
    let options = ListOptions {
        all: args.all || last.is_some(),
        last,
        size: args.size,
        filters: Filters::parse(&args.filter)?,
    };
    let now = time::now_ns();
    let containers: Vec<Value> = match context.remote()? {
        Some(remote) => {
            let call =
                remote.get(&["containers", "json"]).flag("all", options.all).flag("size", options.size);
            list(call.maybe("limit", last).maybe("filters", elsewhere::filters(&options.filters)).json()?)
        }
        None => {
            let containers = context.engine()?.list(&options)?;
            containers.iter().map(|container| view::container_summary(container, now)).collect()
        }
    };
    let format = match (args.format, args.quiet) {
        (None, true) => "{{.ID}}".to_owned(),
        (format, _) => format.unwrap_or_default(),
    };
    let rows: Vec<_> = containers.iter().map(|container| row(container, now, !args.no_trunc)).collect();
    let columns = if args.size { COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] };
    print(&listing::render(&format, columns, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// The fields a template can name, of a container in a list.
pub fn row(container: &Value, now_ns: i64, truncate: bool) -> Map<String, Value> {
    let short = |text: &str, width| if truncate { human::ellipsis(text, width) } else { text.to_owned() };
    let text = |key: &str| container[key].as_str().unwrap_or_default();
    let mounts = container["Mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mount_names = mounts.iter().map(|mount| {
        let names = ["Name", "Source", "Destination"].map(|key| mount[key].as_str().unwrap_or_default());
        short(names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(), 15)
    });
    let bytes = |key: &str| container[key].as_u64().map(human::size);
    let size = match (bytes("SizeRw"), bytes("SizeRootFs")) {
        (writable, Some(root)) => format!("{} (virtual {root})", writable.unwrap_or_else(|| human::size(0))),
        (writable, None) => writable.unwrap_or_else(|| human::size(0)),
    };
    let networks = keys(&container["NetworkSettings"]["Networks"]);
    let networks = match networks.is_empty() {
        true => container["HostConfig"]["NetworkMode"].as_str().unwrap_or_default().to_owned(),
        false => networks.join(","),
    };
    let names: Vec<&str> =
        container["Names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches('/')).collect();
    let created_ns = container["Created"].as_i64().unwrap_or_default().saturating_mul(1_000_000_000);
    let status = text("Status");
    let health =
        ["(healthy)", "(unhealthy)", "(health: starting)"].into_iter().find(|word| status.ends_with(word));
    let health = health.map_or("", |word| word.trim_matches(['(', ')']).trim_start_matches("health: "));
    let fields = [
        ("ID", if truncate { human::short_id(text("Id")).to_owned() } else { text("Id").to_owned() }),
        ("Image", text("Image").to_owned()),
        ("Command", format!("\"{}\"", short(text("Command"), 20))),
        ("CreatedAt", human::date(created_ns)),
        ("RunningFor", view::ago(created_ns, now_ns)),
        ("Status", status.to_owned()),
        ("State", text("State").to_owned()),
        ("HealthStatus", health.to_owned()),
        ("Ports", view::ports(&container["Ports"])),
        ("Names", names.join(",")),
        ("Labels", listing::pairs(&container["Labels"])),
        ("Mounts", mount_names.collect::<Vec<_>>().join(",")),
        ("Networks", networks),
        ("LocalVolumes", mounts.iter().filter(|mount| mount.get("Driver").is_some()).count().to_string()),
        ("Size", size),
        ("Platform", String::new()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}
