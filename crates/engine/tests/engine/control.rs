//! Stop, kill, restart, pause, wait, exec, restart policies, health.

use crate::world::{World, isolated, sleeper};
use diag::{Class, Diagnose};
use engine::model::{
    HealthCommand, HealthSpec, HealthStatus, RestartPolicy, Status, StopOptions, WaitCondition,
};
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, fn())] = &[
    ("stop_start_restart", stop_start_restart),
    ("kill_and_wait", kill_and_wait),
    ("pause_freezes", pause_freezes),
    ("exec_joins_the_container", exec_joins_the_container),
    ("restart_policies", restart_policies),
    ("health_is_reported", health_is_reported),
];

fn named(name: &str, mut spec: engine::model::ContainerSpec) -> engine::model::ContainerSpec {
    spec.name = Some(name.into());
    spec
}

fn stop_start_restart() {
    let world = World::new();
    let engine = &world.engine;
    engine.run_detached(named("web", sleeper())).unwrap();
    world.ready("web", 1);
    engine.stop("web", &StopOptions::default()).unwrap();
    let state = engine.inspect("web").unwrap().state;
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, 0, 0));
    engine.stop("web", &StopOptions::default()).unwrap();
    engine.start("web").unwrap();
    engine.start("web").unwrap();
    let pid = engine.inspect("web").unwrap().state.pid;
    world.ready("web", 2);
    engine.restart("web", &StopOptions::default()).unwrap();
    let state = engine.inspect("web").unwrap().state;
    assert!(state.pid > 0 && state.pid != pid);
    // A process that ignores the signal is killed after the timeout.
    engine
        .run_detached(named("deaf", isolated(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])))
        .unwrap();
    let began = Instant::now();
    engine.stop("deaf", &StopOptions { timeout_s: Some(1), signal: None }).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(engine.inspect("deaf").unwrap().state.exit_code, 137);
}

fn kill_and_wait() {
    let world = World::new();
    let engine = &world.engine;
    engine.run_detached(named("victim", isolated(&["sleep", "1000"]))).unwrap();
    let code = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| engine.wait("victim", WaitCondition::NotRunning).unwrap());
        engine.kill("victim", "KILL").unwrap();
        waiter.join().unwrap()
    });
    assert_eq!(code, 137);
    assert_eq!(engine.wait("victim", WaitCondition::NotRunning).unwrap(), 137);
    let error = engine.kill("victim", "TERM").unwrap_err();
    let id = engine.inspect("victim").unwrap().id;
    assert_eq!(error.to_string(), format!("cannot kill container: victim: container {id} is not running"));
    assert_eq!(engine.kill("victim", "WAT").unwrap_err().to_string(), "invalid signal: WAT");
}

fn pause_freezes() {
    let world = World::new();
    let engine = &world.engine;
    engine.run_detached(named("ice", sleeper())).unwrap();
    engine.pause("ice").unwrap();
    assert_eq!(engine.inspect("ice").unwrap().state.status, Status::Paused);
    assert_eq!(engine.pause("ice").unwrap_err().class(), Class::Conflict);
    engine.unpause("ice").unwrap();
    assert_eq!(engine.inspect("ice").unwrap().state.status, Status::Running);
    engine.stop("ice", &StopOptions::default()).unwrap();
}

fn exec_joins_the_container() {
    let world = World::new();
    let mut spec = named("host", sleeper());
    spec.process.env = vec!["COLOUR=blue".into()];
    spec.isolation.hostname = Some("inside".into());
    world.engine.run_detached(spec).unwrap();
    assert_eq!(
        world.exec("host", &["sh", "-c", "echo $COLOUR $(hostname); exit 4"]),
        (4, "blue inside\n".into())
    );
    let (code, text) = world.exec("host", &["no-such-program"]);
    assert_eq!(code, 127, "{text}");
    let (_, seccomp) = world.exec("host", &["grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(seccomp.trim(), "Seccomp:\t2");
    world.engine.stop("host", &StopOptions::default()).unwrap();
    let (code, text) = world.exec("host", &["true"]);
    assert_eq!(code, 125);
    assert!(text.contains("is not running"), "{text}");
}

fn restart_policies() {
    let world = World::new();
    let engine = &world.engine;
    let mut spec = named("flaky", isolated(&["sh", "-c", "exit 5"]));
    spec.restart = RestartPolicy::OnFailure { max: 2 };
    engine.run_detached(spec).unwrap();
    testkit::eventually("it gives up", 10, || {
        let inspect = engine.inspect("flaky").unwrap();
        (inspect.state.status == Status::Exited && inspect.restart_count == 2).then_some(())
    });
    let mut spec = named("immortal", sleeper());
    spec.restart = RestartPolicy::UnlessStopped;
    engine.run_detached(spec).unwrap();
    let first = engine.inspect("immortal").unwrap().state.pid;
    // From outside: a `kill` by the user would count as a stop, as in Docker.
    sys::process::kill(first, 9).unwrap();
    testkit::eventually("it comes back", 10, || {
        let state = engine.inspect("immortal").unwrap().state;
        (state.status == Status::Running && state.pid != first).then_some(())
    });
    engine.stop("immortal", &StopOptions::default()).unwrap();
    assert_eq!(engine.inspect("immortal").unwrap().state.status, Status::Exited);
}

fn health_is_reported() {
    let world = World::new();
    let engine = &world.engine;
    let mut spec = named("patient", sleeper());
    spec.health = Some(HealthSpec {
        test: Some(HealthCommand::Shell("test -e /tmp/well".into())),
        interval_ns: Some(50_000_000),
        retries: Some(2),
        ..Default::default()
    });
    engine.run_detached(spec).unwrap();
    let health = |wanted| {
        testkit::eventually("the health changes", 10, || {
            let health = engine.inspect("patient").unwrap().state.health.unwrap();
            (health.status == wanted).then_some(())
        });
    };
    health(HealthStatus::Unhealthy);
    assert_eq!(world.exec("patient", &["touch", "/tmp/well"]).0, 0);
    health(HealthStatus::Healthy);
}
