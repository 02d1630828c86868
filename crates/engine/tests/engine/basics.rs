//! Running, names, errors, listing, logs.

use crate::world::{World, bridged, isolated, sleeper};
use diag::{Class, Diagnose};
use engine::create::CreateError;
use engine::model::{Filters, ListOptions, LogOptions, RemoveOptions, Status};
use engine::start::RunError;

pub const TESTS: &[(&str, fn())] = &[
    ("run_returns_output_and_status", run_returns_output_and_status),
    ("run_rm_leaves_nothing", run_rm_leaves_nothing),
    ("a_missing_program_is_127", a_missing_program_is_127),
    ("names_conflict_as_in_docker", names_conflict_as_in_docker),
    ("one_of_many_gets_a_name", one_of_many_gets_a_name),
    ("list_and_inspect", list_and_inspect),
    ("logs_are_kept_and_followed", logs_are_kept_and_followed),
    ("events_tell_a_life", events_tell_a_life),
    ("many_at_once", many_at_once),
];

fn run_returns_output_and_status() {
    let world = World::new();
    let (code, output) = world.run(isolated(&["sh", "-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!(code, 3);
    assert!(output.contains("out\n") && output.contains("err\n"), "{output:?}");
}

fn run_rm_leaves_nothing() {
    let world = World::new();
    let mut spec = bridged(&["true"]);
    spec.auto_remove = true;
    assert_eq!(world.run(spec).0, 0);
    assert!(world.engine.list(&ListOptions { all: true, ..Default::default() }).unwrap().is_empty());
    for (directory, what) in [(&world.roots.data, "containers"), (&world.roots.run, "containers")] {
        let left: Vec<_> = std::fs::read_dir(directory.join(what)).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // Detached: the monitor sees to it.
    let mut spec = isolated(&["true"]);
    spec.auto_remove = true;
    let created = world.engine.run_detached(spec).unwrap();
    testkit::eventually("the container removes itself", 5, || {
        world.engine.inspect(created.id.as_str()).is_err().then_some(())
    });
}

fn a_missing_program_is_127() {
    let world = World::new();
    let mut spec = isolated(&["no-such-program"]);
    spec.name = Some("lost".into());
    let error = world.engine.run_detached(spec.clone()).unwrap_err();
    assert!(matches!(error, RunError::Start { .. }));
    assert_eq!(error.exit_status(), Some(127));
    let text = diag::render(&error.into());
    assert!(text.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{text}");
    assert_eq!(world.engine.inspect("lost").unwrap().state.status, Status::Created);
    spec.name = Some("lost2".into());
    spec.auto_remove = true;
    world.engine.run_detached(spec).unwrap_err();
    assert!(world.engine.inspect("lost2").is_err());
    let error = world.engine.run_detached(isolated(&["/etc/passwd"])).unwrap_err();
    assert_eq!(error.exit_status(), Some(126), "{error:?}");
    let error =
        world.engine.create(engine::model::ContainerSpec { image: "nothing".into(), ..Default::default() });
    assert_eq!(error.unwrap_err().class(), Class::NotFound);
}

fn names_conflict_as_in_docker() {
    let world = World::new();
    let mut spec = isolated(&["true"]);
    spec.name = Some("web".into());
    let first = world.engine.create(spec.clone()).unwrap();
    let error = world.engine.create(spec).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "Conflict. The container name \"/web\" is already in use by container \"{}\". You have to remove (or rename) that \
             container to be able to reuse that name.",
            first.id
        )
    );
    world.engine.rename("web", "site").unwrap();
    assert!(world.engine.inspect("web").is_err());
    assert_eq!(world.engine.inspect(first.id.short()).unwrap().name, "site");
    assert_eq!(
        world.engine.remove("nobody", &RemoveOptions::default()).unwrap_err().to_string(),
        "No such container: nobody"
    );
}

fn one_of_many_gets_a_name() {
    let world = World::new();
    let mut spec = bridged(&["true"]);
    spec.name = Some("only".into());
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| world.engine.create(spec.clone()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, CreateError::Name(_)), "{error:?}");
    }
    let directories = std::fs::read_dir(world.roots.data.join("containers")).unwrap().count();
    assert_eq!(directories, 1);
}

fn list_and_inspect() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("sleepy".into());
    spec.labels.insert("tier".into(), "test".into());
    world.engine.run_detached(spec).unwrap();
    world.engine.create(isolated(&["true"])).unwrap();
    assert_eq!(world.engine.list(&ListOptions::default()).unwrap().len(), 1);
    let count = |filter: &str| {
        let filters = Filters::parse([filter]).unwrap();
        world.engine.list(&ListOptions { all: true, filters, ..Default::default() }).unwrap().len()
    };
    assert_eq!(count("label=tier=test"), 1);
    assert_eq!(count("status=created"), 1);
    assert_eq!(count("ancestor=busybox"), 2);
    assert_eq!(count("name=leep"), 1);
    let inspect = world.engine.inspect("sleepy").unwrap();
    assert!(inspect.state.pid > 0);
    let json = engine::view::container(&inspect);
    assert_eq!(json["State"]["Status"], "running");
    assert_eq!(json["Config"]["Labels"]["tier"], "test");
    assert_eq!(json["HostConfig"]["NetworkMode"], "none");
    assert_eq!(json["Name"], "/sleepy");
    let failure = world.engine.remove("sleepy", &RemoveOptions::default()).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "cannot remove container \"/sleepy\": container is running: stop the container before removing or force remove"
    );
}

fn logs_are_kept_and_followed() {
    let world = World::new();
    let mut spec = isolated(&["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.2; echo last"]);
    spec.name = Some("talker".into());
    world.engine.run_detached(spec).unwrap();
    let follow = LogOptions { follow: true, ..Default::default() };
    let lines: Vec<String> = world
        .engine
        .logs("talker", &follow)
        .unwrap()
        .map(|line| String::from_utf8_lossy(&line.unwrap().text).into_owned())
        .collect();
    assert_eq!(lines.concat(), "line 1\nline 2\nline 3\nline 4\nline 5\nlast\n");
    let tail = LogOptions { tail: Some(2), ..Default::default() };
    assert_eq!(world.engine.logs("talker", &tail).unwrap().count(), 2);
}

fn events_tell_a_life() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("life".into());
    spec.labels.insert("tier".into(), "test".into());
    world.engine.run_detached(spec).unwrap();
    world.ready("life", 1);
    world.engine.stop("life", &Default::default()).unwrap();
    world.engine.restart("life", &Default::default()).unwrap();
    // Who kills it has it stay down, and does not stop it.
    world.engine.kill("life", "KILL").unwrap();
    world.engine.start("life").unwrap();
    world.engine.remove("life", &RemoveOptions { force: true, volumes: false }).unwrap();
    let window = monitor::events::Window { since_ns: Some(0), until_ns: Some(engine::time::now_ns()) };
    let filters = Filters::parse(["container=life", "label=tier=test"]).unwrap();
    let actions: Vec<String> =
        world.engine.events(window, filters).unwrap().map(|event| event.unwrap().action).collect();
    let expected = "create start kill die stop start restart kill die start kill die stop destroy";
    assert_eq!(actions.join(" "), expected);
}

fn many_at_once() {
    let world = World::new();
    let names: Vec<String> = (0..50).map(|n| format!("many-{n}")).collect();
    let began = std::time::Instant::now();
    let started = world.engine.in_parallel(&names, |name| {
        let mut spec = sleeper();
        spec.network.mode = engine::model::NetworkMode::Default;
        spec.name = Some(name.to_owned());
        Ok(world.engine.run_detached(spec)?)
    });
    eprintln!("50 run -d in one process: {} ms", began.elapsed().as_millis());
    for result in started {
        result.unwrap_or_else(|e| panic!("{}", diag::render(&e)));
    }
    let began = std::time::Instant::now();
    assert_eq!(world.engine.list(&ListOptions::default()).unwrap().len(), 50);
    eprintln!("list of 50: {} us", began.elapsed().as_micros());
    let began = std::time::Instant::now();
    for result in world.engine.remove_many(&names, &RemoveOptions { force: true, volumes: true }) {
        result.unwrap_or_else(|e| panic!("{}", diag::render(&e)));
    }
    eprintln!("rm -f of 50: {} ms", began.elapsed().as_millis());
}
