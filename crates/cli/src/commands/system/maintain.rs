//! `system boot` and `system reset`.

use std::process::ExitCode;

use crate::commands::many::Report;
use crate::commands::prompt::confirm;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;

/// Start the containers that should run after a reboot
#[derive(clap::Parser)]
struct Boot {}

pub fn boot(context: &mut Context, invocation: Invocation) -> Outcome {
    let Boot {} = parse(&invocation)?;
    let mut report = Report::default();
    for (name, started) in context.engine()?.boot()? {
        report.add(started.map(|()| Some(name)));
    }
    report.outcome()
}

/// Remove everything hull made on this host
#[derive(clap::Parser)]
struct Reset {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub fn reset(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Reset = parse(&invocation)?;
    let roots = context.roots();
    let warning = format!(
        "This will remove every container, image, volume, network and all build cache in {}",
        roots.data.display()
    );
    if !confirm(&warning, args.force) {
        return Ok(ExitCode::FAILURE);
    }
    engine::Engine::open(&roots)?.reset()?;
    Ok(ExitCode::SUCCESS)
}
