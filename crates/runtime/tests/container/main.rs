//! Containers on the real kernel, as root, in throw-away directories.
//!
//! `create` and `exec` want a single-threaded caller, so this is a program of its own: each test runs in a fork of it, one
//! after the other. `cargo test -p runtime --test container -- exec` runs those whose name contains "exec".

mod account;
mod cgroups;
mod devices;
mod exec;
mod filter;
mod hooks;
mod init;
mod isolation;
mod labels;
mod lifetime;
mod mounts;
mod mutations;
mod namespaces;
mod netdevices;
mod options;
mod program;
mod rights;
mod root;
mod sandbox;
mod terminal;
mod tuning;
mod users;
mod validation;

use std::process::ExitCode;
use std::time::Instant;

use sys::process::{Clone, Cloned, Ended};

type Test = (&'static str, fn());

/// Names functions as tests of this module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[crate::Test] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if sys::user::effective_uid() != 0 {
        println!("skipped: these tests make containers, which needs root");
        return ExitCode::SUCCESS;
    }
    runtime::seal::ensure().expect("sealing the test program");
    let base = sandbox::Base::create();
    let modules = [
        program::TESTS,
        account::TESTS,
        mounts::TESTS,
        isolation::TESTS,
        rights::TESTS,
        terminal::TESTS,
        init::TESTS,
        exec::TESTS,
        filter::TESTS,
        cgroups::TESTS,
        users::TESTS,
        hooks::TESTS,
        lifetime::TESTS,
        tuning::TESTS,
        root::TESTS,
        namespaces::TESTS,
        options::TESTS,
        devices::TESTS,
        netdevices::TESTS,
        labels::TESTS,
        validation::TESTS,
        mutations::TESTS,
    ];
    let mut failed = Vec::new();
    let selected =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    for (name, test) in modules.into_iter().flatten().filter(|(name, _)| selected(name)) {
        let start = Instant::now();
        let ended = run(*test);
        let outcome = if ended == Ended::Exited(0) { "ok" } else { "FAILED" };
        println!("test {name} ... {outcome} ({} ms)", start.elapsed().as_millis());
        if outcome != "ok" {
            failed.push(name);
        }
    }
    drop(base);
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {failed:?}");
    ExitCode::FAILURE
}

fn run(test: fn()) -> Ended {
    match sys::process::clone(Clone::default()).expect("fork") {
        Cloned::Child => {
            // A panic must not unwind into what belongs to the run.
            let outcome = std::panic::catch_unwind(test);
            sys::process::exit(if outcome.is_ok() { 0 } else { 101 })
        }
        Cloned::Parent { pidfd, .. } => {
            use std::os::fd::AsFd;
            sys::process::wait(pidfd.as_fd()).expect("wait for the test")
        }
    }
}
