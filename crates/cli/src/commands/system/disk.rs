//! `system df` and `system prune`.

use std::process::ExitCode;

use engine::time::{self, now_ns};
use engine::view;
use serde_json::{Map, Value, json};

use crate::commands::prune::Choice;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere::Unused;
use crate::output::human;
use crate::output::listing::{self, Column, column};
use crate::output::table;

/// Show disk usage
#[derive(clap::Parser)]
struct Usage {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const COLUMNS: &[Column] = &[
    column("TYPE", "Type"),
    column("TOTAL", "TotalCount"),
    column("ACTIVE", "Active"),
    column("SIZE", "Size"),
    column("RECLAIMABLE", "Reclaimable"),
];

pub fn usage(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Usage = parse(&invocation)?;
    let usage = match context.remote()? {
        Some(remote) => remote.get(&["system", "df"]).json()?,
        None => {
            let usage = context.engine()?.disk_usage()?;
            let mut shown = view::disk_usage(&usage, now_ns());
            // As the API has them since 1.52: sums would count twice what is shared.
            shown["ImageUsage"] = json!({"Reclaimable": usage.images_reclaimable_bytes});
            let cache = usage.build_cache_bytes;
            shown["BuildCacheUsage"] = json!({"TotalSize": cache, "Reclaimable": cache});
            shown
        }
    };
    match args.verbose {
        true => print(&details(&usage)),
        false => print(&listing::render(&args.format.unwrap_or_default(), COLUMNS, &summary(&usage))?),
    }
    Ok(ExitCode::SUCCESS)
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// The objects of one kind, each with whether it is in use and its size.
fn used(
    usage: &Value,
    kind: &str,
    is_used: fn(&Value) -> bool,
    size: fn(&Value) -> &Value,
) -> Vec<(bool, u64)> {
    let objects = usage[kind].as_array().into_iter().flatten();
    objects.map(|object| (is_used(object), bytes(size(object)))).collect()
}

/// Four rows: count, how many are in use, bytes, and bytes that pruning would give back.
fn summary(usage: &Value) -> Vec<Map<String, Value>> {
    let row = |kind: &str, objects: &[(bool, u64)], size: &Value, reclaimable: &Value| {
        let sum = |idle: bool| {
            objects.iter().filter(|(used, _)| !(idle && *used)).map(|(_, bytes)| bytes).sum::<u64>()
        };
        let size = size.as_u64().unwrap_or_else(|| sum(false));
        let reclaimable = reclaimable.as_u64().unwrap_or_else(|| sum(true)).min(size);
        let share = (reclaimable * 100).checked_div(size);
        let percent = share.map_or_else(String::new, |share| format!(" ({share}%)"));
        let active = objects.iter().filter(|(used, _)| *used).count();
        let fields = [
            ("Type", kind.to_owned()),
            ("TotalCount", objects.len().to_string()),
            ("Active", active.to_string()),
            ("Size", human::size(size)),
            ("Reclaimable", format!("{}{percent}", human::size(reclaimable))),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    };
    let is_running =
        |container: &Value| matches!(container["State"].as_str(), Some("running" | "paused" | "restarting"));
    let images =
        used(usage, "Images", |image| image["Containers"].as_i64() > Some(0), |image| &image["Size"]);
    let containers = used(usage, "Containers", is_running, |container| &container["SizeRw"]);
    let is_mounted = |volume: &Value| volume["UsageData"]["RefCount"].as_i64() > Some(0);
    let volumes = used(usage, "Volumes", is_mounted, |volume| &volume["UsageData"]["Size"]);
    let cache = used(usage, "BuildCache", |item| item["InUse"] == true, |item| &item["Size"]);
    vec![
        // Images share layers, with each other and with the cache.
        row("Images", &images, &usage["LayersSize"], &usage["ImageUsage"]["Reclaimable"]),
        row("Containers", &containers, &Value::Null, &Value::Null),
        row("Local Volumes", &volumes, &Value::Null, &Value::Null),
        row(
            "Build Cache",
            &cache,
            &usage["BuildCacheUsage"]["TotalSize"],
            &usage["BuildCacheUsage"]["Reclaimable"],
        ),
    ]
}

fn details(usage: &Value) -> String {
    let now = now_ns();
    let section = |headings: &[&str], kind: &str, cells: &dyn Fn(&Value) -> Vec<String>| {
        let mut rows = vec![headings.iter().map(|heading| (*heading).to_owned()).collect()];
        rows.extend(usage[kind].as_array().into_iter().flatten().map(cells));
        table::render(&rows)
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let since = |value: &Value| view::ago(time::parse_rfc3339(&text(value)).unwrap_or_default(), now);
    let images = section(&["IMAGE", "IMAGE ID", "CREATED", "SIZE", "CONTAINERS"], "Images", &|image| {
        let created_ns = image["Created"].as_i64().unwrap_or_default().saturating_mul(1_000_000_000);
        vec![
            image["RepoTags"][0].as_str().unwrap_or("<none>:<none>").to_owned(),
            human::short_id(&text(&image["Id"])).to_owned(),
            view::ago(created_ns, now),
            human::size(bytes(&image["Size"])),
            image["Containers"].to_string(),
        ]
    });
    let headings = ["CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "STATUS", "NAMES"];
    let containers = section(&headings, "Containers", &|container| {
        vec![
            human::short_id(&text(&container["Id"])).to_owned(),
            text(&container["Image"]),
            format!("\"{}\"", human::ellipsis(&text(&container["Command"]), 20)),
            human::size(bytes(&container["SizeRw"])),
            text(&container["Status"]),
            text(&container["Names"][0]).trim_start_matches('/').to_owned(),
        ]
    });
    let volumes = section(&["VOLUME NAME", "LINKS", "SIZE"], "Volumes", &|volume| {
        let usage = &volume["UsageData"];
        vec![text(&volume["Name"]), bytes(&usage["RefCount"]).to_string(), human::size(bytes(&usage["Size"]))]
    });
    let cache = section(&["CACHE ID", "SIZE", "CREATED", "LAST USED", "IN USE"], "BuildCache", &|item| {
        vec![
            human::short_id(&text(&item["ID"])).to_owned(),
            human::size(bytes(&item["Size"])),
            since(&item["CreatedAt"]),
            since(&item["LastUsedAt"]),
            (item["InUse"] == true).to_string(),
        ]
    });
    format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n{volumes}\nBuild cache usage:\n\n{cache}"
    )
}

/// Remove unused data
#[derive(clap::Parser)]
struct Prune {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

pub fn prune(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Prune = parse(&invocation)?;
    let choice = Choice::new(&args.filter, args.force)?;
    let mut warning = String::from(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    let mut kinds = vec![Unused::Containers, Unused::Networks];
    if args.volumes {
        warning.push_str("  - all anonymous volumes not used by at least one container\n");
        kinds.push(Unused::Volumes { all: false });
    }
    warning.push_str(match args.all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    kinds.push(Unused::Images { all: args.all });
    // The build cache knows no labels; Docker leaves it alone when one is asked for.
    if !choice.asks_for_labels() {
        kinds.push(Unused::BuildCache { all: args.all });
    }
    choice.prune(context, &warning, &kinds)
}
