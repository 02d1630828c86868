//! `top`, `stats` and `port`: a running container from outside.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use diag::{Class, Diagnose, Failure};
use engine::model::{BlockStats, CpuStats, InterfaceStats, ListOptions, MemoryStats, Protocol, Stats};
use engine::parse as syntax;
use engine::{Engine, view};
use remote::Client;
use serde_json::{Map, Value, json};

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::output::listing::{self, Column, column, list};
use crate::output::{human, table};

/// Display the running processes of a container
#[derive(clap::Parser)]
struct Top {
    container: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ps OPTIONS")]
    options: Vec<String>,
}

pub fn top(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Top = parse(&invocation)?;
    let rows: Vec<Vec<String>> = match context.remote()? {
        Some(remote) => {
            let call = remote.get(&["containers", &args.container, "top"]);
            let options = Some(args.options.join(" ")).filter(|options| !options.is_empty());
            let top = call.maybe("ps_args", options).json()?;
            let cells = |row: &Value| {
                row.as_array()
                    .into_iter()
                    .flatten()
                    .map(|cell| cell.as_str().unwrap_or_default().to_owned())
                    .collect()
            };
            std::iter::once(&top["Titles"])
                .chain(top["Processes"].as_array().into_iter().flatten())
                .map(cells)
                .collect()
        }
        None => {
            let top = context.engine()?.top(&args.container, &args.options)?;
            std::iter::once(top.titles).chain(top.rows).collect()
        }
    };
    print(&table::render(&rows));
    Ok(ExitCode::SUCCESS)
}

/// What `stats` and `compose stats` share.
#[derive(clap::Args)]
pub struct StatsFlags {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub all: bool,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
}

/// Display a live stream of container(s) resource usage statistics
#[derive(clap::Parser)]
struct StatsArgs {
    #[command(flatten)]
    flags: StatsFlags,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: &[Column] = &[
    column("CONTAINER ID", "ID"),
    column("NAME", "Name"),
    column("CPU %", "CPUPerc"),
    column("MEM USAGE / LIMIT", "MemUsage"),
    column("MEM %", "MemPerc"),
    column("NET I/O", "NetIO"),
    column("BLOCK I/O", "BlockIO"),
    column("PIDS", "PIDs"),
];

/// Between two readings; long enough for a rate to mean something.
const INTERVAL: Duration = Duration::from_secs(1);

pub fn stats(context: &mut Context, invocation: Invocation) -> Outcome {
    let StatsArgs { flags, containers } = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        return show(&flags, || elsewhere(remote, &containers, flags.all));
    }
    let engine = context.engine()?;
    show(&flags, || match containers.as_slice() {
        [] => all(engine, flags.all).map_err(Ended::plain),
        names => named(engine, names).map_err(Ended::plain),
    })
}

/// Prints what `readings` finds, again and again unless told otherwise.
pub fn show(flags: &StatsFlags, readings: impl Fn() -> Result<Vec<Reading>, Ended>) -> Outcome {
    let format = flags.format.as_deref().unwrap_or_default();
    let mut before = readings()?;
    loop {
        std::thread::sleep(INTERVAL);
        let now = readings()?;
        let rows: Vec<_> = now.iter().map(|reading| row(reading, &before, !flags.no_trunc)).collect();
        let text = listing::render(format, COLUMNS, &rows)?;
        let clear = if flags.no_stream || !std::io::stdout().is_terminal() { "" } else { "\x1b[H\x1b[J" };
        let mut out = std::io::stdout().lock();
        let shown = out.write_all(format!("{clear}{text}").as_bytes()).and_then(|()| out.flush());
        if flags.no_stream || shown.is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

/// One container's id, name and reading.
pub type Reading = (String, String, Stats);

/// Readings of another engine: of the containers named, or of all.
fn elsewhere(client: &Client, names: &[String], stopped_too: bool) -> Result<Vec<Reading>, Ended> {
    let containers = match names {
        [] => list(client.get(&["containers", "json"]).flag("all", stopped_too).json()?),
        names => names.iter().map(|name| client.container(name)).collect::<Result<_, _>>()?,
    };
    let mut readings = Vec::new();
    for container in containers {
        // A reading of one moment does not say whose it is, in some versions of Docker's engine.
        let id = container["Id"].as_str().unwrap_or_default();
        let name = container["Name"].as_str().or_else(|| container["Names"][0].as_str()).unwrap_or_default();
        let call = client.get(&["containers", id, "stats"]).query("stream", 0).query("one-shot", 1);
        let stats = match call.json() {
            // One that was removed since is no longer of interest.
            Err(error) if names.is_empty() && error.class() == Class::NotFound => continue,
            stats => stats?,
        };
        readings.push((id.to_owned(), name.trim_start_matches('/').to_owned(), reading(&stats)));
    }
    Ok(readings)
}

/// What `stats` shows of a `ContainerStatsResponse`; a container that does not run uses nothing.
fn reading(stats: &Value) -> Stats {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (cpu, memory) = (&stats["cpu_stats"], &stats["memory_stats"]);
    // With version 1 of control groups it has another name.
    let cache = ["total_inactive_file", "inactive_file"].iter().find_map(|key| memory["stats"][key].as_u64());
    let moved = |op: &str| {
        let entries = stats["blkio_stats"]["io_service_bytes_recursive"].as_array().into_iter().flatten();
        let entries =
            entries.filter(|entry| entry["op"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(op)));
        entries.map(|entry| number(&entry["value"])).sum()
    };
    let interface = |counters: &Value| InterfaceStats {
        rx_bytes: number(&counters["rx_bytes"]),
        tx_bytes: number(&counters["tx_bytes"]),
        ..InterfaceStats::default()
    };
    let networks = stats["networks"].as_object().into_iter().flatten();
    Stats {
        cpu: CpuStats {
            usage_ns: number(&cpu["cpu_usage"]["total_usage"]),
            host_ns: number(&cpu["system_cpu_usage"]),
            online: u32::try_from(number(&cpu["online_cpus"])).unwrap_or_default(),
            ..CpuStats::default()
        },
        memory: MemoryStats {
            usage_bytes: number(&memory["usage"]),
            cache_bytes: cache.unwrap_or_default(),
            limit_bytes: number(&memory["limit"]),
            ..MemoryStats::default()
        },
        pids: number(&stats["pids_stats"]["current"]),
        interfaces: networks.map(|(name, counters)| (name.clone(), interface(counters))).collect(),
        block: BlockStats { read_bytes: moved("read"), write_bytes: moved("write") },
        ..Stats::default()
    }
}

fn all(engine: &Engine, stopped_too: bool) -> Result<Vec<Reading>, Failure> {
    let mut readings = Vec::new();
    for container in engine.list(&ListOptions { all: stopped_too, ..ListOptions::default() })? {
        // One that was removed since is no longer of interest.
        if let Ok(stats) = engine.stats(container.id.as_str()) {
            readings.push((container.id.to_string(), container.name, stats));
        }
    }
    Ok(readings)
}

fn named(engine: &Engine, names: &[String]) -> Result<Vec<Reading>, Failure> {
    let mut readings = Vec::new();
    for name in names {
        let container = engine.inspect(name)?;
        readings.push((container.id.to_string(), container.name, engine.stats(name)?));
    }
    Ok(readings)
}

fn row((id, name, now): &Reading, before: &[Reading], truncate: bool) -> Map<String, Value> {
    let earlier = before.iter().find(|(other, ..)| other == id).map(|(.., stats)| stats);
    let cpu = earlier.map_or(0.0, |earlier| now.cpu_percent(earlier));
    let memory = now.memory.usage_bytes.saturating_sub(now.memory.cache_bytes);
    let share = match now.memory.limit_bytes {
        0 => 0.0,
        limit => memory as f64 / limit as f64 * 100.0,
    };
    let sum = |of: fn(&engine::model::InterfaceStats) -> u64| now.interfaces.values().map(of).sum::<u64>();
    let pair = |one: u64, other: u64| format!("{} / {}", human::size(one), human::size(other));
    let limit = human::binary_size(now.memory.limit_bytes);
    let fields = [
        ("Container", name.clone()),
        ("ID", if truncate { human::short_id(id).to_owned() } else { id.clone() }),
        ("Name", name.clone()),
        ("CPUPerc", format!("{cpu:.2}%")),
        ("MemUsage", format!("{} / {limit}", human::binary_size(memory))),
        ("MemPerc", format!("{share:.2}%")),
        ("NetIO", pair(sum(|i| i.rx_bytes), sum(|i| i.tx_bytes))),
        ("BlockIO", pair(now.block.read_bytes, now.block.write_bytes)),
        ("PIDs", now.pids.to_string()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

/// List port mappings or a specific mapping for the container
#[derive(clap::Parser)]
struct PortArgs {
    container: String,
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

/// A port that is not published.
#[derive(Debug, thiserror::Error)]
#[error("no public port '{port}' published for {container}")]
struct NotPublished {
    port: String,
    container: String,
}

impl Diagnose for NotPublished {
    fn class(&self) -> Class {
        Class::NotFound
    }
}

pub fn port(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: PortArgs = parse(&invocation)?;
    let container = match context.remote()? {
        Some(remote) => remote.container(&args.container)?,
        None => view::container(&context.engine()?.inspect(&args.container)?),
    };
    let mut ports = published(&container["NetworkSettings"]["Ports"]);
    let Some(text) = args.port else {
        let lines = ports.iter().map(|(port, address)| format!("{}/{} -> {address}\n", port.0, port.1));
        print(&lines.collect::<String>());
        return Ok(ExitCode::SUCCESS);
    };
    let wanted: Vec<_> =
        syntax::expose(&text)?.iter().map(|port| (port.number, port.protocol.to_string())).collect();
    ports.retain(|(port, _)| wanted.contains(port));
    if ports.is_empty() {
        let full = if text.contains('/') { text } else { format!("{text}/{}", Protocol::Tcp) };
        return Err(NotPublished { port: full, container: args.container }.into());
    }
    print(&ports.iter().map(|(_, address)| format!("{address}\n")).collect::<String>());
    Ok(ExitCode::SUCCESS)
}

/// Number and protocol in the container, and the address on the host, of each port in `NetworkSettings.Ports`; by number.
fn published(ports: &Value) -> Vec<((u16, String), String)> {
    let mut published = Vec::new();
    for (port, bindings) in ports.as_object().into_iter().flatten() {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        for binding in bindings.as_array().into_iter().flatten() {
            let text = |key: &str| binding[key].as_str().unwrap_or_default();
            let ip = if text("HostIp").contains(':') {
                format!("[{}]", text("HostIp"))
            } else {
                text("HostIp").to_owned()
            };
            let port = (number.parse().unwrap_or_default(), protocol.to_owned());
            published.push((port, format!("{ip}:{}", text("HostPort"))));
        }
    }
    published.sort();
    published
}
