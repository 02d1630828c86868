//! `rmi`, `image prune` and `builder prune`.

use std::process::ExitCode;

use diag::{Class, Failure};
use engine::model::{Filters, Pruned};
use image::Removed;

use super::list::warn_of_damage;
use crate::commands::many::Report;
use crate::commands::prompt::confirm;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print};
use crate::output::human;

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
    let engine = context.engine()?;
    let mut report = Report::default();
    for name in &args.images {
        match engine.image_remove(name, args.force).map_err(Failure::from) {
            Ok(removed) => removed.iter().for_each(|line| print(&line_of(line))),
            Err(failure) if args.force && failure.class() == Class::NotFound => note(diag::render(&failure)),
            Err(failure) => report.failure(&failure),
        }
    }
    report.outcome()
}

fn line_of(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(reference) => format!("Untagged: {}\n", reference.familiar()),
        Removed::Deleted(digest) => format!("Deleted: {digest}\n"),
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
    let pruned = context.engine()?.prune_images(&filters, args.all)?;
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
    let pruned = context.engine()?.prune_build_cache(&filters, args.all)?;
    if !pruned.build_cache.is_empty() {
        print(&format!("Deleted build cache objects:\n{}\n\n", pruned.build_cache.join("\n")));
    }
    print(&format!("Total reclaimed space: {}\n", human::size(pruned.reclaimed_bytes)));
    Ok(ExitCode::SUCCESS)
}
