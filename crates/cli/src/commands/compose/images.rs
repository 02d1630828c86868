//! `compose images`.

use std::process::ExitCode;

use engine::{time, view};
use serde_json::{Map, Value, json};

use super::Compose;
use super::report::Printer;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::print;
use crate::output::human;
use crate::output::listing::{self, Column, column};

/// List images used by the created containers
#[derive(clap::Parser)]
struct Images {
    /// Format the output. Values: [table | json]
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

const COLUMNS: &[Column] = &[
    column("CONTAINER", "ContainerName"),
    column("REPOSITORY", "Repository"),
    column("TAG", "Tag"),
    column("IMAGE ID", "ID"),
    column("SIZE", "Size"),
    column("CREATED", "Created"),
];

pub fn images(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Images = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    let images = compose.on(&project, &printer, |stack| stack.images(&args.services))?;
    if args.quiet {
        let mut ids: Vec<String> = images.into_iter().map(|image| image.image_id + "\n").collect();
        ids.sort();
        ids.dedup();
        print(&ids.concat());
        return Ok(ExitCode::SUCCESS);
    }
    let now = time::now_ns();
    let rows: Vec<Map<String, Value>> = images
        .into_iter()
        .map(|image| {
            // A colon before a slash belongs to a registry's port.
            let (repository, tag) = match image.image.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => (repository, tag),
                _ => (image.image.as_str(), "latest"),
            };
            let fields = [
                ("ContainerName", image.container.clone()),
                ("Service", image.service.clone()),
                ("Repository", repository.to_owned()),
                ("Tag", tag.to_owned()),
                ("ID", human::short_id(&image.image_id).to_owned()),
                ("Size", human::size(image.size_bytes)),
                ("Created", view::ago(image.created_ns, now)),
            ];
            fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
        })
        .collect();
    print(&listing::render(args.format.as_deref().unwrap_or_default(), COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}
