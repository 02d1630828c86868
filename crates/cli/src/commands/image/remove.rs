//! `rmi`, `image prune` and `builder prune`.

use diag::{Class, Failure};
use image::Removed;
use serde_json::Value;

use crate::commands::many::Report;
use crate::commands::prune::Choice;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, note, print};
use crate::elsewhere::Unused;
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
    let warning = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    Choice::new(&args.filter, args.force)?.prune(context, warning, &[Unused::Images { all: args.all }])
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
    let warning = match args.all {
        true => "This will remove all build cache.",
        false => "This will remove all dangling build cache.",
    };
    Choice::new(&args.filter, args.force)?.prune(context, warning, &[Unused::BuildCache { all: args.all }])
}
