//! A monitor without the rest of hull, for the tests: `monitor <run dir>` and, in place of removing a container, `reap <file>`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|name| name.to_str()) {
        Some("monitor") => monitor::main(args),
        Some("reap") => match args.next().map(|file| std::fs::write(file, "reaped")) {
            Some(Ok(())) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        _ => ExitCode::FAILURE,
    }
}
