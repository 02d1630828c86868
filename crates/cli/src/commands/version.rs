//! `version`: what this binary is.

use std::process::ExitCode;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};

/// Show the hull version information
#[derive(clap::Parser)]
struct Args {}

pub fn run(_context: &mut Context, invocation: Invocation) -> Outcome {
    let Args {} = parse(&invocation)?;
    print(&format!("hull version {}\n", env!("CARGO_PKG_VERSION")));
    Ok(ExitCode::SUCCESS)
}
