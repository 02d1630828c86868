//! `volume rm` and `volume prune`.

use crate::commands::many::each;
use crate::commands::prune::Choice;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;
use crate::elsewhere::Unused;

/// Remove one or more volumes
#[derive(clap::Parser)]
struct Args {
    /// Do not error if the volume does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let call = |name: &str| remote.delete(&["volumes", name]).flag("force", args.force);
        return each(&args.volumes, |name| Ok(call(name).done()?));
    }
    let engine = context.engine()?;
    each(&args.volumes, |name| Ok(engine.volume_remove(name, args.force)?))
}

/// Remove unused local volumes
#[derive(clap::Parser)]
struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub fn prune(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Prune = parse(&invocation)?;
    let warning = match args.all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    Choice::new(&args.filter, args.force)?.prune(context, warning, &[Unused::Volumes { all: args.all }])
}
