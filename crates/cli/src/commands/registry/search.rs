//! `search`.

use std::process::ExitCode;

use engine::model::Filters;
use registry::Found;
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::output::human;
use crate::output::listing::{self, Column, column, list};

/// Search Docker Hub for images, or another registry that TERM begins with
#[derive(clap::Parser)]
struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int", default_value_t = 25, hide_default_value = true)]
    limit: u32,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "TERM")]
    term: String,
}

const COLUMNS: &[Column] = &[
    column("NAME", "Name"),
    column("DESCRIPTION", "Description"),
    column("STARS", "StarCount"),
    column("OFFICIAL", "IsOfficial"),
];

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if !(1..=100).contains(&args.limit) {
        let text = format_args!("limit {} is outside the range of [1, 100]", args.limit);
        return Err(usage(&invocation.path, text).with_status(1));
    }
    let filters = Filters::parse(&args.filter)?;
    let found: Vec<Found> = match context.remote()? {
        Some(remote) => {
            let call = remote.get(&["images", "search"]).query("term", &args.term).query("limit", args.limit);
            list(call.maybe("filters", elsewhere::filters(&filters)).json()?).iter().map(found).collect()
        }
        None => context.engine()?.image_search(context.registry()?, &args.term, args.limit, &filters)?,
    };
    let plain_table = matches!(args.format.as_deref().map(str::trim), None | Some("" | "table"));
    let rows: Vec<_> = found.iter().map(|found| row(found, !args.no_trunc, plain_table)).collect();
    print(&listing::render(args.format.as_deref().unwrap_or_default(), COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// What another engine says of an image.
fn found(entry: &Value) -> Found {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let is = |key: &str| entry[key].as_bool().unwrap_or_default();
    Found {
        name: text("name"),
        description: text("description"),
        star_count: entry["star_count"].as_u64().unwrap_or_default(),
        is_official: is("is_official"),
        is_automated: is("is_automated"),
    }
}

/// One row; a table shows what is true as `[OK]`.
fn row(found: &Found, truncate: bool, in_table: bool) -> Map<String, Value> {
    let description = found.description.replace(['\n', '\r'], " ");
    let description = if truncate { human::ellipsis(&description, 45) } else { description };
    let flag = |value: bool| match (in_table, value) {
        (true, true) => "[OK]".to_owned(),
        (true, false) => String::new(),
        (false, value) => value.to_string(),
    };
    let fields = [
        ("Name", found.name.clone()),
        ("Description", description),
        ("StarCount", found.star_count.to_string()),
        ("IsOfficial", flag(found.is_official)),
        ("IsAutomated", flag(found.is_automated)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}
