//! `network rm` and `network prune`.

use std::process::ExitCode;

use diag::{Class, Failure};
use engine::model::Filters;

use crate::commands::many::each;
use crate::commands::prompt::confirm;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};

/// Remove one or more networks
#[derive(clap::Parser)]
struct Args {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let engine = context.engine()?;
    each(&args.networks, |name| match engine.network_remove(name).map_err(Failure::from) {
        Err(failure) if args.force && failure.class() == Class::NotFound => Ok(()),
        result => result.map(drop),
    })
}

/// Remove all unused networks
#[derive(clap::Parser)]
struct Prune {
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
    if !confirm("This will remove all custom networks not used by at least one container.", args.force) {
        return Ok(ExitCode::FAILURE);
    }
    let pruned = context.engine()?.network_prune(&filters)?;
    if !pruned.networks.is_empty() {
        print(&format!("Deleted Networks:\n{}\n\n", pruned.networks.join("\n")));
    }
    Ok(ExitCode::SUCCESS)
}
