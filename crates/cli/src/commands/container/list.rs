//! `ps`.

use std::process::ExitCode;

use engine::model::{ContainerSummary, Filters, ListOptions};
use engine::{time, view};
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print};
use crate::output::human;
use crate::output::listing::{self, Column, column};

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
    let containers = context.engine()?.list(&options)?;
    let format = args.format.unwrap_or_default();
    if args.quiet && format.is_empty() {
        let id = |container: &ContainerSummary| match args.no_trunc {
            true => format!("{}\n", container.id),
            false => format!("{}\n", container.id.short()),
        };
        print(&containers.iter().map(id).collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let now = time::now_ns();
    let rows: Vec<_> = containers.iter().map(|container| row(container, now, !args.no_trunc)).collect();
    let columns = if args.size { COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] };
    print(&listing::render(&format, columns, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// The fields a template can name.
pub fn row(container: &ContainerSummary, now_ns: i64, truncate: bool) -> Map<String, Value> {
    let short = |text: String, width| if truncate { human::ellipsis(&text, width) } else { text };
    let mounts = container.mounts.iter().map(|mount| match (&mount.name, &mount.source) {
        (Some(name), _) => name.clone(),
        (None, Some(source)) => source.display().to_string(),
        (None, None) => mount.target.clone(),
    });
    let mounts: Vec<_> = mounts.map(|name| short(name, 15)).collect();
    let size = container
        .size
        .map(|(writable, root)| format!("{} (virtual {})", human::size(writable), human::size(root)));
    let labels: Vec<_> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let networks: Vec<_> = container.networks.keys().cloned().collect();
    let networks = if networks.is_empty() { container.network_mode.clone() } else { networks.join(",") };
    let local_volumes = container.mounts.iter().filter(|mount| mount.driver.is_some()).count();
    let health = container.state.health.as_ref().map_or("", |health| health.status.as_str());
    let fields = [
        ("ID", if truncate { container.id.short().to_owned() } else { container.id.to_string() }),
        ("Image", container.image.clone()),
        ("Command", format!("\"{}\"", short(view::command(&container.argv), 20))),
        ("CreatedAt", human::date(container.created_ns)),
        ("RunningFor", view::ago(container.created_ns, now_ns)),
        ("Status", view::status(&container.state, now_ns)),
        ("State", container.state.status.as_str().to_owned()),
        ("HealthStatus", health.to_owned()),
        ("Ports", view::ports(&container.ports, &container.exposed)),
        ("Names", container.name.clone()),
        ("Labels", labels.join(",")),
        ("Mounts", mounts.join(",")),
        ("Networks", networks),
        ("LocalVolumes", local_volumes.to_string()),
        ("Size", size.unwrap_or_else(|| "0B".into())),
        ("Platform", String::new()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}
