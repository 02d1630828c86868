//! Projects on the real kernel: what `up`, `down` and the others do.
//!
//! The engine starts its own program as monitor and builder's helper, so this test is that program too: it has its own `main`,
//! which is those helpers when called by their names and the list of tests otherwise.

#[path = "stack/harness.rs"]
mod harness;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use compose::{DownOptions, LogsOptions, Recreate, RemoveImages, RmOptions, RunOptions, UpOptions, UpResult};
use harness::{Test, World};

fn main() -> ExitCode {
    harness::main(&[
        ("a_stack_comes_up_in_order_and_goes_without_a_trace", Test(comes_and_goes)),
        ("only_what_changed_is_recreated", Test(only_what_changed)),
        ("services_find_one_another_by_name", Test(names)),
        ("secrets_and_configs_are_files", Test(files)),
        ("volumes_keep_their_data", Test(volumes)),
        ("volumes_show_other_owners", Test(owners)),
        ("a_dependency_that_fails_stops_what_needs_it", Test(failing_dependencies)),
        ("attached_up_shows_output_and_returns_the_exit_code", Test(attached)),
        ("an_interrupt_stops_everything", Test(interrupted)),
        ("scaling_up_and_down", Test(scaling)),
        ("stop_start_restart_kill_rm", Test(lifecycle)),
        ("images_are_built_when_missing", Test(building)),
        ("one_off_containers", Test(one_off)),
        ("orphans_and_foreign_objects", Test(orphans)),
        ("twenty_services_at_once", Test(twenty)),
    ])
}

fn detached() -> UpOptions {
    UpOptions::default()
}

fn comes_and_goes(world: &World) {
    let project = world.project(
        "services:
  db:
    image: busybox
    command: sh -c 'sleep 0.2; touch /ready; exec sleep 100'
    healthcheck: {test: test -e /ready, interval: 50ms, start_period: 5s, start_interval: 50ms}
    stop_signal: SIGKILL
  init: {image: busybox, command: 'true'}
  web:
    image: busybox
    command: sleep 100
    stop_signal: SIGKILL
    labels: {own: label}
    depends_on:
      db: {condition: service_healthy}
      init: {condition: service_completed_successfully}
volumes: {unused: {}}
",
    );
    let stack = world.stack(&project);
    assert_eq!(stack.get().up(&detached()).unwrap(), UpResult::Detached);
    let seen = stack.progress();
    let place =
        |text: &str| seen.iter().position(|line| line == text).unwrap_or_else(|| panic!("{text}: {seen:#?}"));
    assert!(place("Network app_default Created") < place("Container app-db-1 Started"));
    assert!(place("Container app-db-1 Healthy") < place("Container app-web-1 Starting"));
    assert!(place("Container app-init-1 Exited") < place("Container app-web-1 Starting"));
    let web = &stack.get().instances_of(&["web".into()]).unwrap()[0];
    let label = |key: &str| web.container.labels.get(key).map(String::as_str);
    assert_eq!(web.name(), "app-web-1");
    assert_eq!(label("own"), Some("label"));
    assert_eq!(label("com.docker.compose.project"), Some("app"));
    assert_eq!(label("com.docker.compose.oneoff"), Some("False"));
    assert_eq!(
        label("com.docker.compose.depends_on"),
        Some("db:service_healthy:false,init:service_completed_successfully:false")
    );
    let listed = compose::projects(&world.engine, true).unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].status.as_str()), ("app", "running(2), exited(1)"));

    stack.get().down(&DownOptions::default()).unwrap();
    let seen = stack.progress();
    let place =
        |text: &str| seen.iter().position(|line| line == text).unwrap_or_else(|| panic!("{text}: {seen:#?}"));
    assert!(place("Container app-web-1 Stopped") < place("Container app-db-1 Stopping"));
    assert!(stack.get().instances().unwrap().is_empty());
    assert!(world.networks().is_empty());
}

fn only_what_changed(world: &World) {
    let file = |tag: &str| {
        format!(
            "services:
  a: {{image: busybox, command: sleep 100, stop_signal: SIGKILL}}
  b: {{image: busybox, command: sleep 100, stop_signal: SIGKILL, environment: {{TAG: {tag}}}, volumes: [/anon]}}
"
        )
    };
    let ids = |project: &compose::Project, options: &UpOptions| {
        let stack = world.stack(project);
        stack.get().up(options).unwrap();
        let instances = stack.get().instances().unwrap();
        instances.iter().map(|instance| instance.id().to_owned()).collect::<Vec<_>>()
    };
    let anonymous = || world.volumes();
    let first = world.project(&file("one"));
    let before = ids(&first, &detached());
    let volumes = anonymous();
    assert_eq!(ids(&first, &detached()), before);
    let second = world.project(&file("two"));
    assert_eq!(ids(&second, &UpOptions { recreate: Recreate::Never, ..detached() }), before);
    let after = ids(&second, &detached());
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    assert_eq!(anonymous(), volumes, "the new container inherits the anonymous volume");
    let forced =
        ids(&second, &UpOptions { recreate: Recreate::Force, services: vec!["a".into()], ..detached() });
    assert_ne!(forced[0], after[0]);
    assert_eq!(forced[1], after[1]);
}

fn names(world: &World) {
    let project = world.project(
        "services:
  server:
    image: busybox
    command: sh -c 'echo hello > /tmp/index.html; exec httpd -f -p 8000 -h /tmp'
    stop_signal: SIGKILL
    networks: {inner: {aliases: [other]}}
    healthcheck: {test: wget -qO- http://127.0.0.1:8000/index.html, interval: 50ms, start_period: 5s, start_interval: 50ms}
  client:
    image: busybox
    command: sh -c 'wget -qO- http://server:8000/index.html && wget -qO- http://other:8000/index.html'
    networks: [inner]
    depends_on: {server: {condition: service_healthy}}
networks:
  inner: {ipam: {config: [{subnet: 10.213.7.0/24}]}}
",
    );
    let stack = world.stack(&project);
    stack.get().up(&detached()).unwrap();
    let codes = stack.get().wait(&["client".into()]).unwrap();
    stack.get().logs(&LogsOptions { services: vec!["client".into()], ..LogsOptions::default() }).unwrap();
    assert_eq!(
        (codes[0].1, stack.lines()),
        (0, vec!["client-1  | hello".into(), "client-1  | hello".into()])
    );
}

fn files(world: &World) {
    world.file("token.txt", "from a file\n");
    let project = world.project(
        "services:
  a:
    image: busybox
    read_only: true
    command: sh -c 'cat /run/secrets/token /run/secrets/var /etc/app.conf; stat -c \"%a %u %g\" /etc/app.conf; echo x > /run/secrets/token'
    secrets: [token, {source: var, target: var}]
    configs: [{source: conf, target: /etc/app.conf, mode: 0440, uid: '33', gid: '34'}]
secrets:
  token: {file: token.txt}
  var: {environment: HOME}
configs:
  conf: {content: \"from the file ${HOME}\\n\"}
",
    );
    let stack = world.stack(&project);
    stack.get().up(&UpOptions { attach: true, ..detached() }).unwrap();
    let lines = stack.lines().join("\n");
    assert!(
        lines.contains("a-1  | from a file\na-1  | /rootfrom the file /root\na-1  | 440 33 34\n"),
        "{lines}"
    );
    assert!(lines.contains("Read-only file system"), "{lines}");
    assert!(lines.contains("a-1 exited with code 1"), "{lines}");
    stack.get().down(&DownOptions::default()).unwrap();
    assert!(!world.engine.store().data().join("compose/app").exists());
}

fn volumes(world: &World) {
    let device = world.scratch().join("data/deep");
    let project = world.project(&format!(
        "services:
  a: {{image: busybox, command: sh -c 'date >> /bound/log; date >> /named/log; wc -l < /bound/log; wc -l < /named/log', volumes: ['bound:/bound', 'named:/named']}}
volumes:
  bound: {{driver_opts: {{type: none, o: bind, device: {}}}}}
  named:
",
        device.display()
    ));
    let run = || {
        let stack = world.stack(&project);
        stack.get().up(&UpOptions { attach: true, ..detached() }).unwrap();
        let lines = stack.lines();
        stack.get().down(&DownOptions::default()).unwrap();
        lines[..2].iter().map(|line| line.trim_start_matches("a-1  | ").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(run(), ["1", "1"]);
    assert_eq!(run(), ["2", "2"]);
    assert_eq!(world.volumes(), ["app_bound", "app_named"]);
    let stack = world.stack(&project);
    stack.get().down(&DownOptions { volumes: true, ..DownOptions::default() }).unwrap();
    assert!(world.volumes().is_empty());
    assert_eq!(run(), ["3", "1"], "a bound directory is the user's own");
}

fn owners(world: &World) {
    let lines = |service: &str| {
        let project = world
            .project(&format!("services: {{a: {{image: busybox, {service}}}}}\nvolumes: {{data: {{}}}}\n"));
        let stack = world.stack(&project);
        stack.get().up(&UpOptions { attach: true, ..detached() }).unwrap();
        stack.lines().iter().map(|line| line.trim_start_matches("a-1  | ").to_owned()).collect::<Vec<_>>()
    };
    lines("command: chown 33 /short, volumes: ['data:/short']");
    let look = "command: stat -c %u /plain /short /long";
    let long = "{type: volume, source: data, target: /long, volume: {x-hull-idmap: owner}}";
    let seen = lines(&format!("{look}, volumes: ['data:/plain', 'data:/short:idmap=owner', {long}]"));
    assert_eq!(seen[..3], ["33", "0", "0"]);
    let directory = world.scratch().join("owned");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(33), Some(33)).unwrap();
    let path = directory.display();
    let long = format!("{{type: bind, source: {path}, target: /long, bind: {{x-hull-idmap: owner}}}}");
    let seen = lines(&format!("{look}, volumes: ['{path}:/plain', '{path}:/short:idmap=owner', {long}]"));
    assert_eq!(seen[..3], ["33", "0", "0"]);
}

fn failing_dependencies(world: &World) {
    for (first, condition, expected) in [
        (
            "command: 'false'",
            "service_completed_successfully",
            "service \"a\" didn't complete successfully: exit 1",
        ),
        (
            "command: 'false', healthcheck: {test: 'true'}",
            "service_healthy",
            "dependency failed to start: container app-a-1 exited (1)",
        ),
        (
            "command: sleep 100, stop_signal: SIGKILL, healthcheck: {test: 'false', interval: 20ms, retries: 2}",
            "service_healthy",
            "dependency failed to start: container app-a-1 is unhealthy",
        ),
        (
            "command: sleep 100, stop_signal: SIGKILL",
            "service_healthy",
            "dependency failed to start: container app-a-1 has no healthcheck configured",
        ),
    ] {
        let project = world.project(&format!(
            "services:
  a: {{image: busybox, {first}}}
  b: {{image: busybox, command: sleep 100, stop_signal: SIGKILL, depends_on: {{a: {{condition: {condition}}}}}}}
  c: {{image: busybox, command: sleep 100, stop_signal: SIGKILL, depends_on: [b]}}
"
        ));
        let stack = world.stack(&project);
        let failure = stack.get().up(&detached()).unwrap_err();
        assert_eq!(failure.to_string(), expected);
        let running = stack
            .get()
            .instances()
            .unwrap()
            .into_iter()
            .filter(|i| i.is_running() && i.service != "a")
            .count();
        assert_eq!(running, 0);
        stack.get().down(&DownOptions::default()).unwrap();
    }
    let project = world.project("services: {a: {image: '127.0.0.1:1/nosuch'}}");
    let failure = world.stack(&project).get().up(&detached()).unwrap_err();
    assert_eq!(failure.to_string(), "cannot reach registry 127.0.0.1:1");
}

fn attached(world: &World) {
    let project = world.project(
        "services:
  job: {image: busybox, command: sh -c 'echo out; echo err >&2; sleep 0.2; exit 7'}
  helper: {image: busybox, command: sleep 100, stop_signal: SIGKILL}
",
    );
    let stack = world.stack(&project);
    let options = UpOptions { attach: true, exit_code_from: Some("job".into()), ..detached() };
    assert_eq!(stack.get().up(&options).unwrap(), UpResult::Finished(7));
    let lines = stack.lines();
    for line in
        ["job-1     | out", "job-1     | err", "job-1 exited with code 7", "helper-1 exited with code 137"]
    {
        assert!(lines.iter().any(|have| have == line), "{line}: {lines:#?}");
    }
    assert!(stack.get().instances().unwrap().iter().all(|instance| !instance.is_running()));
}

fn interrupted(world: &World) {
    let project = world.project(
        "services:
  a: {image: busybox, command: sh -c 'trap \"echo bye; exit 3\" TERM; echo up; while true; do sleep 0.05; done'}
",
    );
    let stack = world.stack(&project);
    let result = std::thread::scope(|scope| {
        let up = scope.spawn(|| stack.get().up(&UpOptions { attach: true, ..detached() }));
        harness::eventually("the container is up", || stack.lines_so_far().contains(&"a-1  | up".to_owned()));
        stack.interrupt.stop.store(true, Ordering::SeqCst);
        up.join().unwrap()
    });
    assert_eq!(result.unwrap(), UpResult::Interrupted);
    assert!(stack.lines().contains(&"a-1  | bye".to_owned()));
    assert!(!stack.get().instances().unwrap()[0].is_running());
}

fn scaling(world: &World) {
    let project = world.project(
        "services: {a: {image: busybox, command: sleep 100, stop_signal: SIGKILL, deploy: {replicas: 2}}}",
    );
    let count = |scale: Option<u32>| {
        let stack = world.stack(&project);
        let scale = scale.into_iter().map(|count| ("a".to_owned(), count)).collect();
        stack.get().up(&UpOptions { scale, ..detached() }).unwrap();
        let instances = stack.get().instances().unwrap();
        instances.iter().map(|instance| instance.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(count(None), ["app-a-1", "app-a-2"]);
    assert_eq!(count(Some(4)), ["app-a-1", "app-a-2", "app-a-3", "app-a-4"]);
    assert_eq!(count(Some(1)), ["app-a-1"]);
    assert!(count(Some(0)).is_empty());
}

fn lifecycle(world: &World) {
    let project = world.project(
        "services:
  a: {image: busybox, command: sleep 100, stop_signal: SIGKILL}
  b: {image: busybox, command: sleep 100, stop_signal: SIGKILL, depends_on: {a: {condition: service_started, restart: true}}}
",
    );
    let held = world.stack(&project);
    let stack = held.get();
    stack.up(&detached()).unwrap();
    let running = || stack.instances().unwrap().iter().filter(|instance| instance.is_running()).count();
    let started =
        || stack.instances().unwrap().iter().map(|i| i.container.state.started_ns).collect::<Vec<_>>();
    stack.stop(&["a".into()], None).unwrap();
    assert_eq!(running(), 1);
    stack.start(&[]).unwrap();
    assert_eq!(running(), 2);
    let before = started();
    stack.restart(&["a".into()], Some(0), false).unwrap();
    assert!(started().iter().zip(&before).all(|(now, before)| now != before), "b follows a");
    stack.pause(&[]).unwrap();
    assert!(stack.instances().unwrap().iter().all(|instance| instance.is_paused()));
    stack.unpause(&[]).unwrap();
    assert_eq!(stack.top(&[], &[]).unwrap().len(), 2);
    stack.kill(&compose::KillOptions { services: vec!["b".into()], ..Default::default() }).unwrap();
    harness::eventually("b is gone", || running() == 1);
    assert_eq!(stack.rm(&RmOptions::default()).unwrap(), 1);
    assert_eq!(stack.rm(&RmOptions { stop: true, ..RmOptions::default() }).unwrap(), 1);
    assert!(stack.instances().unwrap().is_empty());
    let failure = stack.start(&["nope".into()]).unwrap_err();
    assert_eq!(failure.to_string(), "no such service: nope");
}

fn building(world: &World) {
    world.file("app/Dockerfile", "FROM busybox\nARG WHO\nRUN echo $WHO > /who\nCMD [\"cat\", \"/who\"]\n");
    let file = |who: &str| format!("services: {{a: {{build: {{context: app, args: {{WHO: {who}}}}}}}}}");
    let run = |who: &str, build: bool| {
        let project = world.project(&file(who));
        let stack = world.stack(&project);
        stack.get().up(&UpOptions { attach: true, build, ..detached() }).unwrap();
        stack.lines()[0].clone()
    };
    assert_eq!(run("one", false), "a-1  | one");
    assert_eq!(run("two", false), "a-1  | one", "the image is there");
    assert_eq!(run("two", true), "a-1  | two", "a new image makes a new container");
    let project = world.project(&file("two"));
    let stack = world.stack(&project);
    stack.get().down(&DownOptions { images: RemoveImages::Local, ..DownOptions::default() }).unwrap();
    assert!(stack.progress().contains(&"Image app-a Removed".to_owned()));
}

fn one_off(world: &World) {
    let project = world.project(
        "services:
  db: {image: busybox, command: sleep 100, stop_signal: SIGKILL}
  a: {image: busybox, command: sleep 100, ports: ['39871:80'], environment: {A: 1, B: 2}, depends_on: [db]}
",
    );
    let held = world.stack(&project);
    let stack = held.get();
    let run = stack
        .one_off(&RunOptions {
            service: "a".into(),
            command: vec!["sh".into(), "-c".into(), "echo $A $B".into()],
            env: vec!["B=3".into()],
            ..RunOptions::default()
        })
        .unwrap();
    assert!(run.spec.network.publish.is_empty());
    assert!(stack.instances_of(&["db".into()]).unwrap()[0].is_running());
    let made = world.engine.run_detached(run.spec).unwrap();
    assert!(made.name.starts_with("app-a-run-"));
    assert_eq!(world.engine.wait(made.id.as_str(), Default::default()).unwrap(), 0);
    assert!(stack.instances_of(&["a".into()]).unwrap().is_empty(), "one-offs are no replicas");
    stack.down(&DownOptions::default()).unwrap();
    assert!(stack.instances().unwrap().is_empty());
}

fn orphans(world: &World) {
    let two = world.project(
        "services: {a: {image: busybox, command: sleep 100, stop_signal: SIGKILL}, b: {image: busybox, command: sleep 100, stop_signal: SIGKILL}}",
    );
    world.stack(&two).get().up(&detached()).unwrap();
    let one = world.project("services: {a: {image: busybox, command: sleep 100, stop_signal: SIGKILL}}");
    let held = world.stack(&one);
    held.get().up(&detached()).unwrap();
    assert!(held.warnings()[0].contains("orphan containers ([app-b-1])"), "{:?}", held.warnings());
    held.get().up(&UpOptions { remove_orphans: true, ..detached() }).unwrap();
    assert_eq!(held.get().instances().unwrap().len(), 1);

    let foreign =
        world.project("services: {a: {image: busybox, volumes: ['v:/v']}}\nvolumes: {v: {name: theirs}, }\n");
    let spec = engine::model::VolumeSpec { name: Some("theirs".into()), ..Default::default() };
    world.engine.volume_create(spec).unwrap();
    let failure = world.stack(&foreign).get().up(&detached()).unwrap_err();
    assert_eq!(failure.to_string(), "volume theirs exists, but was not made for project \"app\"");
    let external =
        world.project("services: {a: {image: busybox, networks: [n]}}\nnetworks: {n: {external: true}}\n");
    let failure = world.stack(&external).get().up(&detached()).unwrap_err();
    assert_eq!(failure.to_string(), "network n declared as external, but could not be found");
}

fn twenty(world: &World) {
    let mut file = "services:\n".to_owned();
    for number in 0..20 {
        file += &format!("  s{number}: {{image: busybox, command: sleep 100, stop_signal: SIGKILL}}\n");
    }
    let project = world.project(&file);
    let held = world.stack(&project);
    let begun = Instant::now();
    held.get().up(&detached()).unwrap();
    let up = begun.elapsed();
    assert_eq!(held.get().instances().unwrap().iter().filter(|instance| instance.is_running()).count(), 20);
    let begun = Instant::now();
    held.get().down(&DownOptions::default()).unwrap();
    eprintln!("20 services: up {up:?}, down {:?}", begun.elapsed());
    assert!(up < Duration::from_secs(60));
}
