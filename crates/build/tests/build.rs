//! Builds on the real kernel: each test has its own data root, run root and networks.
//!
//! This program is also the `hull` of its builds: RUN steps execute it as `build-step`. Hence a main of its own, which
//! understands as much of the test harness's command line as cargo and nextest use.

#[path = "build/cache.rs"]
mod cache;
#[path = "build/fixture.rs"]
mod fixture;
#[path = "build/instructions.rs"]
mod instructions;
#[path = "build/mounts.rs"]
mod mounts;
#[path = "build/remote.rs"]
mod remote;
#[path = "build/trouble.rs"]
mod trouble;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A test's name and body.
pub type Test = (&'static str, fn());

/// Names functions as tests.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::Test] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "build-step") {
        return build::step_main(args.drain(1..));
    }
    if let [word, dir] = args.as_slice()
        && word == "victim"
    {
        trouble::victim(dir.as_ref());
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let all: Vec<Test> =
        [cache::TESTS, instructions::TESTS, mounts::TESTS, remote::TESTS, trouble::TESTS].concat();
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            all.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let exact = args.iter().any(|arg| arg == "--exact");
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|f| if exact { *f == name } else { name.contains(f.as_str()) })
    };
    run(&all.into_iter().filter(|(name, _)| wanted(name)).collect::<Vec<_>>())
}

/// Runs the tests, each in a process of its own (a failed one aborts), a few at a time.
fn run(tests: &[Test]) -> ExitCode {
    if let [(name, body)] = tests {
        body();
        println!("test {name} ... ok");
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().expect("a running program has a path");
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, _)) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let child = Command::new(&program)
                        .args(["--exact", name])
                        .stdout(Stdio::null())
                        .stderr(Stdio::piped())
                        .spawn()
                        .expect("this program can be run again");
                    let pid = child.id();
                    let output = child.wait_with_output().expect("a child can be waited for");
                    if output.status.success() {
                        println!("test {name} ... ok");
                    } else {
                        fixture::discard(pid);
                        println!("test {name} ... FAILED\n{}", String::from_utf8_lossy(&output.stderr));
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("\n{} of {} tests passed", tests.len() - failed.len(), tests.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
