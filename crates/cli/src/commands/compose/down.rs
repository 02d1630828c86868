//! `compose down` and `compose rm`.

use std::process::ExitCode;

use compose::{DownOptions, RemoveImages, RmOptions};

use super::report::Printer;
use super::{Compose, done};
use crate::commands::{Invocation, Outcome, parse, prompt, usage};
use crate::context::note;

/// Stop and remove containers, networks
#[derive(clap::Parser)]
struct Down {
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images used by services. "local" remove only images that don't have a custom tag ("local"|"all")
    #[arg(long, value_name = "string")]
    rmi: Option<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes attached to containers
    #[arg(short, long)]
    volumes: bool,
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Down = parse(&invocation)?;
    let images = match args.rmi.as_deref() {
        None | Some("") => RemoveImages::None,
        Some("local") => RemoveImages::Local,
        Some("all") => RemoveImages::All,
        Some(other) => {
            return Err(usage(&invocation.path, format_args!("invalid value for --rmi: {other:?}")));
        }
    };
    let project = compose.load_or_named(&args.services)?;
    let options = DownOptions {
        services: args.services,
        remove_orphans: args.remove_orphans,
        volumes: args.volumes,
        images,
        timeout_s: args.timeout,
    };
    compose.on(&project, &Printer::new(&compose.flags), |stack| stack.down(&options)).map(done)
}

/// Removes stopped service containers
#[derive(clap::Parser)]
struct Rm {
    /// Don't ask to confirm removal
    #[arg(short, long)]
    force: bool,
    /// Stop the containers, if required, before removing
    #[arg(short, long)]
    stop: bool,
    /// Remove any anonymous volumes attached to containers
    #[arg(short, long)]
    volumes: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn rm(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Rm = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let options = RmOptions { services: args.services, stop: args.stop, volumes: args.volumes };
    compose.on(&project, &Printer::new(&compose.flags), |stack| {
        let going = stack.removable(&options)?;
        if going.is_empty() {
            note("No stopped containers");
            return Ok(ExitCode::SUCCESS);
        }
        let names: Vec<&str> = going.iter().map(compose::Instance::name).collect();
        if !prompt::confirm(&format!("Going to remove {}", names.join(", ")), args.force) {
            return Ok(ExitCode::FAILURE);
        }
        stack.rm(&options)?;
        Ok(ExitCode::SUCCESS)
    })
}
