//! The `hull` command line: flags, tables, progress, exit codes. It decides nothing.
//!
//! [`main`] first looks for the hidden single-threaded helpers (the monitor, the reaper, a build step, who holds a terminal), which must start
//! without the price of an argument parser. Everything else is one row of [`commands::TABLE`]; only the chosen command's parser
//! is ever built. Start reading at `commands.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod commands;
mod context;
mod elsewhere;
mod explain;
mod flags;
mod globals;
mod help;
mod interrupt;
mod oci;
mod output;
mod session;
mod template;

use std::ffi::OsString;
use std::process::ExitCode;

pub use context::Context;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let program = argv.next().unwrap_or_else(|| OsString::from("hull"));
    let mut args: Vec<OsString> = argv.collect();
    // Engines call the runtime by this name, several times for each of their containers.
    let name = help::program_name(&program);
    if name == "hull-oci" {
        return oci::main(&name, args.into_iter());
    }
    match args.first().and_then(|word| word.to_str()) {
        Some("monitor") => monitor::main(args.drain(1..)),
        Some("hold-terminal") => engine::hold_terminal_main(),
        Some("hold-exec") => engine::hold_exec_main(args.drain(1..)),
        Some("reap") => engine::reap_main(args.drain(1..)),
        Some("settle") => engine::settle_main(args.drain(1..)),
        Some("keeper") => rootless::keeper_main(args.drain(1..)),
        Some("forward") => net::forward::main(args.drain(1..)),
        Some("lazy") => lazy::main(args.drain(1..)),
        Some("build-step") => build::step_main(args.drain(1..)),
        Some("oci") => oci::main(&format!("{name} oci"), args.drain(1..)),
        _ => {
            // Called as `docker-compose` (or `hull-compose`), every word belongs to Compose.
            if name.ends_with("-compose") {
                args.insert(0, "compose".into());
            }
            commands::dispatch(&program, args)
        }
    }
}
