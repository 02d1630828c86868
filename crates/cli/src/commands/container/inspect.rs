//! `container inspect`; see [`crate::commands::inspect`] for any kind of object.

use crate::commands::inspect::{Kind, of_kind};
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;

/// Display detailed information on one or more containers
#[derive(clap::Parser)]
struct Args {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    of_kind(context, Kind::Container, &args.containers, args.format.as_deref(), args.size)
}
