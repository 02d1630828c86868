//! `image copy`.

use std::process::ExitCode;
use std::sync::Arc;

use image::{CopyOptions, Place, Platforms, SilentPush};
use oci::image::Platform;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print_line};
use crate::flags::value::{FlagsError, optional};
use crate::output::push::Lines;

/// Copy an image between registries, OCI layouts, archives, other hosts and the images here
#[derive(clap::Parser)]
#[command(after_help = PLACES)]
struct Args {
    /// Copy the images for all platforms
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Copy the image for one platform (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SOURCE")]
    source: String,
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

const PLACES: &str = "Places:
  NAME, hull://NAME             the images here
  docker://NAME                 a registry
  oci:DIRECTORY[:NAME]          an OCI layout
  oci-archive:FILE[:NAME]       an OCI layout in a tar archive
  docker-archive:FILE[:NAME]    what `docker save` writes
  ssh://[USER@]HOST[:PORT]/NAME the images on another host, by its ssh and hull";

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let place = |text: &str| {
        text.parse::<Place>()
            .map_err(|source| FlagsError::Argument { value: text.to_owned(), source: source.into() })
    };
    let (from, to) = (place(&args.source)?, place(&args.destination)?);
    let platforms = match optional("--platform", &args.platform, Platform::parse)? {
        Some(platform) => Platforms::One(platform),
        None if args.all_platforms => Platforms::All,
        None => Platforms::Usual,
    };
    let options = CopyOptions {
        platforms,
        progress: if args.quiet { Arc::new(SilentPush) } else { Arc::new(Lines::of_copy()) },
    };
    let copied = context.engine()?.image_copy(context.registry()?, (&from, &to), &options)?;
    print_line(match args.quiet {
        true => copied.digest.to_string(),
        false => format!("digest: {} size: {}", copied.digest, copied.size),
    });
    Ok(ExitCode::SUCCESS)
}
