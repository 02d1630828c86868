//! `stop`, `restart`, `kill`, `pause`, `unpause`, `rename`, `wait`: one call to the engine each.

use std::process::ExitCode;

use engine::model::{StopOptions, WaitCondition};
use remote::{Call, Client};

use crate::commands::many::{Report, each, each_at_once};
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;

/// Stop one or more running containers
#[derive(clap::Parser)]
struct Stop {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, visible_alias = "time", value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn stop(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Stop = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let stop = |name: &str| ask(remote, name, "stop").maybe("t", args.timeout);
        return each_at_once(&args.containers, |name| {
            Ok(stop(name).maybe("signal", args.signal.as_ref()).done()?)
        });
    }
    let engine = context.engine()?;
    let options = StopOptions { timeout_s: args.timeout, signal: args.signal };
    each_at_once(&args.containers, |name| Ok(engine.stop(name, &options).map(drop)?))
}

/// A request about a container of another engine.
fn ask<'a>(remote: &'a Client, name: &str, action: &str) -> Call<'a> {
    remote.post(&["containers", name, action])
}

/// Restart one or more containers
#[derive(clap::Parser)]
struct Restart {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, visible_alias = "time", value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn restart(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Restart = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let restart = |name: &str| ask(remote, name, "restart").maybe("t", args.timeout);
        return each_at_once(&args.containers, |name| {
            Ok(restart(name).maybe("signal", args.signal.as_ref()).done()?)
        });
    }
    let engine = context.engine()?;
    let options = StopOptions { timeout_s: args.timeout, signal: args.signal };
    each_at_once(&args.containers, |name| Ok(engine.restart(name, &options)?))
}

/// Kill one or more running containers
#[derive(clap::Parser)]
struct Kill {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "KILL")]
    signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn kill(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Kill = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let kill = |name: &str| ask(remote, name, "kill").query("signal", &args.signal);
        return each(&args.containers, |name| Ok(kill(name).done()?));
    }
    let engine = context.engine()?;
    each(&args.containers, |name| Ok(engine.kill(name, &args.signal)?))
}

/// Pause all processes within one or more containers
#[derive(clap::Parser)]
struct Pause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn pause(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Pause = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        return each(&args.containers, |name| Ok(ask(remote, name, "pause").done()?));
    }
    let engine = context.engine()?;
    each(&args.containers, |name| Ok(engine.pause(name)?))
}

/// Unpause all processes within one or more containers
#[derive(clap::Parser)]
struct Unpause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn unpause(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Unpause = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        return each(&args.containers, |name| Ok(ask(remote, name, "unpause").done()?));
    }
    let engine = context.engine()?;
    each(&args.containers, |name| Ok(engine.unpause(name)?))
}

/// Rename a container
#[derive(clap::Parser)]
struct Rename {
    container: String,
    new_name: String,
}

pub fn rename(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Rename = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        ask(remote, &args.container, "rename").query("name", args.new_name).done()?;
        return Ok(ExitCode::SUCCESS);
    }
    context.engine()?.rename(&args.container, &args.new_name)?;
    Ok(ExitCode::SUCCESS)
}

/// Block until one or more containers stop, then print their exit codes
#[derive(clap::Parser)]
struct Wait {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn wait(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Wait = parse(&invocation)?;
    let mut report = Report::default();
    if let Some(remote) = context.remote()? {
        for name in &args.containers {
            let ended = ask(remote, name, "wait").json();
            report.add(ended.map(|ended| Some(ended["StatusCode"].to_string())).map_err(Into::into));
        }
        return report.outcome();
    }
    let engine = context.engine()?;
    for name in &args.containers {
        let code = engine.wait(name, WaitCondition::NotRunning);
        report.add(code.map(|code| Some(code.to_string())).map_err(Into::into));
    }
    report.outcome()
}
