//! `compose ps`, `ls`, `volumes`, `top` and `port`.

use std::process::ExitCode;

use compose::Instance;
use engine::{time, view};
use net::Protocol;
use serde_json::{Map, Value, json};

use super::Compose;
use super::report::Printer;
use crate::commands::container::list::row;
use crate::commands::{Invocation, Outcome, parse, usage, volume};
use crate::context::{print, print_line};
use crate::output::listing::{self, Column, column};
use crate::output::table;

/// List containers
#[derive(clap::Parser)]
struct Ps {
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    all: bool,
    /// Filter services by a property (supported: status)
    #[arg(long, value_name = "string")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display services
    #[arg(long)]
    services: bool,
    /// Filter services by status (created, running, paused, restarting, exited, ...)
    #[arg(long, value_name = "stringArray")]
    status: Vec<String>,
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

const COLUMNS: &[Column] = &[
    column("NAME", "Name"),
    column("IMAGE", "Image"),
    column("COMMAND", "Command"),
    column("SERVICE", "Service"),
    column("CREATED", "RunningFor"),
    column("STATUS", "Status"),
    column("PORTS", "Ports"),
];

pub fn containers(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let mut args: Ps = parse(&invocation)?;
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("status", status)) => args.status.push(status.to_owned()),
            _ => {
                return Err(usage(
                    &invocation.path,
                    format_args!("unknown filter {filter:?}: use status=..."),
                ));
            }
        }
    }
    let project = compose.load_or_named(&args.names)?;
    let printer = Printer::new(&compose.flags);
    let mut instances = compose.on(&project, &printer, |stack| {
        // Checks the names, and leaves one-off containers to `--all`.
        let known = stack.instances_of(&args.names)?;
        if !args.all {
            return Ok(known);
        }
        let all = stack.instances()?;
        Ok(all.into_iter().filter(|one| args.names.is_empty() || args.names.contains(&one.service)).collect())
    })?;
    instances.retain(|instance| match args.status.is_empty() {
        true => args.all || instance.is_running(),
        false => args.status.iter().any(|status| status == instance.container.state.status.as_str()),
    });
    if args.services {
        let mut services: Vec<String> = instances.into_iter().map(|one| one.service + "\n").collect();
        services.dedup();
        print(&services.concat());
        return Ok(ExitCode::SUCCESS);
    }
    if args.quiet {
        print(&instances.iter().map(|instance| format!("{}\n", instance.id())).collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let now = time::now_ns();
    let rows: Vec<_> = instances.iter().map(|one| fields(one, &project.name, now, !args.no_trunc)).collect();
    print(&listing::render(args.format.as_deref().unwrap_or_default(), COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// What `hull ps` has, and what only Compose knows.
fn fields(instance: &Instance, project: &str, now: i64, truncate: bool) -> Map<String, Value> {
    let container = &instance.container;
    let mut fields = row(&view::container_summary(container, now), now, truncate);
    let health = container.state.health.as_ref().map_or("", |health| health.status.as_str());
    let publishers: Vec<Value> = container
        .ports
        .iter()
        .map(|port| {
            json!({
                "URL": port.host_ip.to_string(),
                "TargetPort": port.container.number,
                "PublishedPort": port.host_port,
                "Protocol": port.container.protocol.to_string(),
            })
        })
        .collect();
    for (key, value) in [
        ("Name", json!(container.name)),
        ("Project", json!(project)),
        ("Service", json!(instance.service)),
        ("Health", json!(health)),
        ("ExitCode", json!(container.state.exit_code)),
        ("Publishers", json!(publishers)),
    ] {
        fields.insert(key.to_owned(), value);
    }
    fields
}

/// List running compose projects
#[derive(clap::Parser)]
struct Ls {
    /// Show all stopped Compose projects
    #[arg(short, long)]
    all: bool,
    /// Format the output. Values: [table | json]
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display project names
    #[arg(short, long)]
    quiet: bool,
}

const PROJECT_COLUMNS: &[Column] =
    &[column("NAME", "Name"), column("STATUS", "Status"), column("CONFIG FILES", "ConfigFiles")];

pub fn projects(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Ls = parse(&invocation)?;
    let projects =
        compose::projects(compose.context.engine()?, args.all).map_err(crate::commands::Ended::plain)?;
    if args.quiet {
        print(&projects.iter().map(|project| format!("{}\n", project.name)).collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Map<String, Value>> = projects
        .into_iter()
        .map(|project| {
            let fields =
                [("Name", project.name), ("Status", project.status), ("ConfigFiles", project.config_files)];
            fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
        })
        .collect();
    if args.format.as_deref() == Some("json") {
        print_line(Value::Array(rows.into_iter().map(Value::Object).collect()));
        return Ok(ExitCode::SUCCESS);
    }
    print(&listing::render(args.format.as_deref().unwrap_or_default(), PROJECT_COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// List volumes
#[derive(clap::Parser)]
struct Volumes {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn volumes(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Volumes = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    let volumes = compose.on(&project, &printer, |stack| stack.volumes(&args.services))?;
    volume::list::show(volumes.iter().map(view::volume).collect(), args.format, args.quiet)
}

/// Display the running processes
#[derive(clap::Parser)]
struct TopArgs {
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

pub fn top(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: TopArgs = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    for (instance, top) in compose.on(&project, &printer, |stack| stack.top(&args.services, &[]))? {
        let rows: Vec<Vec<String>> = std::iter::once(top.titles).chain(top.rows).collect();
        print(&format!("{}\n{}\n", instance.name(), table::render(&rows)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Print the public port for a port binding
#[derive(clap::Parser)]
struct PortArgs {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    /// tcp or udp
    #[arg(long, value_name = "string", default_value = "tcp")]
    protocol: String,
    service: String,
    #[arg(value_name = "PRIVATE_PORT")]
    port: String,
}

pub fn port(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: PortArgs = parse(&invocation)?;
    let (number, protocol) = args.port.split_once('/').unwrap_or((&args.port, &args.protocol));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(usage(&invocation.path, format_args!("unknown protocol {other:?}"))),
    };
    let number =
        number.parse().map_err(|_| usage(&invocation.path, format_args!("{number:?} is no port number")))?;
    let project = compose.load_or_named(std::slice::from_ref(&args.service))?;
    let printer = Printer::new(&compose.flags);
    let found =
        compose.on(&project, &printer, |stack| stack.port(&args.service, number, protocol, args.index))?;
    print_line(format_args!("{}:{}", found.host_ip, found.host_port));
    Ok(ExitCode::SUCCESS)
}
