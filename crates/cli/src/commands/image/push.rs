//! `push`.

use std::process::ExitCode;
use std::sync::Arc;

use api::Version;
use clap::ValueEnum;
use image::{Compress, CompressionMethod, Platforms, PushOptions, SilentPush};
use oci::Reference;
use oci::image::Platform;
use remote::Client;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::elsewhere::{self, ChoiceError};
use crate::flags::value::{FlagsError, optional, reference, wrong};
use crate::output::pull::Place;
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
    /// Skip image signing
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true",
          action = clap::ArgAction::Set, hide_possible_values = true, value_name = "bool")]
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
struct CompressionFlags {
    /// Compress layers that were made here with this (default gzip)
    #[arg(long, value_name = "gzip|zstd|none", hide_possible_values = true)]
    compression: Option<CompressionKind>,
    /// Level of compression: 1 to 9 for gzip (default 1), 1 to 19 for zstd (default 3)
    #[arg(long, value_name = "int")]
    compression_level: Option<i32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum CompressionKind {
    Gzip,
    Zstd,
    /// With an index of the files, for `run --pull lazy`
    #[value(name = "zstd:chunked")]
    ZstdChunked,
    None,
}

impl CompressionFlags {
    fn resolve(&self) -> Result<Compress, FlagsError> {
        let method = self.compression.map(|kind| match kind {
            CompressionKind::Gzip => Some(CompressionMethod::Gzip),
            CompressionKind::Zstd => Some(CompressionMethod::Zstd),
            CompressionKind::ZstdChunked => Some(CompressionMethod::ZstdChunked),
            CompressionKind::None => None,
        });
        compression(method, self.compression_level)
    }
}

/// What was asked for: nothing, no compression, or a method; and its level.
pub fn compression(
    method: Option<Option<CompressionMethod>>,
    level: Option<i32>,
) -> Result<Compress, FlagsError> {
    let method = match (method, level) {
        (None, None) => return Ok(Compress::Usual),
        (Some(None), None) => return Ok(Compress::Never),
        (Some(None), Some(_)) => {
            return Err(FlagsError::Conflict { one: "--compression none", other: "--compression-level" });
        }
        (Some(Some(method)), _) => method,
        (None, Some(_)) => CompressionMethod::Gzip,
    };
    let level = level.unwrap_or(method.default_level());
    if method.levels().contains(&level) {
        return Ok(Compress::With(method, level));
    }
    let expected = match method {
        CompressionMethod::Gzip => "must be between 1 and 9",
        CompressionMethod::Zstd | CompressionMethod::ZstdChunked => "must be between 1 and 19",
    };
    Err(wrong("--compression-level", &level.to_string(), expected))
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let name = reference(&args.name)?;
    if !args.disable_content_trust {
        let flag = "--disable-content-trust=false".to_owned();
        return Err(
            FlagsError::Unsupported { flag, instead: "sign what is at the registry with cosign" }.into()
        );
    }
    let has_tag = name.tag().is_some_and(|tag| args.name.ends_with(&format!(":{tag}")));
    if args.all_tags && (has_tag || name.digest().is_some()) {
        return Err(usage(&invocation.path, "tag can't be used with --all-tags/-a"));
    }
    let platform = optional("--platform", &args.platform, Platform::parse)?;
    if !args.all_tags && !has_tag && !args.quiet && name.digest().is_none() {
        print_line("Using default tag: latest");
    }
    match context.remote()? {
        Some(remote) => push_elsewhere(remote, &args, &name, platform)?,
        None => push_all(context, &args, &name, platform)?,
    }
    if args.quiet {
        print_line(if args.all_tags { name.repository() } else { name.familiar() });
    }
    Ok(ExitCode::SUCCESS)
}

fn push_all(
    context: &Context,
    args: &Args,
    name: &Reference,
    platform: Option<Platform>,
) -> Result<(), Ended> {
    let platforms = match platform {
        Some(platform) => Platforms::One(platform),
        None if args.all_platforms => Platforms::All,
        None => Platforms::Usual,
    };
    let options = PushOptions {
        platforms,
        compression: args.compression.resolve()?,
        progress: if args.quiet { Arc::new(SilentPush) } else { Arc::new(Lines::on_stdout()) },
    };
    let names = match args.all_tags {
        true => context.engine()?.images().tags_of(name)?,
        false => vec![name.clone()],
    };
    if !args.quiet {
        print_line(format_args!("The push refers to repository [{}]", name.name()));
    }
    for name in &names {
        let end = push(context, name, &options)?;
        if !args.quiet {
            print_line(end);
        }
    }
    Ok(())
}

fn push_elsewhere(
    client: &Client,
    args: &Args,
    name: &Reference,
    platform: Option<Platform>,
) -> Result<(), Ended> {
    let given = [
        (args.all_platforms, "--all-platforms"),
        (args.compression.compression.is_some(), "--compression"),
        (args.compression.compression_level.is_some(), "--compression-level"),
    ];
    if let Some((_, flag)) = given.into_iter().find(|(is_given, _)| *is_given) {
        return Err(ChoiceError::flag(flag, client).into());
    }
    if name.digest().is_some() {
        return Err(wrong("NAME", &args.name, "cannot push a digest reference").into());
    }
    let call =
        client.post(&["images", &name.name(), "push"]).maybe("tag", name.tag().filter(|_| !args.all_tags));
    let call = call.maybe("platform", elsewhere::platform(client, platform.as_ref(), Version::minor(46))?);
    let answer = call.header("x-registry-auth", &elsewhere::registry_auth(name.domain())?).stream()?;
    elsewhere::report(answer, if args.quiet { Place::Nowhere } else { Place::Stdout })
}

/// Pushes one reference; returns the line that says what the registry has now.
pub fn push(context: &Context, name: &Reference, options: &PushOptions) -> Result<String, Ended> {
    let pushed = context.engine()?.image_push(context.registry()?, name, options)?;
    if let Some(left_out) = pushed.note(name) {
        note(left_out);
    }
    let tag = name.tag().unwrap_or_default();
    Ok(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
}
