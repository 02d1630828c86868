//! `create`: a container that is not started yet.

use std::process::ExitCode;

use super::run::CidFile;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};
use crate::elsewhere;
use crate::flags::container::ContainerFlags;

/// Create a new container
#[derive(clap::Parser)]
#[command(disable_help_flag = true)]
struct Args {
    #[command(flatten)]
    flags: ContainerFlags,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let Args { flags } = parse(&invocation)?;
    flags.refuse_unknown::<Args>(&invocation.path)?;
    let cidfile = flags.cidfile.as_deref().map(CidFile::create).transpose()?;
    let image = flags.image()?;
    let spec = flags.resolve().map_err(crate::commands::Ended::plain)?;
    if let Some(remote) = context.remote()? {
        let id = elsewhere::create(remote, &spec, &image)?;
        cidfile.map(|file| file.keep(&id)).transpose()?;
        print_line(id);
        return Ok(ExitCode::SUCCESS);
    }
    let engine = context.engine()?;
    image.ensure(engine, &spec).map_err(Ended::plain)?;
    let created = engine.create(spec)?;
    created.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
    cidfile.map(|file| file.keep(created.id.as_str())).transpose()?;
    print_line(&created.id);
    Ok(ExitCode::SUCCESS)
}
