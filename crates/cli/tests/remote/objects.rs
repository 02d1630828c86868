//! Images, networks and volumes of another hull, and what it says about itself.

use std::fs;

use serde_json::json;
use testkit::Registry;

use crate::Two;

#[test]
fn images() {
    let two = Two::new();
    let registry = Registry::start();
    let name = registry.reference("app:1");
    two.hull(&["tag", "busybox", &name]).success();
    let (over, at) = (two.hull(&["push", &name]).success(), two.there.world.hull(["push", &name]).success());
    assert_eq!(over.stdout.lines().last(), at.stdout.lines().last(), "{over}\n{at}");
    assert!(over.stdout.starts_with("The push refers to repository ["), "{over}");
    let removed = two.hull(&["rmi", &name]).success().stdout;
    assert!(removed.starts_with(&format!("Untagged: {name}\nUntagged: ")), "{removed}");
    let pulled = two.hull(&["pull", &name]).success();
    assert!(
        pulled.stdout.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")),
        "{pulled}"
    );
    assert_eq!(two.hull(&["pull", "-q", &name]).success().stdout, format!("{name}\n"));
    two.hull(&["rmi", &name]).success();
    // What is missing is pulled by who needs it.
    let run = two.hull(&["run", "--rm", &name, "echo", "hi"]).success();
    assert_eq!(run.stdout, "hi\n");
    run.says(&format!("Unable to find image '{name}' locally"));
    for args in [
        &["images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}} {{.Digest}}"][..],
        &["images", "-q"],
        &["images", "--no-trunc", "-q", "busybox"],
        &["images", "--filter", "reference=busybox", "--format", "{{.Repository}}"],
        &["image", "inspect", "busybox"],
        &["history", "--no-trunc", "--human=false", "busybox"],
        &["history", "--human=false", "--platform", "linux/amd64", "busybox"],
        &["image", "inspect", "--platform", "linux/amd64", "busybox"],
        &["image", "inspect", "-f", "{{.Id}}", "busybox", &name],
    ] {
        two.same(args);
    }
    two.hull(&["save", "-o", "all.tar", "busybox", &name]).success();
    two.hull(&["rmi", "-f", "busybox", &name]).success();
    assert_eq!(two.same(&["images", "-q"]), "");
    let loaded = two.hull(&["load", "-i", "all.tar"]).success().stdout;
    assert!(
        loaded.contains("Loaded image: busybox:latest\n")
            && loaded.contains(&format!("Loaded image: {name}\n")),
        "{loaded}"
    );
    two.here.file("junk", "no archive");
    two.hull(&["load", "-i", "junk"]).status(1);
    two.hull(&["run", "--name", "box", "busybox", "touch", "/new"]).success();
    let id = two.hull(&["commit", "-m", "note", "-c", "ENV A=b", "box", "made:1"]).success().stdout;
    assert_eq!(two.there.world.inspect("made:1", "{{.Id}} {{.Comment}}"), format!("{} note", id.trim()));
    two.hull(&["export", "-o", "root.tar", "box"]).success();
    let id = two.hull(&["import", "-c", "CMD sh", "root.tar", "plain:1"]).success().stdout;
    assert_eq!(
        two.there.world.inspect("plain:1", "{{.Id}} {{.Config.Cmd}}"),
        format!("{} [/bin/sh -c sh]", id.trim())
    );
    two.hull(&["pull", &registry.reference("none")]).status(1);
    two.hull(&["run", "--rm", &registry.reference("none")]).status(125);
}

#[test]
fn credentials_are_those_of_who_asks() {
    let two = Two::new();
    let registry = Registry::with_password(&two.here);
    let name = registry.reference("app:1");
    let (host, _) = name.split_once('/').unwrap();
    fs::create_dir_all(two.here.docker_config()).unwrap();
    // alice:secret
    let config = json!({"auths": {host: {"auth": "YWxpY2U6c2VjcmV0"}}});
    fs::write(two.here.docker_config().join("config.json"), config.to_string()).unwrap();
    two.hull(&["tag", "busybox", &name]).success();
    two.hull(&["push", &name]).success();
    // The other side's own user knows none.
    two.there.world.hull(["push", &name]).status(1);
}

#[test]
fn networks_and_volumes() {
    let two = Two::new();
    let create = [
        "network",
        "create",
        "--subnet",
        "10.213.8.0/24",
        "--gateway",
        "10.213.8.7",
        "--ip-range",
        "10.213.8.128/25",
        "--aux-address",
        "a=10.213.8.9",
        "--label",
        "k=v",
        "--internal",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "net",
    ];
    let id = two.hull(&create).success().stdout;
    two.same(&["network", "inspect", "net"]);
    for args in [
        &[
            "network",
            "ls",
            "--format",
            "{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Labels}} {{.CreatedAt}}",
        ][..],
        &["network", "ls", "-q", "--no-trunc", "--filter", "name=net"],
        &["network", "ls"],
    ] {
        two.same(args);
    }
    two.hull(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    two.hull(&["network", "connect", "--alias", "x", "--ip", "10.213.8.200", "net", "box"]).success();
    assert_eq!(two.there.world.inspect("box", "{{.NetworkSettings.Networks.net.IPAddress}}"), "10.213.8.200");
    two.fails_alike(&["network", "rm", "net"]);
    two.hull(&["network", "disconnect", "-f", "net", "box"]).success();
    assert_eq!(two.hull(&["network", "rm", "net"]).success().stdout, "net\n");
    assert!(!id.is_empty());
    assert_eq!(two.hull(&["volume", "create", "--label", "k=v", "vol"]).success().stdout, "vol\n");
    assert_eq!(two.hull(&["volume", "create"]).success().stdout.len(), 65);
    for args in
        [&["volume", "ls"][..], &["volume", "ls", "-q", "--filter", "label=k"], &["volume", "inspect", "vol"]]
    {
        two.same(args);
    }
    two.hull(&["volume", "rm", "vol"]).success();
    two.hull(&["volume", "rm", "-f", "vol"]).success();
}

#[test]
fn what_is_unused_is_pruned() {
    let two = Two::new();
    let make = || {
        for args in [
            &["create", "--name", "box", "busybox", "true"][..],
            &["network", "create", "net"],
            &["volume", "create", "named"],
            &["volume", "create"],
            &["tag", "busybox", "other"],
        ] {
            two.there.world.hull(args).success();
        }
    };
    for args in [
        &["container", "prune", "-f"][..],
        &["network", "prune", "-f"],
        &["volume", "prune", "-f"],
        &["volume", "prune", "-f", "-a"],
        &["image", "prune", "-f"],
        &["builder", "prune", "-f"],
    ] {
        make();
        let over = two.hull(args).success().stdout;
        two.there.world.hull(["rm", "-f", "box"]);
        two.there.world.hull(["network", "rm", "-f", "net"]);
        two.there.world.hull(["volume", "prune", "-f", "-a"]).success();
        make();
        let at = two.there.world.hull(args).success().stdout;
        two.there.world.hull(["rm", "-f", "box"]);
        two.there.world.hull(["network", "rm", "-f", "net"]);
        two.there.world.hull(["volume", "prune", "-f", "-a"]).success();
        // Ids differ.
        let shape = |text: &str| {
            text.lines().map(|line| if line.len() == 64 { "id" } else { line }.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shape(&over), shape(&at), "{args:?}");
    }
    make();
    let pruned = two.hull(&["system", "prune", "-f", "-a", "--volumes"]).success().stdout;
    assert!(
        pruned.contains("Deleted Networks:\nnet\n") && pruned.contains("untagged: busybox:latest\n"),
        "{pruned}"
    );
    assert_eq!(two.there.world.hull(["volume", "ls", "-q"]).stdout, "named\n");
    assert_eq!(two.hull(&["container", "prune"]).status, Some(1));
}

#[test]
fn the_engine_about_itself() {
    let two = Two::new();
    two.hull(&["run", "--name", "box", "busybox", "true"]).success();
    two.same(&["info"]);
    two.same(&["info", "-f", "{{.ID}} {{.Instance}} {{.ServerVersion}} {{.Containers}}"]);
    two.same(&["system", "df"]);
    two.same(&["system", "df", "-v"]);
    let version = two.hull(&["version"]).success().stdout;
    assert!(version.contains(&format!("Server: hull at {}\n", two.there.host())), "{version}");
    assert_eq!(two.same(&["version", "-f", "{{.Server.Version}}"]), "0.1.0\n");
}
