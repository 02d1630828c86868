//! `compose config` and `compose version`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use compose::{Format, Project};
use diag::{Class, Diagnose};

use super::Compose;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{print, print_line};
use crate::output::table;

/// Parse, resolve and render compose file in canonical format
#[derive(clap::Parser)]
struct Config {
    /// Print environment used for interpolation
    #[arg(long)]
    environment: bool,
    /// Format the output. Values: [yaml | json]
    #[arg(long, value_name = "string", default_value = "yaml")]
    format: String,
    /// Print the service config hash, one per line
    #[arg(long, value_name = "string")]
    hash: Option<String>,
    /// Print the image names, one per line
    #[arg(long)]
    images: bool,
    /// Print the network names, one per line
    #[arg(long)]
    networks: bool,
    /// Save to file (default to stdout)
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    /// Print the profile names, one per line
    #[arg(long)]
    profiles: bool,
    /// Only validate the configuration, don't print anything
    #[arg(short, long)]
    quiet: bool,
    /// Print the service names, one per line
    #[arg(long)]
    services: bool,
    /// Print the variables the files ask for, and their default values
    #[arg(long)]
    variables: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    volumes: bool,
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

impl Diagnose for WriteError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Config = parse(&invocation)?;
    let format = match args.format.as_str() {
        "yaml" => Format::Yaml,
        "json" => Format::Json,
        other => return Err(usage(&invocation.path, format_args!("unsupported format {other:?}"))),
    };
    if args.variables {
        // Without their values, which a project that cannot be loaded may be lacking.
        print(&variables(&compose::variables(&compose.options(&args.names))?));
        return Ok(ExitCode::SUCCESS);
    }
    let project = compose.load(&args.names)?;
    if args.quiet {
        return Ok(ExitCode::SUCCESS);
    }
    let text = match lines(&args, &project)? {
        Some(lines) => lines.into_iter().map(|line| line + "\n").collect(),
        None => project.render(&args.names, format)?,
    };
    match args.output {
        None => print(&text),
        Some(path) => std::fs::write(&path, text).map_err(|source| WriteError { path, source })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn variables(found: &BTreeMap<String, compose::Variable>) -> String {
    let head = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned).to_vec();
    let rows = found.iter().map(|(name, variable)| {
        let compose::Variable { required, default, alternate } = variable.clone();
        vec![name.clone(), required.to_string(), default, alternate]
    });
    table::render(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// The list that was asked for instead of the whole.
fn lines(args: &Config, project: &Project) -> Result<Option<Vec<String>>, compose::LoadError> {
    let wanted = |name: &String| args.names.is_empty() || args.names.contains(name);
    let services = || project.enabled().filter(|service| wanted(&service.name));
    Ok(Some(if args.services {
        services().map(|service| service.name.clone()).collect()
    } else if args.images {
        services().map(|service| service.image.clone()).collect()
    } else if args.volumes {
        project.volumes.keys().cloned().collect()
    } else if args.networks {
        project.networks.keys().cloned().collect()
    } else if args.profiles {
        let all: BTreeSet<&String> =
            project.services.values().flat_map(|service| &service.profiles).collect();
        all.into_iter().cloned().collect()
    } else if args.environment {
        project.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
    } else if let Some(hash) = &args.hash {
        let mut out = Vec::new();
        for name in hash.split(',').filter(|name| *name != "*") {
            let service = project.service(name)?;
            out.push(format!("{} {}", service.name, service.hash));
        }
        if hash == "*" {
            out.extend(project.enabled().map(|service| format!("{} {}", service.name, service.hash)));
        }
        out
    } else {
        return Ok(None);
    }))
}

/// Show the Compose version information
#[derive(clap::Parser)]
struct Version {
    /// Format the output. Values: [pretty | json]
    #[arg(short, long, value_name = "string", default_value = "pretty")]
    format: String,
    /// Shows only Compose's version number
    #[arg(long)]
    short: bool,
}

pub fn version(_: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Version = parse(&invocation)?;
    let version = env!("CARGO_PKG_VERSION");
    match (args.short, args.format.as_str()) {
        (true, _) => print_line(version),
        (_, "json") => print_line(serde_json::json!({ "version": version })),
        (_, "pretty" | "") => print_line(format_args!("hull compose version {version}")),
        (_, other) => return Err(usage(&invocation.path, format_args!("unsupported format {other:?}"))),
    }
    Ok(ExitCode::SUCCESS)
}
