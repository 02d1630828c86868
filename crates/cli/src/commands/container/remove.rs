//! `rm`.

use engine::model::RemoveOptions;

use crate::commands::many::Report;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::Context;

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
        return Err(usage(&invocation.path, "--link is not supported: hull has no links"));
    }
    let options = RemoveOptions { force: args.force, volumes: args.volumes };
    let results = context.engine()?.remove_many(&args.containers, &options);
    let mut report = Report::default();
    for (name, result) in args.containers.iter().zip(results) {
        match result {
            // Docker: with --force, what is not there is as good as removed.
            Err(failure) if args.force && failure.class() == diag::Class::NotFound => {
                crate::context::note(diag::render(&failure));
            }
            result => report.add(result.map(|_| Some(name.clone()))),
        }
    }
    report.outcome()
}
