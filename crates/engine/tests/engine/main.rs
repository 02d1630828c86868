//! The engine on the real kernel: real containers from a BusyBox image, each test with roots of its own.
//!
//! The program is its own monitor: started with a hidden command it is what `hull` would be.

mod basics;
mod control;
mod networks;
mod recovery;
mod settings;
mod volumes;
mod world;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

type Test = (&'static str, fn());

/// Names the one test that this process shall run.
const ONE: &str = "HULL_ENGINE_TEST";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|arg| arg.to_str()) {
        Some("monitor") => return monitor::main(args.skip(1)),
        Some("reap") => return engine::reap_main(args.skip(1)),
        Some("run") => return world::run_main(args.skip(1)),
        Some("exec") => return world::exec_main(args.skip(1)),
        _ => {}
    }
    let tests =
        [basics::TESTS, control::TESTS, networks::TESTS, recovery::TESTS, settings::TESTS, volumes::TESTS]
            .concat();
    if let Some(only) = std::env::var_os(ONE) {
        let (_, test) =
            tests.iter().find(|(name, _)| only == OsStr::new(name)).expect("a test has this name");
        test();
        return ExitCode::SUCCESS;
    }
    let filter: Vec<String> = args
        .filter(|arg| !arg.as_encoded_bytes().starts_with(b"-"))
        .filter_map(|arg| arg.into_string().ok())
        .collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|wanted| name.contains(wanted.as_str()));
    run(tests.into_iter().filter(|(name, _)| wanted(name)).collect())
}

/// Runs four at a time, each in a process of its own: a test that panics or hangs takes no other one with it.
fn run(tests: Vec<Test>) -> ExitCode {
    let queue = Mutex::new(tests.iter().rev().collect::<Vec<_>>());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, _)) = queue.lock().expect("no test panics here").pop() else { break };
                    let began = Instant::now();
                    let program = std::env::current_exe().expect("we run");
                    let output = std::process::Command::new(program)
                        .env(ONE, name)
                        .output()
                        .expect("we can run ourselves");
                    let verdict = if output.status.success() { "ok" } else { "FAILED" };
                    println!("test {name} ... {verdict} ({} ms)", began.elapsed().as_millis());
                    if !output.status.success() {
                        let text = String::from_utf8_lossy(&output.stderr).into_owned()
                            + &String::from_utf8_lossy(&output.stdout);
                        failed.lock().expect("no test panics here").push((*name, text));
                    } else if std::env::var_os("HULL_ENGINE_SHOW").is_some() {
                        println!("{}", String::from_utf8_lossy(&output.stderr));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("all threads are done");
    for (name, text) in &failed {
        println!("---- {name} ----\n{text}");
    }
    println!("test result: {} passed; {} failed", tests.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
