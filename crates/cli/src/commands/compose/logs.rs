//! `compose logs`.

use compose::LogsOptions;

use super::report::Printer;
use super::{Compose, done};
use crate::commands::container::logs::WindowFlags;
use crate::commands::{Invocation, Outcome, parse};

/// View output from containers
#[derive(clap::Parser)]
struct Logs {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    #[command(flatten)]
    window: WindowFlags,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Logs = parse(&invocation)?;
    let options = args.window.resolve(&invocation.path, args.follow)?;
    let project = compose.load_or_named(&args.services)?;
    let options = LogsOptions { services: args.services, index: args.index, options };
    let printer = Printer::new(&compose.flags).with_logs(args.no_color, args.no_log_prefix, args.timestamps);
    compose.on(&project, &printer, |stack| stack.logs(&options)).map(done)
}
