//! `system df` and `system prune`.

use std::process::ExitCode;

use engine::model::{DiskUsage, Filters};
use engine::view;
use serde_json::{Map, Value, json};

use crate::commands::image::list::warn_of_damage;
use crate::commands::prompt::confirm;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
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
    let usage = context.engine()?.disk_usage()?;
    match args.verbose {
        true => print(&details(&usage)),
        false => print(&listing::render(&args.format.unwrap_or_default(), COLUMNS, &summary(&usage))?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Four rows: count, how many are in use, bytes, and bytes that pruning would give back.
fn summary(usage: &DiskUsage) -> Vec<Map<String, Value>> {
    let images: u64 = usage.layers_bytes;
    let idle_images: u64 =
        usage.images.iter().filter(|image| image.containers.is_empty()).map(|image| image.size_bytes).sum();
    let written = |running: Option<bool>| -> u64 {
        let chosen =
            usage.containers.iter().filter(|c| running.is_none_or(|r| c.state.status.is_running() == r));
        chosen.filter_map(|container| container.size).map(|(written, _)| written).sum()
    };
    let volume_bytes = |idle: bool| -> u64 {
        let chosen = usage.volumes.iter().filter(|volume| !idle || volume.used_by.is_empty());
        chosen.filter_map(|volume| volume.size_bytes).sum()
    };
    let cached: u64 = usage.build_cache.iter().map(|item| item.size_bytes).sum();
    let idle_cache: u64 =
        usage.build_cache.iter().filter(|item| !item.in_use).map(|item| item.size_bytes).sum();
    let row = |kind: &str, total: usize, active: usize, size: u64, reclaimable: u64| {
        let share = (reclaimable.min(size) * 100).checked_div(size);
        let percent = share.map_or_else(String::new, |share| format!(" ({share}%)"));
        let fields = [
            ("Type", json!(kind)),
            ("TotalCount", json!(total.to_string())),
            ("Active", json!(active.to_string())),
            ("Size", json!(human::size(size))),
            ("Reclaimable", json!(format!("{}{percent}", human::size(reclaimable.min(size))))),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let in_use = usage.images.iter().filter(|image| !image.containers.is_empty()).count();
    let running = usage.containers.iter().filter(|container| container.state.status.is_running()).count();
    let mounted = usage.volumes.iter().filter(|volume| !volume.used_by.is_empty()).count();
    let live = usage.build_cache.iter().filter(|item| item.in_use).count();
    vec![
        row("Images", usage.images.len(), in_use, images, idle_images),
        row("Containers", usage.containers.len(), running, written(None), written(Some(false))),
        row("Local Volumes", usage.volumes.len(), mounted, volume_bytes(false), volume_bytes(true)),
        row("Build Cache", usage.build_cache.len(), live, cached, idle_cache),
    ]
}

fn details(usage: &DiskUsage) -> String {
    let words = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let now = engine::time::now_ns();
    let mut images = vec![words(&["IMAGE", "IMAGE ID", "CREATED", "SIZE", "CONTAINERS"])];
    images.extend(usage.images.iter().map(|image| {
        vec![
            image.tags.first().cloned().unwrap_or_else(|| "<none>:<none>".into()),
            human::short_id(&image.id).to_owned(),
            view::ago(image.created_ns, now),
            human::size(image.size_bytes),
            image.containers.len().to_string(),
        ]
    }));
    let mut containers = vec![words(&["CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "STATUS", "NAMES"])];
    containers.extend(usage.containers.iter().map(|container| {
        vec![
            container.id.short().to_owned(),
            container.image.clone(),
            format!("\"{}\"", human::ellipsis(&view::command(&container.argv), 20)),
            human::size(container.size.map_or(0, |(written, _)| written)),
            view::status(&container.state, now),
            container.name.clone(),
        ]
    }));
    let mut volumes = vec![words(&["VOLUME NAME", "LINKS", "SIZE"])];
    volumes.extend(usage.volumes.iter().map(|volume| {
        let size = human::size(volume.size_bytes.unwrap_or(0));
        vec![volume.name.clone(), volume.used_by.len().to_string(), size]
    }));
    let mut cache = vec![words(&["CACHE ID", "SIZE", "CREATED", "LAST USED", "IN USE"])];
    cache.extend(usage.build_cache.iter().map(|item| {
        vec![
            human::short_id(&item.id).to_owned(),
            human::size(item.size_bytes),
            view::ago(item.created_ns, now),
            view::ago(item.last_used_ns, now),
            item.in_use.to_string(),
        ]
    }));
    format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage:\n\n{}",
        table::render(&images),
        table::render(&containers),
        table::render(&volumes),
        table::render(&cache),
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
    let filters = Filters::parse(&args.filter)?;
    let mut warning = String::from(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if args.volumes {
        warning.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    warning.push_str(match args.all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    if !confirm(&warning, args.force) {
        return Ok(ExitCode::FAILURE);
    }
    let engine = context.engine()?;
    let mut reclaimed = 0;
    let mut deleted = |heading: &str, lines: Vec<String>, bytes: u64| {
        reclaimed += bytes;
        if !lines.is_empty() {
            print(&format!("Deleted {heading}:\n{}\n\n", lines.join("\n")));
        }
    };
    let containers = engine.prune_containers(&filters)?;
    deleted("Containers", containers.containers, containers.reclaimed_bytes);
    let networks = engine.network_prune(&filters)?;
    deleted("Networks", networks.networks, 0);
    if args.volumes {
        let volumes = engine.volume_prune(&filters, false)?;
        deleted("Volumes", volumes.volumes, volumes.reclaimed_bytes);
    }
    let images = engine.prune_images(&filters, args.all)?;
    images.skipped.iter().for_each(|damage| warn_of_damage(damage));
    let mut lines: Vec<_> = images.untagged.iter().map(|name| format!("untagged: {name}")).collect();
    lines.extend(images.images.iter().map(|id| format!("deleted: {id}")));
    deleted("Images", lines, images.reclaimed_bytes);
    // The build cache knows no labels; Docker leaves it alone when one is asked for.
    if !filters.has("label") && !filters.has("label!") {
        let cache = engine.prune_build_cache(&filters, args.all)?;
        deleted("build cache objects", cache.build_cache, cache.reclaimed_bytes);
    }
    print(&format!("Total reclaimed space: {}\n", human::size(reclaimed)));
    Ok(ExitCode::SUCCESS)
}
