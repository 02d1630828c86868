//! `diff`, `export` and `commit`: what a container made of its image.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::model::CommitSpec;
use image::ChangeKind;
use serde_json::{Value, json};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print, print_line};
use crate::output::file::Output;
use crate::output::listing::list;

/// Inspect changes to files or directories on a container's filesystem
#[derive(clap::Parser)]
struct Diff {
    container: String,
}

pub fn diff(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Diff = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let changes = list(remote.get(&["containers", &args.container, "changes"]).json()?);
        let line = |change: &Value| {
            let kind =
                ["C", "A", "D"].get(change["Kind"].as_u64().unwrap_or_default() as usize).unwrap_or(&"?");
            format!("{kind} {}\n", change["Path"].as_str().unwrap_or_default())
        };
        print(&changes.iter().map(line).collect::<String>());
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for change in context.engine()?.diff(&args.container)? {
        let kind = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'C',
            ChangeKind::Deleted => 'D',
        };
        text.push_str(&format!("{kind} {}\n", change.path.display()));
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Export a container's filesystem as a tar archive
#[derive(clap::Parser)]
struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    container: String,
}

pub fn export(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Export = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let output = Output::new(args.output.as_deref(), &invocation.path)?;
        return output.copy(remote.get(&["containers", &args.container, "export"]).stream()?);
    }
    let engine = context.engine()?;
    let output = Output::new(args.output.as_deref(), &invocation.path)?;
    output.write(|mut file| Ok(engine.export(&args.container, &mut file)?))
}

/// Create a new image from a container's changes
#[derive(clap::Parser)]
struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "string")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, value_name = "bool", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set,
          hide_possible_values = true)]
    pause: bool,
    container: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

pub fn commit(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Commit = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let call =
            remote.post(&["commit"]).query("container", &args.container).query("pause", u8::from(args.pause));
        let call =
            call.maybe("repo", args.reference).maybe("comment", args.message).maybe("author", args.author);
        let call = args.change.iter().fold(call, |call, change| call.query("changes", change));
        let committed = call.body(&json!({})).json()?;
        print_line(committed["Id"].as_str().unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    let spec = CommitSpec {
        reference: args.reference,
        comment: args.message.unwrap_or_default(),
        author: args.author.unwrap_or_default(),
        config: None,
        changes: args.change,
        pause: args.pause,
    };
    let image = context.engine()?.commit(&args.container, &spec)?;
    print_line(image.id);
    Ok(ExitCode::SUCCESS)
}
