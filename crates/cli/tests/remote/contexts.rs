//! Contexts: one store for hull and for Docker's client.

use std::fs;

use testkit::{Output, World};

use crate::{HULL, Two};

/// The real `docker` with the configuration of `world`.
fn docker(world: &World, args: &[&str]) -> Output {
    let mut command = std::process::Command::new("docker");
    command.args(args).current_dir(world.scratch()).env("DOCKER_CONFIG", world.docker_config());
    Output::of(command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT"))
}

#[test]
fn each_sees_the_others() {
    let two = Two::new();
    let (world, host) = (&two.here, format!("host={}", two.there.host()));
    let made =
        world.hull(["context", "create", "ours", "--description", "a hull", "--docker", &host]).success();
    assert_eq!(made.stdout, "ours\n");
    made.says("Successfully created context \"ours\"");
    let theirs =
        docker(world, &["context", "create", "theirs", "--description", "by docker", "--docker", &host]);
    assert_eq!(theirs.success().stdout, "theirs\n");
    for name in ["ours", "theirs"] {
        let (ours, dockers) =
            (world.hull(["context", "inspect", name]), docker(world, &["context", "inspect", name]));
        let json =
            |output: Output| serde_json::from_str::<serde_json::Value>(&output.success().stdout).unwrap();
        assert_eq!(json(ours), json(dockers), "{name}");
        assert_eq!(
            docker(world, &["-c", name, "info", "-f", "{{.ID}}"]).success().stdout,
            world.hull(["-c", name, "info", "-f", "{{.ID}}"]).success().stdout
        );
    }
    let listed = world.hull(["context", "ls", "--format", "{{.Name}} {{.Description}}"]).success().stdout;
    assert_eq!(listed, "default The engine of this host\nours a hull\ntheirs by docker\n");
    // Each has a current one of its own.
    world.hull(["context", "use", "ours"]).success();
    assert_eq!(world.hull(["context", "show"]).text(), "ours");
    assert_eq!(docker(world, &["context", "show"]).text(), "default");
    docker(world, &["context", "use", "theirs"]).success();
    assert_eq!(world.hull(["context", "show"]).text(), "ours");
    assert!(world.hull(["context", "ls"]).stdout.contains("\nours *"));
    // What the other one changes and removes is changed and gone.
    docker(world, &["context", "update", "ours", "--description", "changed"]).success();
    assert_eq!(
        world.hull(["context", "inspect", "-f", "{{.Metadata.Description}}", "ours"]).text(),
        "changed"
    );
    world
        .hull(["context", "rm", "ours"])
        .status(1)
        .says("context \"ours\" is the current one, use --force to remove it");
    assert_eq!(world.hull(["context", "rm", "-f", "ours"]).success().stdout, "ours\n");
    assert_eq!(world.hull(["context", "show"]).text(), "default");
    assert_eq!(docker(world, &["context", "ls", "-q"]).stdout, "default\ntheirs\n");
}

#[test]
fn mistakes_leave_nothing_behind() {
    let world = World::new(HULL);
    let create = |name: &str, endpoint: &str| world.hull(["context", "create", name, "--docker", endpoint]);
    create("default", "host=unix:///x").status(1).says("\"default\" is a reserved context name");
    create("a/b", "host=unix:///x").status(1).says("context name \"a/b\" is invalid");
    create("ab", "host=ftp://x").status(1).says("\"ftp://x\" is no address of an engine");
    let files = "ca=none.pem,cert=none.pem,key=none.pem";
    create("ab", &format!("host=unix:///x,{files}")).status(1).says("tcp:// needs ca, cert and key");
    create("ab", &format!("host=tcp://x,{files}")).status(1).says("none.pem");
    create("ab", "host=tcp://x").status(1).says("tcp:// needs ca, cert and key");
    create("ab", "host=tcp://x,ca=none.pem").status(1).says("ca, cert and key go together");
    create("ab", "host=tcp://x,frob=1").status(1).says("the keys are host, ca, cert and key");
    create("ab", "ca=none.pem").status(1).says("host is missing");
    world.hull(["context", "create", "ab"]).status(125).says("say where the engine is");
    world.hull(["context", "use", "ab"]).status(1).says("context \"ab\" does not exist");
    assert_eq!(world.hull(["context", "ls", "-q"]).success().stdout, "default\n");
    create("ab", "host=unix:///x").success();
    create("ab", "host=unix:///y").status(1).says("context \"ab\" already exists");
    // A damaged one is named.
    let meta = world.hull(["context", "inspect", "-f", "{{.Storage.MetadataPath}}", "ab"]).success().stdout;
    fs::write(std::path::Path::new(meta.trim()).join("meta.json"), "{").unwrap();
    world.hull(["-c", "ab", "ps"]).status(1).says("meta.json");
}
