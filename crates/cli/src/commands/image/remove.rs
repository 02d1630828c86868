//! `rmi`, `image prune` and `builder prune`.

use std::process::ExitCode;

use diag::{Class, Failure};
use engine::model::{Filters, Pruned};
use image::Removed;
use serde_json::Value;

use super::list::warn_of_damage;
use crate::commands::many::Report;
use crate::commands::prompt::confirm;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, note, print};
use crate::elsewhere::{self, Unused};
use crate::output::human;
use crate::output::listing::list;

/// Remove one or more images
#[derive(clap::Parser)]
struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long, hide = true)]
    no_prune: bool,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let mut report = Report::default();
    for name in &args.images {
        match remove(context, name, &args)? {
            Ok(lines) => print(&lines),
            Err(failure) if args.force && failure.class() == Class::NotFound => note(diag::render(&failure)),
            Err(failure) => report.failure(&failure),
        }
    }
    report.outcome()
}

/// Removes one image, and returns what is told of it.
fn remove(context: &Context, name: &str, args: &Args) -> Result<Result<String, Failure>, Ended> {
    let Some(remote) = context.remote()? else {
        let removed = context.engine()?.image_remove(name, args.force);
        return Ok(removed.map(|removed| removed.iter().map(line_of).collect()).map_err(Failure::from));
    };
    let call = remote.delete(&["images", name]).flag("force", args.force).flag("noprune", args.no_prune);
    let line = |entry: &Value| {
        let words = ["Untagged", "Deleted"].into_iter();
        words.filter_map(|word| Some(format!("{word}: {}\n", entry[word].as_str()?))).collect::<String>()
    };
    Ok(call.json().map(|removed| list(removed).iter().map(line).collect()).map_err(Failure::from))
}

fn line_of(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(reference, _) => format!("Untagged: {}\n", reference.familiar()),
        Removed::Deleted(digest) | Removed::DeletedLayer(digest) => format!("Deleted: {digest}\n"),
    }
}

/// Remove unused images
#[derive(clap::Parser)]
struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub fn prune(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Prune = parse(&invocation)?;
    let filters = Filters::parse(&args.filter)?;
    let warning = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !confirm(warning, args.force) {
        return Ok(ExitCode::FAILURE);
    }
    let pruned = elsewhere::prune(context, Unused::Images { all: args.all }, &filters)?;
    print(&images_text(&pruned));
    print(&format!("Total reclaimed space: {}\n", human::size(pruned.reclaimed_bytes)));
    pruned.skipped.iter().for_each(|damage| warn_of_damage(damage));
    Ok(ExitCode::SUCCESS)
}

/// The part of a prune's report that is about images.
pub fn images_text(pruned: &Pruned) -> String {
    if pruned.untagged.is_empty() && pruned.images.is_empty() {
        return String::new();
    }
    let untagged = pruned.untagged.iter().map(|line| format!("{line}\n"));
    let deleted = pruned.images.iter().map(|id| format!("deleted: {id}\n"));
    format!("Deleted Images:\n{}\n", untagged.chain(deleted).collect::<String>())
}

/// Remove build cache
#[derive(clap::Parser)]
struct PruneCache {
    /// Remove all unused build cache, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=24h")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub fn prune_build_cache(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: PruneCache = parse(&invocation)?;
    let filters = Filters::parse(&args.filter)?;
    let warning = match args.all {
        true => "This will remove all build cache.",
        false => "This will remove all dangling build cache.",
    };
    if !confirm(warning, args.force) {
        return Ok(ExitCode::FAILURE);
    }
    let pruned = elsewhere::prune(context, Unused::BuildCache { all: args.all }, &filters)?;
    if !pruned.build_cache.is_empty() {
        print(&format!("Deleted build cache objects:\n{}\n\n", pruned.build_cache.join("\n")));
    }
    print(&format!("Total reclaimed space: {}\n", human::size(pruned.reclaimed_bytes)));
    Ok(ExitCode::SUCCESS)
}
