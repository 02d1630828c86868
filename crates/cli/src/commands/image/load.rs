//! `import`, `load` and `save`: images from archives and to archives.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::Version;
use clap::ValueEnum;
use diag::{Class, Diagnose};
use image::{Format, ImportOptions, SaveOptions};
use oci::Reference;
use remote::Client;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, print, print_line};
use crate::elsewhere::{self, ChoiceError};
use crate::flags::value::{FlagsError, optional, reference, wrong};
use crate::output::file::Output;
use crate::output::pull::Place;

/// Import the contents from a tarball to create a filesystem image
#[derive(clap::Parser)]
struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(value_name = "file|-")]
    source: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

pub fn import(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Import = parse(&invocation)?;
    if args.source.starts_with("http://") || args.source.starts_with("https://") {
        let instead = "download the archive first, then import the file";
        return Err(
            FlagsError::Unsupported { flag: format!("importing from {}", args.source), instead }.into()
        );
    }
    let reference = args.reference.as_deref().map(reference).transpose()?;
    let platform = args.platform.as_deref().map(platform).transpose()?;
    let mut input: Box<dyn Read + Send> = match args.source.as_str() {
        "-" => standard_input(&invocation.path)?,
        path => open(Path::new(path))?,
    };
    let options = ImportOptions {
        changes: args.change,
        message: args.message.unwrap_or_else(|| format!("Imported from {}", args.source)),
        reference,
        platform,
    };
    if let Some(remote) = context.remote()? {
        return import_elsewhere(remote, input, &options);
    }
    let image = context.engine()?.image_import(&mut input, &options);
    let image = image.map_err(ArchiveError::of("import", Some(args.source.as_ref())))?;
    print_line(image.id);
    Ok(ExitCode::SUCCESS)
}

fn import_elsewhere(client: &Client, input: Box<dyn Read + Send>, options: &ImportOptions) -> Outcome {
    let call = client.post(&["images", "create"]).query("fromSrc", "-").query("message", &options.message);
    let reference = options.reference.as_ref();
    let call =
        call.maybe("repo", reference.map(Reference::name)).maybe("tag", reference.and_then(Reference::tag));
    let call = options.changes.iter().fold(call, |call, change| call.query("changes", change));
    elsewhere::report(call.maybe("platform", options.platform.as_ref()).upload(input)?, Place::Stdout)?;
    Ok(ExitCode::SUCCESS)
}

/// `os/architecture[/variant]`.
fn platform(text: &str) -> Result<oci::image::Platform, FlagsError> {
    let parts: Vec<&str> = text.split('/').collect();
    let ([os, architecture] | [os, architecture, _]) = parts.as_slice() else {
        return Err(wrong("--platform", text, "must be os/architecture[/variant]"));
    };
    Ok(oci::image::Platform {
        os: (*os).to_owned(),
        architecture: (*architecture).to_owned(),
        variant: parts.get(2).map_or_else(String::new, |variant| (*variant).to_owned()),
        ..oci::image::Platform::default()
    })
}

/// An archive that became no image.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {archive}")]
struct ArchiveError<E> {
    what: &'static str,
    archive: String,
    source: E,
}

impl<E> ArchiveError<E> {
    /// Of the archive at `path`, by default standard input.
    fn of(what: &'static str, path: Option<&Path>) -> impl FnOnce(E) -> Self {
        let archive = match path {
            Some(path) if path != "-" => path.display().to_string(),
            _ => "the archive on standard input".to_owned(),
        };
        move |source| Self { what, archive, source }
    }
}

impl<E: Diagnose> Diagnose for ArchiveError<E> {
    fn class(&self) -> Class {
        self.source.class()
    }

    fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>, FlagsError> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(FlagsError::Read { path: path.into(), source }),
    }
}

/// An archive on standard input; a terminal has none.
pub fn standard_input(path: &str) -> Result<Box<dyn Read + Send>, Ended> {
    match io::stdin().is_terminal() {
        true => Err(usage(path, "requested load from stdin, but stdin is a terminal")),
        false => Ok(Box::new(io::stdin())),
    }
}

/// Load an image from a tar archive or STDIN
#[derive(clap::Parser)]
struct Load {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<PathBuf>,
    /// Load the image for this platform alone of one for several
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

pub fn load(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Load = parse(&invocation)?;
    let platform = optional("--platform", &args.platform, oci::image::Platform::parse)?;
    let mut input = match &args.input {
        Some(path) if path.is_dir() => layout(path)?,
        Some(path) => open(path)?,
        None => standard_input(&invocation.path)?,
    };
    if let Some(remote) = context.remote()? {
        let platform = elsewhere::platform(remote, platform.as_ref(), Version::minor(48))?;
        let call = remote.post(&["images", "load"]).query("quiet", 1).maybe("platform", platform);
        elsewhere::said(call.upload(input)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let images = context.engine()?.image_load(&mut input, platform.as_ref());
    for loaded in images.map_err(ArchiveError::of("load", args.input.as_deref()))? {
        if loaded.references.is_empty() {
            print(&format!("Loaded image ID: {}\n", loaded.image));
        }
        for reference in loaded.references {
            print(&format!("Loaded image: {}\n", reference.familiar()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn layout(path: &Path) -> Result<Box<dyn Read + Send>, FlagsError> {
    match image::read_layout(path) {
        Ok(archive) => Ok(Box::new(archive)),
        Err(source) => Err(FlagsError::Read { path: path.into(), source }),
    }
}

/// Save one or more images to a tar archive (streamed to STDOUT by default)
#[derive(clap::Parser)]
struct Save {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    /// Kind of archive
    #[arg(
        long,
        value_name = "docker-archive|oci-archive|oci-dir",
        default_value = "docker-archive",
        hide_possible_values = true
    )]
    format: SaveFormat,
    /// Save the image for this platform alone of one for several
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SaveFormat {
    DockerArchive,
    OciArchive,
    OciDir,
}

pub fn save(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Save = parse(&invocation)?;
    let platform = optional("--platform", &args.platform, oci::image::Platform::parse)?;
    if let Some(remote) = context.remote()? {
        if !matches!(args.format, SaveFormat::DockerArchive) {
            return Err(ChoiceError::flag("--format", remote).into());
        }
        let output = Output::new(args.output.as_deref(), &invocation.path)?;
        let platform = elsewhere::platform(remote, platform.as_ref(), Version::minor(48))?;
        let call = remote.get(&["images", "get"]).maybe("platform", platform);
        let call = args.images.iter().fold(call, |call, image| call.query("names", image));
        return output.copy(call.stream()?);
    }
    let engine = context.engine()?;
    let format = match args.format {
        SaveFormat::DockerArchive => Format::DockerArchive,
        SaveFormat::OciArchive => Format::OciArchive,
        SaveFormat::OciDir => {
            let Some(directory) = &args.output else {
                return Err(usage(&invocation.path, "--format oci-dir needs the -o flag"));
            };
            let options = SaveOptions { platform, ..SaveOptions::default() };
            engine.image_save_layout(&args.images, directory, &options)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let output = Output::new(args.output.as_deref(), &invocation.path)?;
    let options = SaveOptions { format, platform, ..SaveOptions::default() };
    output.write(|file| engine.image_save(&args.images, file, &options).map_err(Into::into))
}
