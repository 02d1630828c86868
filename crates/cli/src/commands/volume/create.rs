//! `volume create`.

use std::process::ExitCode;

use engine::model::VolumeSpec;

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print_line};
use crate::flags::value::{labels, map};

/// Create a volume
#[derive(clap::Parser)]
struct Args {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Set metadata for a volume
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Specify volume name
    #[arg(long, value_name = "string", hide = true)]
    name: Option<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    volume: Option<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if args.name.is_some() && args.volume.is_some() {
        return Err(usage(
            &invocation.path,
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let spec = VolumeSpec {
        name: args.volume.or(args.name),
        driver: args.driver,
        driver_opts: map("-o, --opt", &args.opt)?,
        labels: labels(&args.label),
    };
    let volume = context.engine()?.volume_create(spec)?;
    print_line(&volume.name);
    Ok(ExitCode::SUCCESS)
}
