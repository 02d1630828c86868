//! `logout`.

use std::process::ExitCode;

use registry::credentials::{DockerConfig, host, key};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print_line};

/// Log out from a registry, Docker Hub if no server is specified
#[derive(clap::Parser)]
struct Args {
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub fn run(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let domain = host(args.server.as_deref().unwrap_or_default());
    print_line(format_args!("Removing login credentials for {}", key(domain)));
    DockerConfig::from_environment().erase(domain)?;
    Ok(ExitCode::SUCCESS)
}
