//! `image mount` and `image unmount`.

use std::path::PathBuf;
use std::process::ExitCode;

use diag::Failure;
use oci::Reference;

use crate::commands::many::each;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print_line};

/// Mount an image's root filesystem read-only and print where; without an image, list what is mounted
#[derive(clap::Parser)]
struct Mount {
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    /// Where to mount it (default: a directory of hull's)
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

pub fn mount(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Mount = parse(&invocation)?;
    let engine = context.engine()?;
    if let Some(image) = &args.image {
        print_line(engine.image_mount(image, args.directory.as_deref())?.display());
        return Ok(ExitCode::SUCCESS);
    }
    for mount in engine.image_mounts() {
        let listed = engine.images().look_up(&mount.image.hex())?;
        let name = listed.references.first().map_or_else(|| mount.image.short(), Reference::familiar);
        print_line(format_args!("{name} {}", mount.path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Unmount images
#[derive(clap::Parser)]
struct Unmount {
    /// Unmount all images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Take mounts out of sight that somebody uses
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn unmount(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Unmount = parse(&invocation)?;
    if args.images.is_empty() && !args.all {
        return Err(usage(&invocation.path, "name an image, or unmount all with --all"));
    }
    let engine = context.engine()?;
    let images = match args.all {
        true => engine.image_mounts().iter().map(|mount| mount.image.hex()).collect(),
        false => args.images,
    };
    each(&images, |image| engine.image_unmount(image, args.force).map_err(Failure::from))
}
