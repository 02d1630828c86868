//! `context`: engines that are known by names.

use std::path::PathBuf;
use std::process::ExitCode;

use remote::contexts::{DEFAULT, StoredContext};
use serde_json::{Map, Value, json};

use super::many::each;
use super::{Command, Invocation, Outcome, Section, homeless as row, parse, usage};
use crate::context::{Context, note, print, print_line};
use crate::elsewhere::{Choice, contexts};
use crate::flags::value::{FlagsError, wrong};
use crate::output::listing::{self, Column, column};

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("create", Section::Plain, "Create a context", create),
    row("inspect", Section::Plain, "Display detailed information on one or more contexts", inspect),
    row("ls", Section::Plain, "List contexts", list),
    row("list", Section::Hidden, "List contexts", list),
    row("rm", Section::Plain, "Remove one or more contexts", remove),
    row("remove", Section::Hidden, "Remove one or more contexts", remove),
    row("show", Section::Plain, "Print the name of the current context", show),
    row("use", Section::Plain, "Set the current context", switch),
];

/// What is said of the context that is always there.
const HERE: &str = "The engine of this host";

/// Create a context
#[derive(clap::Parser)]
struct Create {
    /// Description of the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// Set the docker endpoint: host=ADDRESS, and for tcp:// ca=FILE,cert=FILE,key=FILE
    #[arg(long, value_name = "stringToString")]
    docker: Option<String>,
    context: String,
}

fn create(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Create = parse(&invocation)?;
    let Some(text) = &args.docker else {
        return Err(usage(&invocation.path, "say where the engine is: --docker host=ssh://..."));
    };
    let (host, certificates) = endpoint(text)?;
    contexts()?.create(&args.context, args.description.as_deref(), host, certificates.as_ref())?;
    print_line(&args.context);
    note(format_args!("Successfully created context \"{}\"", args.context));
    Ok(ExitCode::SUCCESS)
}

/// The address and the files for TLS in the value of `--docker`.
fn endpoint(text: &str) -> Result<(&str, Option<[PathBuf; 3]>), FlagsError> {
    let mut found = [None; 4];
    for pair in text.split(',') {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| wrong("--docker", text, "must be key=value,..."))?;
        let place = ["host", "ca", "cert", "key"].iter().position(|name| *name == key);
        found[place.ok_or_else(|| wrong("--docker", text, "the keys are host, ca, cert and key"))?] =
            Some(value);
    }
    match found {
        [None, ..] => Err(wrong("--docker", text, "host is missing")),
        [Some(host), None, None, None] => Ok((host, None)),
        [Some(host), Some(ca), Some(cert), Some(key)] => Ok((host, Some([ca, cert, key].map(PathBuf::from)))),
        _ => Err(wrong("--docker", text, "ca, cert and key go together")),
    }
}

/// List contexts
#[derive(clap::Parser)]
struct List {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only show context names
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: &[Column] = &[
    column("NAME", "NameStar"),
    column("DESCRIPTION", "Description"),
    column("DOCKER ENDPOINT", "DockerEndpoint"),
    column("ERROR", "Error"),
];

fn list(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: List = parse(&invocation)?;
    let choice = Choice::of(&context.globals)?;
    let current = choice.context();
    let stored = contexts()?.list()?;
    let mut rows = vec![row_of(DEFAULT, HERE, "local", "", current)];
    rows.extend(stored.iter().map(|one| {
        let error = one.endpoint().err().map(|error| error.to_string()).unwrap_or_default();
        row_of(&one.name, one.description(), one.host().unwrap_or_default(), &error, current)
    }));
    let format = match (args.format, args.quiet) {
        (None, true) => "{{.Name}}".to_owned(),
        (format, _) => format.unwrap_or_default(),
    };
    print(&listing::render(&format, COLUMNS, &rows)?);
    if let Choice::Host(address) = choice {
        note(format_args!("Warning: {address} is chosen by --host or HULL_HOST, and no context"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row_of(
    name: &str,
    description: &str,
    host: &str,
    error: &str,
    current: Option<&str>,
) -> Map<String, Value> {
    let is_current = current == Some(name);
    let star = if is_current { " *" } else { "" };
    let fields = [
        ("Current", json!(is_current)),
        ("Name", json!(name)),
        ("NameStar", json!(format!("{name}{star}"))),
        ("Description", json!(description)),
        ("DockerEndpoint", json!(host)),
        ("Error", json!(error)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Print the name of the current context
#[derive(clap::Parser)]
struct Show {}

fn show(context: &mut Context, invocation: Invocation) -> Outcome {
    let Show {} = parse(&invocation)?;
    // Docker's client calls an address so, too.
    print_line(Choice::of(&context.globals)?.context().unwrap_or(DEFAULT));
    Ok(ExitCode::SUCCESS)
}

/// Set the current context
#[derive(clap::Parser)]
struct Switch {
    context: String,
}

fn switch(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Switch = parse(&invocation)?;
    contexts()?.make_current(&args.context)?;
    print_line(&args.context);
    note(format_args!("Current context is now \"{}\"", args.context));
    let overriding = ["HULL_HOST", "HULL_CONTEXT"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if let Some(name) = overriding {
        note(format_args!("Warning: {name} environment variable overrides the active context"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Display detailed information on one or more contexts
#[derive(clap::Parser)]
struct Inspect {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "CONTEXT")]
    contexts: Vec<String>,
}

fn inspect(context: &mut Context, invocation: Invocation) -> Outcome {
    let mut args: Inspect = parse(&invocation)?;
    if args.contexts.is_empty() {
        args.contexts.push(Choice::of(&context.globals)?.context().unwrap_or(DEFAULT).to_owned());
    }
    super::inspect::show(&args.contexts, args.format.as_deref(), |name| match name {
        DEFAULT => {
            Ok(json!({"Name": DEFAULT, "Metadata": {"Description": HERE}, "Endpoints": {}, "TLSMaterial": {},
                             "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"}}))
        }
        name => Ok(document(contexts()?.get(name)?)),
    })
}

/// A context as Docker's client shows it.
fn document(context: StoredContext) -> Value {
    let files = context.certificates();
    let StoredContext { mut document, meta_directory, tls_directory, .. } = context;
    document["TLSMaterial"] = if files.is_empty() { json!({}) } else { json!({ "docker": files }) };
    document["Storage"] = json!({"MetadataPath": meta_directory, "TLSPath": tls_directory});
    document
}

/// Remove one or more contexts
#[derive(clap::Parser)]
struct Remove {
    /// Force the removal of a context in use
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "CONTEXT")]
    contexts: Vec<String>,
}

fn remove(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Remove = parse(&invocation)?;
    let contexts = contexts()?;
    each(&args.contexts, |name| Ok(contexts.remove(name, args.force)?))
}
