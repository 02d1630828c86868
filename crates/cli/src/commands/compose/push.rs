//! `compose push`.

use compose::PushOptions;

use super::report::Printer;
use super::{Compose, done};
use crate::commands::{Invocation, Outcome, parse};

/// Push service images
#[derive(clap::Parser)]
struct Args {
    /// Push what it can and ignores images with push failures
    #[arg(long)]
    ignore_push_failures: bool,
    /// Also push images of services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Push without printing progress information
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let project = compose.load(&args.services)?;
    let options = PushOptions {
        services: args.services,
        include_deps: args.include_deps,
        ignore_failures: args.ignore_push_failures,
    };
    let printer = Printer::new(&compose.flags).quiet(args.quiet);
    compose.on(&project, &printer, |stack| stack.push(&options)).map(done)
}
