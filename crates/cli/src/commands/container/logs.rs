//! `logs`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use api::stream::Output;
use engine::model::LogOptions;
use engine::{parse as syntax, time};
use monitor::logs::{LogLine, Stream};
use remote::{Client, frames};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::Context;

/// Fetch the logs of a container
#[derive(clap::Parser)]
struct Args {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    window: WindowFlags,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    container: String,
}

/// Which lines of a log are wanted.
#[derive(clap::Args)]
pub struct WindowFlags {
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all", allow_hyphen_values = true)]
    tail: String,
}

impl WindowFlags {
    /// The request these flags make.
    pub fn resolve(&self, path: &str, follow: bool) -> Result<LogOptions, crate::commands::Ended> {
        let now = time::now_ns();
        let at =
            |text: &Option<String>| text.as_deref().map(|text| syntax::timestamp_ns(text, now)).transpose();
        let tail = match self.tail.as_str() {
            "all" | "" => None,
            text if text.starts_with('-') => None,
            text => Some(text.parse().map_err(|_| {
                usage(path, format_args!("invalid argument \"{text}\" for \"-n, --tail\" flag: not a number"))
            })?),
        };
        Ok(LogOptions { follow, tail, since_ns: at(&self.since)?, until_ns: at(&self.until)? })
    }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let options = args.window.resolve(&invocation.path, args.follow)?;
    if let Some(remote) = context.remote()? {
        return elsewhere(remote, &args, &options);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in context.engine()?.logs(&args.container, &options)? {
        let line = line.map_err(super::StreamError::of("read the log of", &args.container))?;
        if show(&mut out, &line, args.timestamps, args.follow).is_err() {
            // Whoever read our output has seen enough.
            return Ok(ExitCode::SUCCESS);
        }
    }
    let _ = out.flush();
    Ok(ExitCode::SUCCESS)
}

fn elsewhere(client: &Client, args: &Args, options: &LogOptions) -> Outcome {
    let container = client.container(&args.container)?;
    let tty = container["Config"]["Tty"].as_bool().unwrap_or_default();
    let time = |ns: Option<i64>| ns.map(crate::elsewhere::timestamp);
    let call = client.get(&["containers", &args.container, "logs"]).flag("stdout", true).flag("stderr", true);
    let call = call.flag("follow", args.follow).flag("timestamps", args.timestamps);
    let call = call.maybe("since", time(options.since_ns)).maybe("until", time(options.until_ns));
    let answer = call.maybe("tail", options.tail).stream()?;
    let shown = frames::each(tty, answer, |output, piece| {
        let written = match output {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(piece).and_then(|()| out.flush())
            }
            Output::Stderr => io::stderr().lock().write_all(piece),
        };
        // Whoever read our output may have seen enough.
        written.is_ok()
    });
    shown.map_err(super::StreamError::of("read the log of", &args.container))?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl io::Write, line: &LogLine, timestamps: bool, at_once: bool) -> io::Result<()> {
    let stamp = if timestamps { format!("{} ", stamp(line.time_ns)) } else { String::new() };
    match line.stream {
        Stream::Stdout => {
            out.write_all(stamp.as_bytes())?;
            out.write_all(&line.text)?;
            if at_once { out.flush() } else { Ok(()) }
        }
        Stream::Stderr => {
            out.flush()?;
            let mut errors = io::stderr().lock();
            errors.write_all(stamp.as_bytes())?;
            errors.write_all(&line.text)
        }
    }
}

/// The time with all nine digits, so that lines stand below each other.
fn stamp(ns: i64) -> String {
    let text = time::rfc3339(ns);
    let (seconds, fraction) =
        text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<9}Z")
}
