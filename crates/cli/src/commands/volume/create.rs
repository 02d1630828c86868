//! `volume create`.

use std::process::ExitCode;

use engine::model::VolumeSpec;
use serde_json::json;

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
    if let Some(remote) = context.remote()? {
        let body = json!({"Name": spec.name.unwrap_or_default(), "Driver": spec.driver.unwrap_or_default(),
                          "DriverOpts": spec.driver_opts, "Labels": spec.labels});
        let created = remote.post(&["volumes", "create"]).body(&body).json()?;
        print_line(created["Name"].as_str().unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    let volume = context.engine()?.volume_create(spec)?;
    print_line(&volume.name);
    Ok(ExitCode::SUCCESS)
}
