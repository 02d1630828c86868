//! `inspect`: any object, as Docker's JSON or through a template.

use std::process::ExitCode;

use clap::ValueEnum;
use diag::{Class, Diagnose, Failure};
use engine::view;
use serde_json::Value;

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, note, print, print_line};
use crate::output::json::indented;
use crate::template::Template;

/// Return low-level information on hull objects
#[derive(clap::Parser)]
struct Args {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long, value_name = "type")]
    r#type: Option<Kind>,
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// What can be inspected, in the order in which a bare name is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

const KINDS: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

/// A name nothing has.
#[derive(Debug, thiserror::Error)]
#[error("No such object: {name}")]
struct NoSuchObject {
    name: String,
}

impl Diagnose for NoSuchObject {
    fn class(&self) -> Class {
        Class::NotFound
    }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    match args.r#type {
        Some(kind) => of_kind(context, kind, &args.names, args.format.as_deref(), args.size),
        None => show(&args.names, args.format.as_deref(), |name| any(context, name, args.size)),
    }
}

/// Shows objects of one kind.
pub fn of_kind(context: &Context, kind: Kind, names: &[String], format: Option<&str>, size: bool) -> Outcome {
    show(names, format, |name| one(context, kind, name, size))
}

/// Shows what `find` finds for each name: all that is there, then what is wrong with the others.
pub fn show(names: &[String], format: Option<&str>, find: impl Fn(&str) -> Result<Value, Ended>) -> Outcome {
    let template = match format {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(Ended::Failed(_, failure)) => failures.push(failure),
            Err(other) => return Err(other),
        }
    }
    match template {
        None => print_line(indented(&Value::Array(found).to_string(), "    ")),
        Some(template) => {
            for value in &found {
                match template.render(value) {
                    Ok(text) => print(&format!("{text}\n")),
                    Err(error) => failures.push(error.into()),
                }
            }
        }
    }
    failures.iter().for_each(|failure: &Failure| note(diag::render(failure)));
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

fn any(context: &Context, name: &str, size: bool) -> Result<Value, Ended> {
    for kind in KINDS {
        match one(context, kind, name, size) {
            Err(Ended::Failed(_, failure)) if matches!(failure.class(), Class::NotFound | Class::Invalid) => {
            }
            answer => return answer,
        }
    }
    Err(NoSuchObject { name: name.to_owned() }.into())
}

fn one(context: &Context, kind: Kind, name: &str, size: bool) -> Result<Value, Ended> {
    if let Some(remote) = context.remote()? {
        return Ok(match kind {
            Kind::Container => remote.get(&["containers", name, "json"]).flag("size", size).json()?,
            Kind::Image => remote.get(&["images", name, "json"]).json()?,
            Kind::Network => remote.get(&["networks", name]).json()?,
            Kind::Volume => remote.get(&["volumes", name]).json()?,
        });
    }
    let engine = context.engine()?;
    Ok(match kind {
        Kind::Container if size => view::container(&engine.inspect_sized(name)?),
        Kind::Container => view::container(&engine.inspect(name)?),
        Kind::Image => view::image(&engine.image_inspect(name, None)?),
        Kind::Network => view::network(&engine.network_inspect(name)?),
        Kind::Volume => view::volume(&engine.volume_inspect(name)?),
    })
}
