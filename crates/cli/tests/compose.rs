//! `hull compose` as it is typed: output, exit statuses, signals.

use testkit::{Output, World, eventually};

const HULL: &str = env!("CARGO_BIN_EXE_hull");

fn world(compose: &str) -> World {
    let world = World::with_busybox(HULL);
    world.file("compose.yaml", compose);
    world
}

const SLEEPER: &str = "image: busybox, command: sleep 100, stop_signal: SIGKILL";

#[test]
fn a_project_from_up_to_down() {
    let world = world(
        "name: shop
services:
  db: {image: busybox, command: sh -c 'touch /ready; exec sleep 100', stop_signal: SIGKILL, healthcheck: {test: test -e /ready, interval: 50ms}}
  web:
    image: busybox
    command: sh -c 'echo hello; exec sleep 100'
    stop_signal: SIGKILL
    environment: {WHO: web}
    depends_on: {db: {condition: service_healthy}}
",
    );
    let up = world.hull(["compose", "up", "-d"]).success();
    for line in
        [" Network shop_default  Created", " Container shop-db-1  Healthy", " Container shop-web-1  Started"]
    {
        assert!(up.stderr.lines().any(|have| have == line), "{line}\n{up}");
    }
    assert_eq!(
        world.hull(["compose", "ps", "--format", "{{.Name}} {{.Service}} {{.State}}"]).success().text(),
        "shop-db-1 db running\nshop-web-1 web running"
    );
    assert_eq!(
        world.hull(["compose", "ls", "--format", "{{.Name}} {{.Status}}"]).success().text(),
        "shop running(2)"
    );
    eventually("web has spoken", 10, || {
        let logs = world.hull(["compose", "logs", "web"]).success();
        (logs.text() == "web-1  | hello").then_some(())
    });
    let exec = world.hull(["compose", "exec", "-T", "web", "sh", "-c", "echo $WHO; exit 3"]).status(3);
    assert_eq!(exec.text(), "web");
    let run = world
        .hull(["compose", "run", "--rm", "-T", "-e", "WHO=once", "web", "sh", "-c", "echo $WHO; exit 4"])
        .status(4);
    assert_eq!(run.text(), "once");
    let again = world.hull(["compose", "up", "-d"]).success();
    assert!(again.stderr.contains(" Container shop-web-1  Running"), "{again}");
    world.hull(["compose", "-p", "shop", "down", "-v"]).success();
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn an_attached_up_ends_as_its_service_or_its_user_says() {
    let world = world(&format!(
        "services: {{job: {{image: busybox, command: sh -c 'echo working; exit 5'}}, other: {{{SLEEPER}}}}}"
    ));
    let up = world.hull(["compose", "up", "--exit-code-from", "job"]).status(5);
    assert!(
        up.stdout.contains("job-1    | working\n") && up.stdout.contains("job-1 exited with code 5\n"),
        "{up}"
    );

    let attached = world.spawn(["compose", "up", "other"]);
    eventually("other runs", 10, || {
        (world.hull(["compose", "ps", "--services"]).text() == "other").then_some(())
    });
    attached.signal("INT");
    let ended = attached.finish().status(130);
    assert!(ended.stdout.contains("other-1 exited with code 137"), "{ended}");
    world.hull(["compose", "down"]).success();
}

#[test]
fn config_prints_what_is_asked_for() {
    let world = World::new(HULL);
    world
        .file("compose.yaml", "name: n\nservices: {b: {image: 'x:${TAG}'}, a: {build: .}}\nvolumes: {v: }\n");
    world.file(".env", "TAG=7\n");
    let config = |flags: &[&str]| {
        let words = ["compose", "config"].iter().chain(flags);
        world.hull(words).success().text().to_owned()
    };
    assert_eq!(config(&["--services"]), "a\nb");
    assert_eq!(config(&["--images"]), "n-a\nx:7");
    assert_eq!(config(&["--volumes"]), "v");
    assert_eq!(config(&["-q"]), "");
    assert!(config(&["--hash", "b"]).starts_with("b "));
    assert!(config(&["b"]).contains("image: x:7"));
    assert!(config(&["--format", "json"]).starts_with("{\n  \"name\": \"n\""));
}

#[test]
fn mistakes_are_named() {
    let world = World::new(HULL);
    world.hull(["compose", "up"]).status(1).says("error: no configuration file provided: not found in ");
    world.hull(["compose", "up", "--frob"]).status(125).says("unknown flag: --frob");
    world.hull(["compose", "frob"]).status(125).says("unknown compose command: \"frob\"");
    world.file("compose.yaml", "services: {a: {image: nosuch, gpu: 1}}\n");
    world.hull(["compose", "up"]).status(1).says(
        "error: compose.yaml:1:31: services.a: additional property 'gpu' is not allowed\n  hint: did you mean `gpus`?",
    );
    world.file("compose.yaml", "services: {a: {image: nosuch}}\n");
    world
        .hull(["compose", "up", "-d", "--pull", "never"])
        .status(1)
        .says("error: no such image: nosuch (service \"a\")");
    world.hull(["compose", "logs", "b"]).status(1).says("error: no such service: b");
}

#[test]
fn builds_have_contexts_limits_and_caches() {
    let world = world(
        "services:
  a:
    build:
      context: .
      additional_contexts: {side: ./side, base: 'docker-image://busybox'}
      ulimits: {nofile: {soft: 77, hard: 88}}
      cache_to: ['type=inline']
",
    );
    world.file("side/word", "beside\n");
    world.file("Dockerfile", "FROM base\nCOPY --from=side word /\nRUN ulimit -n >> /word\nCMD cat /word\n");
    let up = world.hull(["compose", "up"]).success();
    assert!(up.stdout.contains("| beside\n") && up.stdout.contains("| 77\n"), "{up}");
    world.hull(["compose", "down"]).success();
    for (build, said) in [
        (
            "{additional_contexts: {x: 'service:b'}}",
            "must be a directory, docker-image://reference or a git repository",
        ),
        ("{additional_contexts: {x: 'https://example.com/x.git#-x'}}", "no reference is called so"),
        ("{context: 'https://example.com/x.tar'}", "must be a directory of this host or a git repository"),
        ("{ulimits: {wat: 1}}", "invalid ulimit type: wat"),
        ("{cache_from: ['type=gha']}", "type=gha is not supported"),
        ("{ssh: [default]}", "SSH_AUTH_SOCK is not set"),
    ] {
        world.file("compose.yaml", &format!("services: {{a: {{build: {build}}}}}\n"));
        let mut command = world.command(["compose", "build"]);
        let refused = Output::of(command.current_dir(world.scratch()).env_remove("SSH_AUTH_SOCK")).status(1);
        assert!(refused.stderr.contains(said), "{refused}");
    }
}

#[test]
fn a_failing_build_shows_its_last_output() {
    let world = world("services: {a: {build: .}}\n");
    world.file("Dockerfile", "FROM busybox\nRUN echo about to fail; exit 9\n");
    let up = world.hull(["compose", "up", "-d"]).status(1).says("about to fail");
    assert!(up.stderr.contains("error: ") && up.stderr.contains("Dockerfile"), "{up}");
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
}
