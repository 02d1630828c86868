//! `image tree` and `images --tree`.

use std::process::ExitCode;

use engine::Engine;
use engine::model::Filters;

use super::list::warn_of_damaged;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::output::{human, table};

/// List images with what they have for each platform
#[derive(clap::Parser)]
struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    show(context.engine()?, args.name.as_deref(), &Filters::parse(&args.filter)?)
}

/// Prints the images that match, each with its names above each other and its platforms below.
pub fn show(engine: &Engine, name: Option<&str>, filters: &Filters) -> Outcome {
    let mut rows = vec![["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "USED"].map(str::to_owned).to_vec()];
    let row = |name: String, id: &str, content: u64, unpacked: u64, is_used: bool| {
        let used = if is_used { "yes" } else { "" };
        vec![
            name,
            human::short_id(id).to_owned(),
            human::size(content + unpacked),
            human::size(content),
            used.to_owned(),
        ]
    };
    let images = engine.image_list(name, filters)?;
    for image in &images {
        let platforms = match image.damage {
            Some(_) => Vec::new(),
            None => engine.image_platforms(&image.id)?,
        };
        let mut names = image.tags.clone();
        let last = names.pop().unwrap_or_else(|| "<untagged>".to_owned());
        rows.extend(names.into_iter().map(|name| vec![name]));
        let content = platforms.iter().map(|platform| platform.content_bytes).sum();
        let unpacked = platforms.iter().map(|platform| platform.unpacked_bytes).sum();
        rows.push(row(last, &image.id, content, unpacked, !image.containers.is_empty()));
        for (index, one) in platforms.iter().enumerate() {
            let branch = if index + 1 < platforms.len() { "├─" } else { "└─" };
            let name = format!("{branch} {}", one.platform);
            let id = one.manifest.digest.to_string();
            rows.push(row(name, &id, one.content_bytes, one.unpacked_bytes, !one.containers.is_empty()));
        }
    }
    print(&table::render(&rows));
    warn_of_damaged(&images);
    Ok(ExitCode::SUCCESS)
}
