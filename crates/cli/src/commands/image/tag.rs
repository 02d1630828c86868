//! `tag`.

use std::process::ExitCode;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;
use crate::flags::value::reference;

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
#[derive(clap::Parser)]
struct Args {
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let target = reference(&args.target)?;
    if let Some(remote) = context.remote()? {
        let call = remote.post(&["images", &args.source, "tag"]).query("repo", target.name());
        call.maybe("tag", target.tag()).done()?;
        return Ok(ExitCode::SUCCESS);
    }
    context.engine()?.image_tag(&args.source, &target)?;
    Ok(ExitCode::SUCCESS)
}
