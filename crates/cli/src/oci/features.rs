//! `features`: what this runtime can do, in the words of the specification.

use std::process::ExitCode;

use diag::Failure;

use super::Call;
use crate::context::print_line;

pub fn run(_: &Call) -> Result<ExitCode, Failure> {
    print_line(serde_json::to_string_pretty(&runtime::features()).expect("it is JSON"));
    Ok(ExitCode::SUCCESS)
}
