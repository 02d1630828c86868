//! `rm` and `container prune`.

use diag::Failure;
use engine::model::RemoveOptions;

use crate::commands::many::Report;
use crate::commands::prune::Choice;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, note};
use crate::elsewhere::Unused;

/// Remove one or more containers
#[derive(clap::Parser)]
struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link: not supported
    #[arg(short, long, hide = true)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if args.link {
        return Err(usage(&invocation.path, "--link is not supported: the default network has no links"));
    }
    let options = RemoveOptions { force: args.force, volumes: args.volumes };
    let results: Vec<Result<(), Failure>> = match context.remote()? {
        Some(remote) => {
            let call =
                |name| remote.delete(&["containers", name]).flag("force", args.force).flag("v", args.volumes);
            args.containers.iter().map(|name| Ok(call(name).done()?)).collect()
        }
        None => {
            let removed = context.engine()?.remove_many(&args.containers, &options);
            removed.into_iter().map(|removed| removed.map(drop)).collect()
        }
    };
    let mut report = Report::default();
    for (name, result) in args.containers.iter().zip(results) {
        match result {
            // Docker: with --force, what is not there is as good as removed.
            Err(failure) if args.force && failure.class() == diag::Class::NotFound => {
                note(diag::render(&failure));
            }
            result => report.add(result.map(|()| Some(name.clone()))),
        }
    }
    report.outcome()
}

/// Remove all stopped containers
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
    let warning = "This will remove all stopped containers.";
    Choice::new(&args.filter, args.force)?.prune(context, warning, &[Unused::Containers])
}
