//! Lists of manifests: the commands of `hull manifest`.

use std::process::ExitCode;

use diag::Failure;
use image::{ListEntry, Listed, ManifestLists};
use oci::image::Platform;
use oci::{Reference, media};
use registry::{Client, ClientOptions, RegistryError};

use super::many::Report;
use super::{Command, Invocation, Outcome, Section, homeless as row, parse};
use crate::context::{Context, print_line};
use crate::flags::value::reference;
use crate::output::json::indented;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("annotate", Section::Plain, "Add additional information to a local image manifest", annotate),
    row(
        "create",
        Section::Plain,
        "Create a local manifest list for annotating and pushing to a registry",
        create,
    ),
    row("inspect", Section::Plain, "Display an image manifest, or manifest list", inspect),
    row("push", Section::Plain, "Push a manifest list to a repository", push),
    row("rm", Section::Plain, "Delete one or more manifest lists from local storage", remove),
];

/// Create a local manifest list for annotating and pushing to a registry
#[derive(clap::Parser)]
struct Create {
    /// Amend an existing manifest list
    #[arg(short, long)]
    amend: bool,
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    #[arg(required = true, value_name = "MANIFEST")]
    manifests: Vec<String>,
}

fn create(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Create = parse(&invocation)?;
    let list = reference(&args.list)?;
    let manifests = args.manifests.iter().map(|name| reference(name)).collect::<Result<Vec<_>, _>>()?;
    let client = client(args.insecure, manifests.iter())?;
    ManifestLists::from_environment()?.create(&client, &list, &manifests, args.amend)?;
    print_line(format_args!("Created manifest list {}", list.canonical()));
    Ok(ExitCode::SUCCESS)
}

/// Add additional information to a local image manifest
#[derive(clap::Parser)]
struct Annotate {
    /// Set architecture
    #[arg(long, default_value = "", hide_default_value = true, value_name = "string")]
    arch: String,
    /// Set operating system
    #[arg(long, default_value = "", hide_default_value = true, value_name = "string")]
    os: String,
    /// Set operating system feature
    #[arg(long, value_delimiter = ',', value_name = "strings")]
    os_features: Vec<String>,
    /// Set operating system version
    #[arg(long, default_value = "", hide_default_value = true, value_name = "string")]
    os_version: String,
    /// Set architecture variant
    #[arg(long, default_value = "", hide_default_value = true, value_name = "string")]
    variant: String,
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    #[arg(value_name = "MANIFEST")]
    manifest: String,
}

fn annotate(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Annotate = parse(&invocation)?;
    let (list, manifest) = (reference(&args.list)?, reference(&args.manifest)?);
    let platform = Platform {
        architecture: args.arch,
        os: args.os,
        os_version: args.os_version,
        os_features: args.os_features,
        variant: args.variant,
        ..Platform::default()
    };
    ManifestLists::from_environment()?.annotate(&list, &manifest, &platform)?;
    Ok(ExitCode::SUCCESS)
}

/// Display an image manifest, or manifest list
#[derive(clap::Parser)]
struct Inspect {
    /// Allow communication with an insecure registry
    #[arg(long)]
    insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short, long)]
    verbose: bool,
    /// A list or a manifest; followed by a manifest, the list that this is of
    #[arg(value_name = "MANIFEST_LIST|MANIFEST")]
    name: String,
    #[arg(value_name = "MANIFEST")]
    manifest: Option<String>,
}

fn inspect(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Inspect = parse(&invocation)?;
    let name = reference(&args.name)?;
    let manifest = args.manifest.as_deref().map(reference).transpose()?;
    let lists = ManifestLists::from_environment()?;
    let (json, unit) = match manifest {
        Some(manifest) => {
            let entry = lists.get(&name, &manifest)?;
            (if args.verbose { entry.json()? } else { text(&entry.bytes) }, "\t")
        }
        None if args.verbose => match lists.entries(&client(args.insecure, [&name])?, &name)? {
            Listed::Manifest(entry) => (entry.json()?, "\t"),
            Listed::List(entries) => {
                let entries = entries.iter().map(ListEntry::json).collect::<Result<Vec<_>, _>>()?;
                (format!("[{}]", entries.join(",")), "\t")
            }
        },
        None => {
            let (media_type, bytes) = lists.document(&client(args.insecure, [&name])?, &name)?;
            (text(&bytes), if media::is_index(&media_type) { "   " } else { "\t" })
        }
    };
    print_line(indented(&json, unit));
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Push a manifest list to a repository
#[derive(clap::Parser)]
struct Push {
    /// Allow push to an insecure registry
    #[arg(long)]
    insecure: bool,
    /// Remove the local manifest list after push
    #[arg(short, long)]
    purge: bool,
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
}

fn push(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Push = parse(&invocation)?;
    let list = reference(&args.list)?;
    let lists = ManifestLists::from_environment()?;
    let pushed = lists.push(&client(args.insecure, [&list])?, &list)?;
    for brought in pushed.brought {
        let digest = brought.digest().expect("manifests are brought by their digests");
        print_line(format_args!("Pushed ref {} with digest: {digest}", brought.canonical()));
    }
    print_line(pushed.digest);
    if args.purge {
        lists.remove(&list)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Delete one or more manifest lists from local storage
#[derive(clap::Parser)]
struct Remove {
    #[arg(required = true, value_name = "MANIFEST_LIST")]
    lists: Vec<String>,
}

fn remove(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Remove = parse(&invocation)?;
    let lists = ManifestLists::from_environment()?;
    let mut report = Report::default();
    for name in &args.lists {
        let removed = reference(name).map_err(Failure::from).and_then(|list| Ok(lists.remove(&list)?));
        report.add(removed.map(|()| None));
    }
    report.outcome()
}

/// A client for the registries of `names`, which need not prove who they are when `insecure` is said.
fn client<'a>(
    insecure: bool,
    names: impl IntoIterator<Item = &'a Reference>,
) -> Result<Client, RegistryError> {
    let mut options = ClientOptions::from_environment();
    if insecure {
        options.hosts.insecure.extend(names.into_iter().map(|name| name.domain().to_owned()));
    }
    Client::new(options)
}
