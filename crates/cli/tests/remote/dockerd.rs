//! Docker's own engine, Debian's, at the other end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{Dockerd, Output, World};

use crate::{HULL, is_untouched, path_with};

/// The commands of every day, with what Docker's client prints where the two print the same.
#[test]
fn hull_is_a_client_of_dockerd() {
    let (here, dockerd) = (World::new(HULL), Dockerd::start());
    let host = format!("unix://{}", dockerd.socket().display());
    let hull = |args: &[&str]| here.hull([&["-H", &host], args].concat());
    let same = |args: &[&str]| {
        let (ours, dockers) = (hull(args).success(), dockerd.run(args).success());
        assert_eq!(ours.stdout, dockers.stdout, "{ours}\n{dockers}");
        ours.stdout
    };
    let archive = testkit::busybox_tar();
    let id = hull(&["import", "-c", "CMD [\"sh\"]", &archive.display().to_string(), "busybox:latest"])
        .success()
        .stdout;
    assert_eq!(same(&["image", "inspect", "-f", "{{.Id}}", "busybox"]), id);
    same(&["images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}"]);
    // There is no bridge.
    let run = ["run", "--network", "host", "--rm", "-i", "-e", "A=b", "-v", "data:/data", "-w", "/tmp"];
    let script = "echo $A $PWD; cat; echo err >&2; exit 7";
    let args = [&["-H", &host], &run[..], &["busybox", "sh", "-c", script]].concat();
    let output = here.hull_with_input(args, b"input\n");
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str(), output.status),
        ("b /tmp\ninput\n", "err\n", Some(7)),
        "{output}"
    );
    assert_eq!(hull(&["run", "--network", "none", "--rm", "busybox", "frob"]).status, Some(127));
    assert_eq!(same(&["ps", "-aq"]), "");
    hull(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "box",
        "-m",
        "64m",
        "--label",
        "k=v",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; sleep 1000",
    ])
    .success();
    for args in [
        &[
            "ps",
            "--format",
            "{{.ID}} {{.Image}} {{.Command}} {{.State}} {{.Names}} {{.Ports}} {{.Labels}} {{.Networks}}",
        ][..],
        &["ps", "-a", "--no-trunc", "-q"],
        &[
            "inspect",
            "-f",
            "{{.HostConfig.Memory}} {{.Config.Labels.k}} {{.HostConfig.Runtime}} {{.HostConfig.LogConfig.Type}}",
            "box",
        ],
        &["logs", "box"],
        &["volume", "ls"],
        &["volume", "inspect", "-f", "{{.Name}} {{.Mountpoint}}", "data"],
        &["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"],
        &["info", "-f", "{{.ID}} {{.Containers}} {{.Driver}}"],
        &["version", "-f", "{{.Server.Version}}"],
        &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"],
    ] {
        same(args);
    }
    assert_eq!(hull(&["logs", "box"]).stderr, "err\n");
    let exec = here.hull_with_input(["-H", &host, "exec", "-i", "box", "sh", "-c", "cat; exit 5"], b"in");
    assert_eq!((exec.stdout.as_str(), exec.status), ("in", Some(5)), "{exec}");
    let mut terminal = here.terminal(["-H", &host, "exec", "-it", "box", "sh"]);
    terminal.send("stty size; exit 4\n");
    terminal.expect("40 100");
    assert_eq!(terminal.finish().0, Some(4));
    here.file("tree/one", "1");
    hull(&["cp", "tree", "box:/tree"]).success();
    hull(&["cp", "box:/tree/one", "back"]).success();
    assert_eq!(fs::read_to_string(here.scratch().join("back")).unwrap(), "1");
    assert!(
        hull(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"])
            .success()
            .stdout
            .starts_with("box ")
    );
    hull(&["top", "box"]).success();
    hull(&["pause", "box"]).success();
    hull(&["unpause", "box"]).success();
    hull(&["update", "--restart", "always", "box"]).success();
    assert_eq!(
        same(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}}", "box"]),
        "always 67108864\n"
    );
    hull(&["stop", "-t", "0", "box"]).success();
    assert_eq!(hull(&["wait", "box"]).success().stdout, "137\n");
    hull(&["commit", "box", "made:1"]).success();
    hull(&["save", "-o", "made.tar", "made:1"]).success();
    assert_eq!(hull(&["rmi", "made:1"]).success().stdout.lines().next(), Some("Untagged: made:1"));
    assert_eq!(hull(&["load", "-i", "made.tar"]).success().stdout, "Loaded image: made:1\n");
    same(&["history", "--format", "{{.CreatedBy}} {{.Comment}}", "made:1"]);
    let events =
        hull(&["events", "--since", "1h", "--until", "0s", "--filter", "container=box"]).success().stdout;
    assert!(events.contains(" container start "), "{events}");
    hull(&["rm", "box"]).success();
    hull(&["inspect", "box"]).status(1).says("error: No such object: box");
    hull(&["rm", "box"]).status(1).says("error: No such container: box");
    // What it would ignore, or do more of than was asked for, is not asked of it.
    hull(&["run", "--annotation", "a=b", "busybox"])
        .status(125)
        .says("--annotation needs API version 1.43, and the engine at");
    hull(&["volume", "prune", "-f"]).status(1).says("needs API version 1.42");
    hull(&["run", "--mount", "type=bind,source=/,target=/x,idmap=owner", "busybox"])
        .status(125)
        .says("idmap is hull's own");
    assert_eq!(hull(&["container", "prune", "-f"]).success().stdout, "Total reclaimed space: 0B\n");
    hull(&["volume", "rm", "data"]).success();
    is_untouched(&here);
}

/// A host without hull is asked for Docker's engine.
#[test]
fn over_ssh_docker_is_the_second_choice() {
    let (here, dockerd) = (World::new(HULL), Dockerd::start());
    let script = format!(
        "#!/bin/sh\nshift 2\nexport DOCKER_HOST=unix://{} PATH=/usr/local/bin:/usr/bin:/bin\ncommand -v hull && exit 9\nexec sh -c \"$*\"\n",
        dockerd.socket().display()
    );
    let ssh = here.file("bin/ssh", &script);
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = path_with(ssh.parent().unwrap());
    let mut command = here.command(["-H", "ssh://there", "version", "-f", "{{.Server.Version}}"]);
    let output = Output::of(command.env("PATH", &path)).success();
    assert_eq!(output.stdout, dockerd.run(&["version", "-f", "{{.Server.Version}}"]).stdout);
    is_untouched(&here);
}
