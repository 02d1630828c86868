//! What a killed process leaves is put right by the next call.

use crate::world::{World, bridged, sleeper};
use engine::model::{ListOptions, RemoveOptions, RestartPolicy, Status, StopOptions};
use std::time::Duration;

pub const TESTS: &[(&str, fn())] = &[
    ("a_killed_monitor_leaves_no_ghost", a_killed_monitor_leaves_no_ghost),
    ("a_killed_monitor_of_a_volatile_container", a_killed_monitor_of_a_volatile_container),
    ("a_killed_monitor_of_a_paused_container", a_killed_monitor_of_a_paused_container),
    ("a_reboot_starts_what_should_run", a_reboot_starts_what_should_run),
    ("a_killed_client_leaves_nothing_running", a_killed_client_leaves_nothing_running),
    ("a_removal_cut_short_can_be_repeated", a_removal_cut_short_can_be_repeated),
];

fn kill_monitor(world: &World, name: &str) {
    let inspect = world.engine.inspect(name).unwrap();
    let state = monitor::state::read(&inspect.run_dir, &inspect.data_dir).unwrap().state;
    sys::process::kill(state.monitor_pid, 9).unwrap();
    // Whoever inherits it may leave it a zombie.
    let gone = |pid: i32| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
        Err(_) => true,
    };
    testkit::eventually("the process dies with its monitor", 5, || gone(state.pid).then_some(()));
}

fn a_killed_monitor_leaves_no_ghost() {
    let world = World::new();
    let mut spec = bridged(&["sleep", "1000"]);
    spec.name = Some("orphan".into());
    spec.network.publish = engine::parse::ports("80").unwrap();
    world.engine.run_detached(spec).unwrap();
    kill_monitor(&world, "orphan");
    assert!(world.engine.list(&ListOptions::default()).unwrap().is_empty());
    let state = world.engine.inspect("orphan").unwrap().state;
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, 137, 0));
    let published = net::inventory(world.engine.net_context()).unwrap().published;
    assert!(published.is_empty(), "{published:?}");
    world.engine.start("orphan").unwrap();
    assert_eq!(world.engine.inspect("orphan").unwrap().state.status, Status::Running);
    kill_monitor(&world, "orphan");
    world.engine.remove("orphan", &RemoveOptions::default()).unwrap();
}

fn a_killed_monitor_of_a_volatile_container() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("brief".into());
    spec.auto_remove = true;
    world.engine.run_detached(spec).unwrap();
    kill_monitor(&world, "brief");
    let all = ListOptions { all: true, ..Default::default() };
    let _ = world.engine.list(&all).unwrap();
    assert!(world.engine.list(&all).unwrap().is_empty());
}

fn a_removal_cut_short_can_be_repeated() {
    let world = World::new();
    let created = world.engine.create(sleeper()).unwrap();
    // As a removal that was killed after the files leaves it.
    std::fs::remove_dir_all(world.roots.data.join("containers").join(created.id.as_str())).unwrap();
    world.engine.start(created.id.as_str()).unwrap();
    std::thread::sleep(Duration::from_millis(1));
    world.engine.remove(created.id.as_str(), &RemoveOptions { force: true, volumes: true }).unwrap();
    assert!(world.engine.list(&ListOptions { all: true, ..Default::default() }).unwrap().is_empty());
}

fn a_killed_client_leaves_nothing_running() {
    let world = World::new();
    // The first start of all makes the network; the following ones are killed somewhere on their way.
    assert_eq!(world.spawn_run("bridge", &["true"]).wait().unwrap().code(), Some(0));
    for delay in 0..24 {
        let mut client = world.spawn_run("bridge", &["true"]);
        std::thread::sleep(Duration::from_millis(delay * 2));
        let _ = client.kill();
        client.wait().unwrap();
    }
    testkit::eventually("every container ends", 10, || {
        world.engine.list(&ListOptions::default()).unwrap().is_empty().then_some(())
    });
    // What is left are containers that were created and not started.
    for container in world.engine.list(&ListOptions { all: true, ..Default::default() }).unwrap() {
        assert_ne!(container.state.status, Status::Running);
        // A monitor may be removing it just now.
        let _ = world.engine.remove(container.id.as_str(), &RemoveOptions::default());
    }
    for root in [&world.roots.data, &world.roots.run] {
        testkit::eventually("the directories go", 5, || {
            let _ = world.engine.list(&ListOptions::default()).unwrap();
            std::fs::read_dir(root.join("containers")).unwrap().next().is_none().then_some(())
        });
    }
}

fn a_killed_monitor_of_a_paused_container() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("frozen".into());
    let id = world.engine.run_detached(spec).unwrap().id;
    world.engine.pause("frozen").unwrap();
    let inspect = world.engine.inspect("frozen").unwrap();
    let state = monitor::state::read(&inspect.run_dir, &inspect.data_dir).unwrap().state;
    sys::process::kill(state.monitor_pid, 9).unwrap();
    // The frozen process cannot even die before it is thawed, which is the next look's business.
    testkit::eventually("it is found dead", 5, || {
        let state = world.engine.inspect("frozen").unwrap().state;
        (state.status == Status::Exited && state.exit_code == 137).then_some(())
    });
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    let group = cgroup::Cgroup::open(&hierarchy, &format!("hull-{}/{id}", world.engine.instance())).unwrap();
    testkit::eventually("its control group goes", 5, || (!group.exists()).then_some(()));
}

fn a_reboot_starts_what_should_run() {
    let world = World::new();
    let run = |name: &str, restart: RestartPolicy, auto_remove: bool| {
        let mut spec = bridged(&["sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait"]);
        spec.name = Some(name.into());
        spec.restart = restart;
        spec.auto_remove = auto_remove;
        world.engine.run_detached(spec).unwrap();
        world.ready(name, 1);
    };
    run("always", RestartPolicy::Always, false);
    run("stopped", RestartPolicy::UnlessStopped, false);
    run("kept", RestartPolicy::UnlessStopped, false);
    run("once", RestartPolicy::No, false);
    run("brief", RestartPolicy::No, true);
    world.engine.stop("stopped", &StopOptions::default()).unwrap();
    let address = |name: &str| world.engine.inspect(name).unwrap().networks["bridge"].address;
    let before = address("kept");
    // What a power cut takes: processes, the run root, everything in the kernel.
    for name in ["always", "kept", "once", "brief"] {
        kill_monitor(&world, name);
    }
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    for group in cgroup::Cgroup::list(&hierarchy, &format!("hull-{}", world.engine.instance())).unwrap() {
        group.kill_all().unwrap();
        group.remove().unwrap();
    }
    net::remove_all(world.engine.net_context()).unwrap();
    std::fs::remove_dir_all(&world.roots.run).unwrap();
    let engine = engine::Engine::open(&world.roots).unwrap();
    let state =
        |name: &str| engine.inspect(name).map(|inspect| (inspect.state.status, inspect.state.exit_code));
    assert_eq!(state("once").unwrap(), (Status::Exited, 255));
    let mut outcomes: Vec<String> = engine
        .boot()
        .unwrap()
        .into_iter()
        .map(|(name, outcome)| outcome.map(|()| name).unwrap_or_else(|e| panic!("{}", diag::render(&e))))
        .collect();
    outcomes.sort();
    assert_eq!(outcomes, ["always", "kept"]);
    assert_eq!(state("kept").unwrap().0, Status::Running);
    assert_eq!(state("stopped").unwrap().0, Status::Exited);
    assert!(state("brief").is_err());
    assert_eq!(address("kept"), before);
}
