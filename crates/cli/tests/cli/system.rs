//! `info`, `version`, `df`, `events`, `prune`.

use crate::world;

#[test]
fn the_engine_tells_about_itself() {
    let world = world();
    world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "100"]).success();
    assert_eq!(
        world.hull(["info", "--format", "{{.ContainersRunning}} {{.Images}}"]).success().text(),
        "1 1"
    );
    assert!(world.hull(["version", "--format", "{{json .}}"]).success().text().starts_with('{'));
    let df = world.hull(["system", "df"]).success().stdout;
    assert!(df.contains("Images") && df.contains("Local Volumes"), "{df}");
    world.hull(["rm", "-f", "box"]).success();
    let args = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}", "-f", "container=box"];
    let events = world.hull(args).success();
    let actions: Vec<_> = events.text().lines().collect();
    for wanted in ["create", "start", "die", "destroy"] {
        assert!(actions.contains(&wanted), "{wanted} is not in {actions:?}");
    }
}

#[test]
fn prune_removes_what_nobody_uses() {
    let world = world();
    world.hull(["run", "--name", "old", "busybox", "true"]).success();
    world.hull(["network", "create", "unused"]).success();
    let pruned = world.hull(["system", "prune", "-f"]).success();
    assert!(pruned.stdout.contains("Deleted Containers:") && pruned.stdout.contains("unused"), "{pruned}");
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
    assert_eq!(world.hull(["images", "-q"]).text().lines().count(), 1, "named images stay");
}
