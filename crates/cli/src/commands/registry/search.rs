//! `search`.

use std::process::ExitCode;

use engine::model::{Filters, FiltersError};
use registry::Found;
use serde_json::{Map, Value, json};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, print};
use crate::output::human;
use crate::output::listing::{self, Column, column};

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

/// What of the results is asked for.
struct Wanted {
    official: Option<bool>,
    automated: Option<bool>,
    stars: u64,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if !(1..=100).contains(&args.limit) {
        let text = format_args!("limit {} is outside the range of [1, 100]", args.limit);
        return Err(usage(&invocation.path, text).with_status(1));
    }
    let filters = Filters::parse(&args.filter)?;
    filters.allow(&["is-automated", "is-official", "stars"])?;
    let wanted = Wanted {
        official: filters.flag("is-official")?,
        automated: filters.flag("is-automated")?,
        stars: stars(&filters)?,
    };
    let mut found = context.registry()?.search(&args.term, args.limit)?;
    found.retain(|found| wanted.accepts(found));
    found.sort_by_key(|found| std::cmp::Reverse(found.star_count));
    let plain_table = matches!(args.format.as_deref().map(str::trim), None | Some("" | "table"));
    let rows: Vec<_> = found.iter().map(|found| row(found, !args.no_trunc, plain_table)).collect();
    print(&listing::render(args.format.as_deref().unwrap_or_default(), COLUMNS, &rows)?);
    Ok(ExitCode::SUCCESS)
}

/// The largest number of stars that is asked for at least.
fn stars(filters: &Filters) -> Result<u64, FiltersError> {
    let bad = |value: &String| FiltersError::BadValue { key: "stars".to_owned(), value: value.clone() };
    let values = filters.values("stars").iter();
    let numbers = values.map(|value| value.parse::<u64>().map_err(|_| bad(value)));
    Ok(numbers.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0))
}

impl Wanted {
    fn accepts(&self, found: &Found) -> bool {
        self.official.is_none_or(|official| found.is_official == official)
            && self.automated.is_none_or(|automated| found.is_automated == automated)
            && found.star_count >= self.stars
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
