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
    compose(&world, &["up", "-d", "--scale", "web=3"]).success();
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
