//! Automation: `cargo xtask setup`, `release`, `check`, `test`, `guest`, `bench`, `order`.
//!
//! `check` is everything CI runs, in the order in which it fails fastest.

use std::process::{Command, ExitCode};

mod bench;
mod guest;
mod order;
mod setup;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let rest: Vec<String> = std::env::args().skip(2).collect();
    let outcome = match task.as_str() {
        "setup" => setup::packages(),
        "check" => check(),
        "release" => release(),
        "order" => setup::packages().and_then(|()| order::main()),
        "bench" => setup::packages().and_then(|()| bench::main(&rest)),
        "guest" => setup::packages().and_then(|()| guest::main(&rest)),
        "test" => setup::packages().and_then(|()| test(&rest)),
        _ => Err(format!(
            "unknown task `{task}`: there are setup, release, check, test, guest, bench and order"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Format, lints, and every test, then a look at what the tests left on the host; and what depends on the kernel once more, on another one.
fn check() -> Result<(), String> {
    setup::packages()?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])?;
    test(&[])?;
    guest::check()
}

/// Builds the binary that users run, `target/x86_64-unknown-linux-gnu/release/hull`.
///
/// It is linked at a fixed address. A position-independent one relocates some 200 KiB of tables at every start, which each
/// monitor would then keep as private memory as long as its container runs. Stack, heap and mappings are randomised all the same.
/// What frequent commands execute lies side by side ([`order`]), by the names that v0 mangling gives: these say for which types
/// a generic function is.
fn release() -> Result<(), String> {
    let script = format!("link-arg=-Wl,--script={}", order::SCRIPT);
    match cargo(&[&RELEASE[..], &["-C", &script, "--cfg", &order::version()?]].concat()) {
        Ok(()) => order::verify(),
        Err(reason) => {
            eprintln!(
                "xtask: {reason}\nxtask: once more without {}, in case the linker cannot read it",
                order::SCRIPT
            );
            cargo(&RELEASE)
        }
    }
}

const HULL: &str = "target/x86_64-unknown-linux-gnu/release/hull";

const RELEASE: [&str; 11] = [
    "rustc",
    "--config",
    "target.x86_64-unknown-linux-gnu.rustflags=['-C', 'symbol-mangling-version=v0']",
    "--release",
    "--package",
    "cli",
    "--bin",
    "hull",
    "--",
    "-C",
    "relocation-model=static",
];

fn test(filter: &[String]) -> Result<(), String> {
    let before = testkit::Snapshot::of_host();
    // All of them: a run on another machine is too dear to tell one failure at a time.
    let mut words = vec!["test", "--workspace", "--no-fail-fast"];
    words.extend(filter.iter().map(String::as_str));
    // Whoever was started in the background of a script ignores the interrupts that some tests send, and passes that on.
    let mut command = Command::new("env");
    let tested = run(command.arg("--default-signal=INT,QUIT").arg(program()).args(&words));
    let left = testkit::Snapshot::of_host().since(&before);
    tested?;
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("the tests left on this host:\n{left}")),
    }
}

fn cargo(words: &[&str]) -> Result<(), String> {
    run(Command::new(program()).args(words))
}

/// The cargo that runs this.
fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs `command` with our own standard streams; its failure is an error that names it.
fn run(command: &mut Command) -> Result<(), String> {
    let line = format!("{command:?}");
    eprintln!("xtask: {line}");
    match as_a_user(command).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{line}: {status}")),
        Err(error) => Err(format!("{line}: {error}")),
    }
}

/// `command` without what cargo tells this program of itself. Some build scripts look at it, and a cargo that finds it changed
/// builds all that depends on them once more.
fn as_a_user(command: &mut Command) -> &mut Command {
    let ours = std::env::vars_os().map(|(name, _)| name);
    let ours = ours.filter(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_MANIFEST_") || name.starts_with(b"CARGO_PKG_")
    });
    ours.fold(command, |command, name| command.env_remove(name))
}
