//! The `hull` command line: flags, tables, progress, exit codes. It decides nothing.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
