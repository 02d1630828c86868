//! What every command is given: the global flags and, once asked for, the engine.

use std::io::Write as _;

use crate::globals::Globals;

/// The state of one invocation.
pub struct Context {
    /// The name this binary was called by: `hull` or `docker`.
    pub program: String,
    pub globals: Globals,
}

impl Context {
    pub fn new(program: String, globals: Globals) -> Self {
        Self { program, globals }
    }
}

/// Writes `text` to standard output; a reader that has gone away is not an error of ours.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
