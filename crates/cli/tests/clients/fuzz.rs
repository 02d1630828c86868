//! Requests that schemathesis makes up from a description of the API.

use testkit::{Api, World, eventually};

/// How many descriptors the server has, and how many of its threads make an answer that somebody may still want.
fn held(api: &Api) -> (usize, usize) {
    let process = std::path::Path::new("/proc").join(api.pid().to_string());
    let entries = |name: &str| std::fs::read_dir(process.join(name)).unwrap().flatten();
    let names = entries("task").filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    (entries("fd").count(), names.filter(|name| name == "api stream\n").count())
}

/// A panic would end the server; what is left of containers the world looks for itself.
#[test]
fn made_up_requests_upset_nobody() {
    let api = Api::serve(World::with_busybox(env!("CARGO_BIN_EXE_hull")));
    api.get("/info").expect(200);
    let (before, _) = held(&api);
    crate::run(&api, crate::python("fuzz.py"));
    // Some are for what is opened when it is needed first, and kept.
    eventually("the server has let go of everything", 60, || {
        let (descriptors, streams) = held(&api);
        (descriptors <= before + 16 && streams == 0).then_some(())
    });
}
