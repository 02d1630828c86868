//! `pull`.

use std::process::ExitCode;

use image::PullOptions;
use oci::Reference;
use oci::image::Platform;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::elsewhere::{self, ChoiceError};
use crate::flags::value::{FlagsError, optional, reference};
use crate::output::pull::{Place, progress};

/// Download an image from a registry
#[derive(clap::Parser)]
struct Args {
    /// Keep what the image has for other platforms, too, to push or save it
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image verification
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true",
          action = clap::ArgAction::Set, hide_possible_values = true, value_name = "bool")]
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
    let is_named = name.digest().is_some() || has_tag(&args.name, &name);
    if args.all_tags && is_named {
        return Err(usage(&invocation.path, "tag can't be used with --all-tags/-a"));
    }
    if !args.all_tags && !is_named {
        place.say("Using default tag: latest");
    }
    let pulled = if args.all_tags { name.name() } else { name.canonical() };
    match context.remote()? {
        Some(remote) if args.all_platforms => {
            return Err(ChoiceError::flag("--all-platforms", remote).into());
        }
        Some(remote) => {
            elsewhere::pull(remote, &pulled, name.domain(), args.platform.as_deref(), place)?;
        }
        None => {
            let names = match args.all_tags {
                true => {
                    let tags = context.registry()?.tags(&name)?;
                    let tagged = tags.iter().map(|tag| name.with_tag(tag));
                    tagged.collect::<Result<_, _>>().map_err(FlagsError::from)?
                }
                false => vec![name],
            };
            for name in &names {
                let platform = platform.clone();
                let (all_platforms, progress) = (args.all_platforms, progress(place));
                let options = PullOptions { platform, all_platforms, progress, ..PullOptions::default() };
                pull(context, name, &options)?;
            }
        }
    }
    print_line(pulled);
    Ok(ExitCode::SUCCESS)
}

fn has_tag(text: &str, reference: &Reference) -> bool {
    reference.tag().is_some_and(|tag| text.ends_with(&format!(":{tag}")))
}

/// Pulls one reference, and warns when it is not what was asked for.
fn pull(context: &Context, name: &Reference, options: &PullOptions) -> Result<(), Ended> {
    let pulled = context.engine()?.image_pull(context.registry()?, name, options)?;
    if let (Some(actual), Some(wanted)) = (pulled.other_platform, &options.platform) {
        note(format!(
            "WARNING: image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {actual}",
            name.canonical()
        ));
    }
    Ok(())
}
