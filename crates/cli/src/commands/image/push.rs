//! `push`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use image::{Compress, CompressionMethod, Platforms, PushOptions, SilentPush};
use oci::Reference;
use oci::image::Platform;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::flags::value::{FlagsError, optional, reference, wrong};
use crate::output::push::Lines;

/// Upload an image to a registry
#[derive(clap::Parser)]
struct Args {
    /// Push all images of a multi-platform image that are here
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    compression: CompressionFlags,
    /// Skip image signing: it always is
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_name = "bool")]
    disable_content_trust: bool,
    /// Push the image of one platform of a multi-platform image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

/// How layers that are kept uncompressed are sent.
#[derive(clap::Args)]
pub struct CompressionFlags {
    /// Compress layers that were made here with this (default gzip)
    #[arg(long, value_name = "gzip|zstd|none", hide_possible_values = true)]
    compression: Option<CompressionKind>,
    /// Level of compression: 1 to 9 for gzip (default 6), 1 to 19 for zstd (default 3)
    #[arg(long, value_name = "int")]
    compression_level: Option<i32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum CompressionKind {
    Gzip,
    Zstd,
    None,
}

impl CompressionFlags {
    pub fn resolve(&self) -> Result<Compress, FlagsError> {
        let method = match (self.compression, self.compression_level) {
            (None, None) => return Ok(Compress::Usual),
            (Some(CompressionKind::None), None) => return Ok(Compress::Never),
            (Some(CompressionKind::None), Some(_)) => {
                return Err(FlagsError::Conflict { one: "--compression none", other: "--compression-level" });
            }
            (Some(CompressionKind::Zstd), _) => CompressionMethod::Zstd,
            (Some(CompressionKind::Gzip) | None, _) => CompressionMethod::Gzip,
        };
        let level = self.compression_level.unwrap_or(method.default_level());
        match method.levels().contains(&level) {
            true => Ok(Compress::With(method, level)),
            false => {
                let expected = match method {
                    CompressionMethod::Gzip => "must be between 1 and 9",
                    CompressionMethod::Zstd => "must be between 1 and 19",
                };
                Err(wrong("--compression-level", &level.to_string(), expected))
            }
        }
    }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let name = reference(&args.name)?;
    let has_tag = name.tag().is_some_and(|tag| args.name.ends_with(&format!(":{tag}")));
    if args.all_tags && (has_tag || name.digest().is_some()) {
        return Err(usage(&invocation.path, "tag can't be used with --all-tags/-a"));
    }
    let platform = optional("--platform", &args.platform, Platform::parse)?;
    let platforms = match platform {
        Some(platform) => Platforms::One(platform),
        None if args.all_platforms => Platforms::All,
        None => Platforms::Usual,
    };
    let options = PushOptions {
        platforms,
        compression: args.compression.resolve()?,
        progress: if args.quiet { Arc::new(SilentPush) } else { Arc::new(Lines) },
    };
    let names = match args.all_tags {
        true => context.engine()?.images().tags_of(&name)?,
        false => vec![name.clone()],
    };
    if !args.quiet {
        if !args.all_tags && !has_tag && name.digest().is_none() {
            print_line("Using default tag: latest");
        }
        print_line(format_args!("The push refers to repository [{}]", name.name()));
    }
    names.iter().try_for_each(|name| push(context, name, &options, args.quiet))?;
    if args.quiet {
        print_line(if args.all_tags { name.repository() } else { name.familiar() });
    }
    Ok(ExitCode::SUCCESS)
}

/// Pushes one reference and says what the registry has now.
pub fn push(context: &Context, name: &Reference, options: &PushOptions, quiet: bool) -> Result<(), Ended> {
    let pushed = context.engine()?.images().push(context.registry()?, name, options)?;
    if !quiet {
        let tag = name.tag().unwrap_or_default();
        print_line(format_args!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
    }
    if pushed.left_out > 0 {
        let images = if pushed.left_out == 1 { "image" } else { "images" };
        note(format_args!(
            "NOTE: {} {images} of other platforms that {name} names elsewhere were not pushed: they are not here",
            pushed.left_out
        ));
    }
    Ok(())
}
