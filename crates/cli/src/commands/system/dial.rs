//! `system dial-stdio`: the other side of `--host ssh://…`.

use std::io;
use std::process::ExitCode;

use engine::Engine;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;

/// Serve the Docker Engine API to one client on standard input and output
#[derive(clap::Parser)]
struct Dial {}

/// No server is needed for it: there is nothing in one that is not in this process, too.
pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let Dial {} = parse(&invocation)?;
    context.go_home()?;
    server::serve_one(Engine::open(&context.roots())?, io::stdin(), io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
