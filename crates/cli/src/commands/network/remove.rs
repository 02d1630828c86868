//! `network rm` and `network prune`.

use diag::{Class, Failure};

use crate::commands::many::each;
use crate::commands::prune::Choice;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;
use crate::elsewhere::Unused;

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
    let forgiving = |removed: Result<(), Failure>| match removed {
        Err(failure) if args.force && failure.class() == Class::NotFound => Ok(()),
        removed => removed,
    };
    if let Some(remote) = context.remote()? {
        return each(&args.networks, |name| {
            forgiving(remote.delete(&["networks", name]).done().map_err(Failure::from))
        });
    }
    let engine = context.engine()?;
    each(&args.networks, |name| forgiving(engine.network_remove(name).map(drop).map_err(Failure::from)))
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
    let warning = "This will remove all custom networks not used by at least one container.";
    Choice::new(&args.filter, args.force)?.prune(context, warning, &[Unused::Networks])
}
