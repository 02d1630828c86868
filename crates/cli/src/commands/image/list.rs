//! `images` and `image inspect`.

use std::process::ExitCode;

use api::Version;
use engine::model::{Filters, ImageSummary};
use engine::{time, view};
use oci::image::Platform;
use serde_json::{Map, Value, json};

use super::tree;
use crate::commands::inspect::show;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print};
use crate::elsewhere::{self, ChoiceError};
use crate::flags::value::{FlagsError, optional};
use crate::output::human;
use crate::output::listing::{self, Column, column, list};

/// List images
#[derive(clap::Parser)]
struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// List what images have for each platform below them
    #[arg(long)]
    tree: bool,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const COLUMNS: &[Column] = &[
    column("REPOSITORY", "Repository"),
    column("TAG", "Tag"),
    column("DIGEST", "Digest"),
    column("IMAGE ID", "ID"),
    column("CREATED", "CreatedSince"),
    column("SIZE", "Size"),
];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    // There are no intermediate images: `--all` shows what is shown anyway.
    let args: Args = parse(&invocation)?;
    let mut filters = Filters::parse(&args.filter)?;
    if args.tree {
        let others = [
            (args.digests, "--digests"),
            (args.format.is_some(), "--format"),
            (args.no_trunc, "--no-trunc"),
            (args.quiet, "--quiet"),
        ];
        if let Some((_, other)) = others.into_iter().find(|(given, _)| *given) {
            return Err(FlagsError::Conflict { one: "--tree", other }.into());
        }
        if let Some(remote) = context.remote()? {
            return Err(ChoiceError::flag("--tree", remote).into());
        }
        return tree::show(context.engine()?, args.name.as_deref(), &filters);
    }
    let images: Vec<Value> = match context.remote()? {
        Some(remote) => {
            args.name.iter().for_each(|name| filters.add("reference", name));
            let call = remote.get(&["images", "json"]).flag("all", args.all);
            list(call.maybe("filters", elsewhere::filters(&filters)).json()?)
        }
        None => {
            let images = context.engine()?.image_list(args.name.as_deref(), &filters)?;
            warn_of_damaged(&images);
            images.iter().map(view::image_summary).collect()
        }
    };
    let mut rows: Vec<_> = images.iter().flat_map(|image| rows(image, !args.no_trunc)).collect();
    let format = match (args.format, args.quiet) {
        (None, true) => {
            rows.dedup_by(|a, b| a["ID"] == b["ID"]);
            "{{.ID}}".to_owned()
        }
        (format, _) => format.unwrap_or_default(),
    };
    let columns: Vec<Column> = COLUMNS
        .iter()
        .filter(|column| args.digests || column.field != "Digest")
        .map(|c| column(c.heading, c.field))
        .collect();
    print(&listing::render(&format, &columns, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// Tells which of `images` are damaged.
pub fn warn_of_damaged(images: &[ImageSummary]) {
    for image in images {
        if let Some(damage) = &image.damage {
            let name = image.tags.first().map_or_else(|| human::short_id(&image.id), String::as_str);
            warn_of_damage(&format!("{name}: {damage}"));
        }
    }
}

/// Tells of an image that can be listed, and no more than that.
pub fn warn_of_damage(damage: &str) {
    note(format_args!("WARNING: {damage}\n  hint: {}", image::HINT_DAMAGED));
}

/// One row for each name of the image, or one without a name.
fn rows(image: &Value, truncate: bool) -> Vec<Map<String, Value>> {
    const NONE: &str = "<none>";
    let texts = |key: &str| -> Vec<&str> {
        let texts = image[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Old engines write names that are none.
        texts.filter(|text| !text.starts_with(NONE)).collect()
    };
    let digests = texts("RepoDigests");
    let mut names: Vec<(&str, &str, &str)> = Vec::new();
    for tag in texts("RepoTags") {
        let (repository, tag) = tag.rsplit_once(':').unwrap_or((tag, NONE));
        let digest = digests.iter().find_map(|digest| digest.strip_prefix(repository)?.strip_prefix('@'));
        names.push((repository, tag, digest.unwrap_or(NONE)));
    }
    if names.is_empty() {
        match digests.first().and_then(|digest| digest.split_once('@')) {
            Some((repository, digest)) => names.push((repository, NONE, digest)),
            None => names.push((NONE, NONE, NONE)),
        }
    }
    let id = image["Id"].as_str().unwrap_or_default();
    let id = if truncate { human::short_id(id) } else { id };
    let created_ns = image["Created"].as_i64().unwrap_or_default().saturating_mul(1_000_000_000);
    let size = human::size(image["Size"].as_u64().unwrap_or_default());
    let containers = image["Containers"].as_i64().filter(|count| *count >= 0);
    let now = time::now_ns();
    let row = |(repository, tag, digest): (&str, &str, &str)| {
        let fields = [
            ("Repository", repository.to_owned()),
            ("Tag", tag.to_owned()),
            ("Digest", digest.to_owned()),
            ("ID", id.to_owned()),
            ("CreatedSince", view::ago(created_ns, now)),
            ("CreatedAt", human::date(created_ns)),
            ("Size", size.clone()),
            ("VirtualSize", size.clone()),
            ("SharedSize", "N/A".to_owned()),
            ("UniqueSize", "N/A".to_owned()),
            ("Containers", containers.map_or_else(|| "N/A".to_owned(), |count| count.to_string())),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    };
    names.into_iter().map(row).collect()
}

/// Display detailed information on one or more images
#[derive(clap::Parser)]
struct Inspect {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Inspect a specific platform of the multi-platform image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn inspect(context: &mut Context, invocation: Invocation) -> Outcome {
    let Inspect { format, platform, images } = parse(&invocation)?;
    let platform = optional("--platform", &platform, Platform::parse)?;
    if let Some(remote) = context.remote()? {
        let platform = elsewhere::platform(remote, platform.as_ref(), Version::minor(49))?;
        let call = |name: &str| remote.get(&["images", name, "json"]).maybe("platform", platform.as_ref());
        return show(&images, format.as_deref(), |name| Ok(call(name).json()?));
    }
    let engine = context.engine()?;
    show(&images, format.as_deref(), |name| Ok(view::image(&engine.image_inspect(name, platform.as_ref())?)))
}
