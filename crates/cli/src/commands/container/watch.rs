//! `top`, `stats` and `port`: a running container from outside.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use diag::{Class, Diagnose, Failure};
use engine::Engine;
use engine::model::{ListOptions, Protocol, Stats};
use engine::parse as syntax;
use serde_json::{Map, Value, json};

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::output::listing::{self, Column, column};
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
    let top = context.engine()?.top(&args.container, &args.options)?;
    let rows: Vec<Vec<String>> = std::iter::once(top.titles).chain(top.rows).collect();
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
    let mut ports = context.engine()?.inspect(&args.container)?.ports;
    ports.sort();
    let Some(text) = args.port else {
        let line = |port: &engine::model::PublishedPort| {
            format!("{} -> {}:{}\n", port.container, port.host_ip, port.host_port)
        };
        print(&ports.iter().map(line).collect::<String>());
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = syntax::expose(&text)?;
    ports.retain(|port| wanted.contains(&port.container));
    if ports.is_empty() {
        let full = if text.contains('/') { text } else { format!("{text}/{}", Protocol::Tcp) };
        return Err(NotPublished { port: full, container: args.container }.into());
    }
    print(&ports.iter().map(|port| format!("{}:{}\n", port.host_ip, port.host_port)).collect::<String>());
    Ok(ExitCode::SUCCESS)
}
