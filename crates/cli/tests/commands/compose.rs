//! `compose` over several `up`s: what changed is made anew, the rest stays; profiles, scale, volumes.

use testkit::World;

use crate::world;

fn compose(world: &World, words: &[&str]) -> testkit::Output {
    world.hull([&["compose"], words].concat())
}

fn id(world: &World, service: &str) -> String {
    let listed = compose(world, &["ps", "--quiet", "--no-trunc", service]).success();
    assert_eq!(listed.text().lines().count(), 1, "{listed}");
    listed.text().to_owned()
}

/// Two services that sleep; `color` is in the environment of the second.
fn project(world: &World, color: &str) {
    let sleep = "image: busybox, command: sleep 300, stop_signal: SIGKILL";
    let text = format!(
        "name: shop
services:
  db: {{{sleep}, volumes: ['data:/data']}}
  web: {{{sleep}, environment: {{COLOR: {color}}}, depends_on: [db]}}
  tools: {{{sleep}, profiles: [debug]}}
volumes: {{data: {{}}}}
"
    );
    world.file("compose.yaml", &text);
}

#[test]
fn only_what_changed_is_made_anew() {
    let world = world();
    project(&world, "red");
    compose(&world, &["up", "-d"]).success();
    let (db, web) = (id(&world, "db"), id(&world, "web"));
    compose(&world, &["up", "-d"]).success();
    assert_eq!((id(&world, "db"), id(&world, "web")), (db.clone(), web.clone()));
    project(&world, "blue");
    compose(&world, &["up", "-d"]).success();
    assert_eq!(id(&world, "db"), db);
    assert_ne!(id(&world, "web"), web);
    let color = compose(&world, &["exec", "-T", "web", "sh", "-c", "echo $COLOR"]).success();
    assert_eq!(color.text(), "blue");
    compose(&world, &["up", "-d", "--force-recreate"]).success();
    assert_ne!(id(&world, "db"), db);
    compose(&world, &["down"]).success();
    assert_eq!(world.hull(["volume", "ls", "-q"]).success().text(), "shop_data", "down keeps the data");
    compose(&world, &["down", "-v"]).success();
    assert_eq!(world.hull(["volume", "ls", "-q"]).success().text(), "");
}

#[test]
fn profiles_and_scale() {
    let world = world();
    project(&world, "red");
    // The flags scripts give so that nothing is asked or drawn.
    compose(&world, &["up", "-d", "--scale", "web=3", "--yes", "--quiet-pull"]).success();
    let names = || {
        let listed = compose(&world, &["--profile", "*", "ps", "--format", "{{.Name}}"]).success();
        let mut names: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3"]);
    compose(&world, &["up", "-d", "--scale", "web=1"]).success();
    assert_eq!(names(), ["shop-db-1", "shop-web-1"]);
    compose(&world, &["--profile", "debug", "up", "-d"]).success();
    assert_eq!(names(), ["shop-db-1", "shop-tools-1", "shop-web-1"]);
    compose(&world, &["--profile", "debug", "down"]).success();
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn files_numbers_and_volumes_of_services() {
    let world = world();
    project(&world, "red");
    compose(&world, &["up", "-d"]).success();
    compose(&world, &["scale", "web=2"]).success();
    let names = || compose(&world, &["ps", "--filter", "status=running", "--format", "{{.Name}}"]).success();
    assert_eq!(names().text(), "shop-db-1\nshop-web-1\nshop-web-2");

    let file = world.file("greeting", "hello");
    compose(&world, &["cp", &file.to_string_lossy(), "web:/tmp/greeting"]).success();
    for index in ["1", "2"] {
        let read =
            compose(&world, &["exec", "-T", "--index", index, "web", "cat", "/tmp/greeting"]).success();
        assert_eq!(read.text(), "hello", "number {index}");
    }
    let back = world.scratch().join("back");
    compose(&world, &["cp", "--index", "2", "web:/tmp/greeting", &back.to_string_lossy()]).success();
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "hello");
    compose(&world, &["cp", "web:/tmp/greeting", "db:/tmp/x"]).status(125);
    compose(&world, &["cp", "--index", "9", "web:/tmp/greeting", "/tmp/x"]).status(1);

    compose(&world, &["export", "-o", &back.to_string_lossy(), "web"]).success();
    assert!(std::fs::metadata(&back).unwrap().len() > 100_000);
    let stats = compose(&world, &["stats", "--no-stream", "--format", "{{.Name}}"]).success();
    assert_eq!(stats.text(), "shop-db-1\nshop-web-1\nshop-web-2");
    assert_eq!(compose(&world, &["volumes", "-q"]).success().text(), "shop_data");
    assert_eq!(compose(&world, &["volumes", "-q", "web"]).success().text(), "");
    compose(&world, &["scale", "web=1"]).success();
    assert_eq!(names().text(), "shop-db-1\nshop-web-1");
    compose(&world, &["scale", "web"]).status(125);

    let refused = compose(&world, &["watch"]).status(1);
    assert!(refused.stderr.contains("compose watch` is not supported yet"), "{refused}");
}

#[test]
fn attaching_to_a_service() {
    let world = world();
    world.file(
        "compose.yaml",
        "services: {echo: {image: busybox, command: sh -c 'read line; echo got $$line; exit 4', stdin_open: true}}",
    );
    compose(&world, &["up", "-d"]).success();
    let attached = world.hull_with_input(["compose", "attach", "echo"], b"this\n").status(4);
    assert_eq!(attached.text(), "got this");
}

#[test]
fn a_changed_network_is_made_anew_under_its_containers() {
    let world = world();
    let sleep = "image: busybox, command: sleep 300, stop_signal: SIGKILL";
    let write = |subnet: &str| {
        let services = format!(
            "a: {{{sleep}, networks: [inner]}}\n  b: {{{sleep}, networks: [inner, other]}}\n  c: {{{sleep}, networks: [other]}}"
        );
        let inner = format!("inner: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}");
        world.file(
            "compose.yaml",
            &format!("name: shop\nservices:\n  {services}\nnetworks:\n  {inner}\n  other:\n"),
        );
    };
    write("10.231.7.0/24");
    compose(&world, &["up", "-d"]).success();
    let (a, b, c) = (id(&world, "a"), id(&world, "b"), id(&world, "c"));
    let started = world.inspect("shop-c-1", "{{.State.StartedAt}}");
    write("10.231.8.0/24");
    compose(&world, &["up", "-d", "a"]).success();
    assert_eq!((id(&world, "a"), id(&world, "b"), id(&world, "c")), (a, b, c));
    for service in ["a", "b"] {
        let name = format!("shop-{service}-1");
        let address =
            world.inspect(&name, "{{.State.Status}} {{.NetworkSettings.Networks.shop_inner.IPAddress}}");
        assert!(address.starts_with("running 10.231.8."), "{service}: {address}");
    }
    assert_eq!(world.inspect("shop-c-1", "{{.State.StartedAt}}"), started, "it is on the other network");
    compose(&world, &["exec", "-T", "a", "ping", "-c", "1", "-w", "5", "b"]).success();

    world
        .hull(["run", "-d", "--name", "guest", "--network", "shop_inner", "busybox", "sleep", "300"])
        .success();
    write("10.231.9.0/24");
    let refused = compose(&world, &["up", "-d"]).status(1);
    assert!(refused.stderr.contains("network shop_inner has changed and is in use by guest"), "{refused}");
    assert_eq!(world.inspect("shop-a-1", "{{.State.Status}}"), "running");
}

#[test]
fn without_what_others_make_nothing_is_made() {
    let world = world();
    for external in ["networks", "volumes"] {
        let text = "services:
  a: {image: busybox, networks: [default, out], volumes: ['in:/in']}
  b: {image: busybox, volumes: ['data:/data']}
networks: {out: }
volumes: {in: , data: }
";
        let key = if external == "networks" { "out" } else { "data" };
        let text = text.replace(&format!("{key}: }}"), &format!("{key}: {{external: true}}}}"));
        world.file("compose.yaml", &text);
        let refused = compose(&world, &["up", "-d"]).status(1);
        assert!(refused.stderr.contains("declared as external, but could not be found"), "{refused}");
        assert_eq!(world.hull(["network", "ls", "-q", "-f", "type=custom"]).success().text(), "");
        assert_eq!(world.hull(["volume", "ls", "-q"]).success().text(), "");
    }
}

#[test]
fn the_variables_of_a_file_are_listed_without_values() {
    let world = world();
    let file =
        "services:\n  a: {image: 'busybox:${TAG:-latest}', command: 'echo ${NEED:?set it} ${ALSO+yes}'}\n";
    world.file("compose.yaml", file);
    world.hull(["compose", "config"]).status(1).says("set it");
    let listed = world.hull(["compose", "config", "--variables"]).success().stdout;
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words[1..],
        [vec!["ALSO", "false", "yes"], vec!["NEED", "true"], vec!["TAG", "false", "latest"]]
    );
    for flag in ["--dry-run", "--compatibility"] {
        let refused = world.hull(["compose", flag, "config"]);
        refused.status(125).says(&format!("{flag} is not supported"));
    }
}

#[test]
fn orphans_are_killed_when_asked_for() {
    let world = world();
    let service = |name: &str| format!("  {name}: {{image: busybox, command: sleep 600}}\n");
    world.file("compose.yaml", &format!("name: kin\nservices:\n{}{}", service("a"), service("b")));
    world.hull(["compose", "up", "-d"]).success();
    world.file("compose.yaml", &format!("name: kin\nservices:\n{}", service("a")));
    let running = || world.hull(["ps", "--format", "{{.Names}}"]).success().text().to_owned();
    world.hull(["compose", "kill"]).success();
    testkit::eventually("only the orphan runs", 20, || (running() == "kin-b-1").then_some(()));
    world.hull(["compose", "kill", "--remove-orphans"]).success();
    testkit::eventually("nothing runs", 20, || running().is_empty().then_some(()));
    world.hull(["compose", "down", "--remove-orphans"]).success();
}
