//! `pull`.

use std::process::ExitCode;

use image::PullOptions;
use oci::Reference;
use oci::image::Platform;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};
use crate::flags::value::{FlagsError, optional, reference};
use crate::output::pull::{Place, progress};

/// Download an image from a registry
#[derive(clap::Parser)]
struct Args {
    /// Skip image verification
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_name = "bool")]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let name = reference(&args.name)?.pullable();
    let platform = optional("--platform", &args.platform, Platform::parse)?;
    if !args.disable_content_trust {
        let flag = "--disable-content-trust=false".to_owned();
        return Err(
            FlagsError::Unsupported { flag, instead: "pull by digest to get exactly what you name" }.into()
        );
    }
    let place = if args.quiet { Place::Nowhere } else { Place::Stdout };
    if name.digest().is_none() && !has_tag(&args.name, &name) {
        place.say("Using default tag: latest");
    }
    pull(context, &name, platform, place)?;
    print_line(name.canonical());
    Ok(ExitCode::SUCCESS)
}

fn has_tag(text: &str, reference: &Reference) -> bool {
    reference.tag().is_some_and(|tag| text.ends_with(&format!(":{tag}")))
}

/// Pulls one reference and says how that ended.
fn pull(
    context: &Context,
    name: &Reference,
    platform: Option<Platform>,
    place: Place,
) -> Result<(), crate::commands::Ended> {
    let options = PullOptions { platform: platform.clone(), progress: progress(place) };
    let pulled = context.engine()?.image_pull(name, &options)?;
    if let (Some(actual), Some(wanted)) = (pulled.other_platform, platform) {
        note(format!(
            "WARNING: image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {actual}",
            name.canonical()
        ));
    }
    Ok(())
}
