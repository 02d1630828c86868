//! Containers of another hull: what is asked for over the API is what flags ask for here.

use serde_json::Value;
use testkit::eventually;

use crate::Two;

/// What an inspection says was asked for.
fn asked(two: &Two, name: &str) -> Value {
    let text = two.there.world.hull(["inspect", name]).success().stdout;
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let mut all = document[0].take();
    let mut asked =
        serde_json::json!({"Config": all["Config"].take(), "HostConfig": all["HostConfig"].take()});
    // The short id, where no name was given.
    if asked["Config"]["Hostname"].as_str().is_some_and(|name| all["Id"].as_str().unwrap().starts_with(name))
    {
        asked["Config"]["Hostname"] = "its id".into();
    }
    let networks = all["NetworkSettings"]["Networks"].as_object().unwrap();
    let ours = |endpoint: &Value| {
        serde_json::json!([endpoint["Aliases"], endpoint["IPAMConfig"], endpoint["GwPriority"]])
    };
    asked["Networks"] = networks.iter().map(|(name, endpoint)| (name.clone(), ours(endpoint))).collect();
    asked
}

#[test]
fn every_flag_means_the_same() {
    let two = Two::new();
    two.there.world.hull(["network", "create", "--subnet", "10.213.7.0/24", "net"]).success();
    two.there.world.hull(["network", "create", "more"]).success();
    two.here.file("labels", "x=y\n");
    two.there.world.file("labels", "x=y\n");
    two.here.file("seccomp.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    two.there.world.file("seccomp.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    for flags in [
        "",
        "-it -e A=b -e PATH -u 5:6 -w /tmp --group-add 7 --hostname h --domainname d --init --stop-signal INT --stop-timeout 3",
        "--privileged --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --read-only --pid host --ipc host --uts host",
        "--cgroupns host --security-opt systempaths=unconfined --security-opt seccomp=unconfined --userns host",
        "--security-opt seccomp=seccomp.json --ipc shareable --shm-size 1m --sysctl net.ipv4.ip_forward=1",
        "--device /dev/null:/dev/x:r --device-cgroup-rule c\u{a0}1:3\u{a0}mr --oom-score-adj 5 --ulimit nofile=5:6",
        "-m 64m --memory-swap 128m --memory-reservation 32m --cpus 0.5 --cpu-shares 3 --pids-limit 9 --blkio-weight 20",
        "--cpu-period 50000 --cpu-quota 25000 --cpuset-cpus 0 --memory-swap -1 -m 64m",
        "-v /tmp:/a:ro -v named:/b:nocopy -v /anonymous --tmpfs /c:size=1m,mode=700 -v /tmp:/d:idmap=owner",
        "--mount type=bind,source=/tmp,target=/a,readonly,bind-propagation=rslave --mount type=volume,target=/b,volume-nocopy",
        "--mount type=volume,source=named,target=/b,volume-label=k=v --mount type=tmpfs,target=/c,tmpfs-size=1m,tmpfs-mode=700",
        "--network net --network-alias one --network-alias two --ip 10.213.7.9",
        "--network name=net,alias=three,gw-priority=4 --network more",
        "--network net --link other:peer",
        "--network none --add-host a:1.2.3.4",
        "-p 127.0.0.1:8000:80 -p 9000-9010:90/udp -p 81 --expose 82 -P --dns 1.1.1.1 --dns-search d --dns-option ndots:1",
        "--mac-address 02:42:ac:11:00:99 --label a=b --label c --label-file labels --annotation k=v",
        "--health-cmd true --health-interval 3s --health-retries 4 --health-start-period 5s --health-start-interval 1s",
        "--no-healthcheck --restart on-failure:3 --log-driver local --log-opt max-size=1m",
        "--entrypoint sh --rm --volumes-from other:ro --cgroup-parent /x",
        "--entrypoint= --platform linux/amd64",
    ] {
        if flags.contains("--volumes-from") {
            two.there
                .world
                .hull(["create", "--name", "other", "-v", "named:/o", "busybox", "true"])
                .success();
        }
        let flags: Vec<String> = flags
            .split(' ')
            .filter(|flag| !flag.is_empty())
            .map(|flag| flag.replace('\u{a0}', " "))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let create = |name| [&["create", "--name", name], &flags[..], &["busybox", "echo", "hi"]].concat();
        let made = two.hull(&create("over")).success();
        assert_eq!(made.stdout.len(), 65, "{made}");
        let over = asked(&two, "over");
        two.there.world.hull(["rm", "over"]).success();
        two.there.world.hull(create("at")).success();
        let at = asked(&two, "at");
        two.there.world.hull(["rm", "at"]).success();
        for part in ["Config", "HostConfig", "Networks"] {
            for (key, value) in at[part].as_object().unwrap() {
                assert_eq!(over[part][key], *value, "{part}.{key} of {flags:?}");
            }
        }
    }
}

#[test]
fn a_container_lives_and_dies() {
    let two = Two::new();
    let id =
        two.hull(&["run", "-d", "--name", "web", "-e", "A=b", "busybox", "sleep", "1000"]).success().stdout;
    let id = id.trim();
    for args in [
        &[
            "ps",
            "--format",
            "{{.ID}} {{.Image}} {{.Command}} {{.State}} {{.Names}} {{.Ports}} {{.Mounts}} {{.Networks}} {{.Size}}",
        ][..],
        &["ps", "-q"],
        &["ps", "-aq", "--no-trunc"],
        &["ps", "--filter", "name=web", "--format", "json {{.Labels}}"],
        &["ps", "--filter", "name=other", "-q"],
        &["ps", "-s", "--format", "{{.Size}}"],
        &["inspect", "-f", "{{.Id}} {{.Config.Env}}", "web"],
        &["container", "inspect", "-s", "web"],
        &["port", "web"],
        &["top", "web", "-o", "pid,comm"],
        &["diff", "web"],
    ] {
        two.same(args);
    }
    assert!(two.same(&["top", "web"]).contains("sleep 1000"));
    two.hull(&["pause", "web"]).success();
    assert_eq!(two.there.world.inspect("web", "{{.State.Status}}"), "paused");
    assert_eq!(two.hull(&["unpause", "web"]).success().stdout, "web\n");
    two.hull(&["rename", "web", "site"]).success();
    two.hull(&["restart", "-t", "0", "site"]).success();
    two.hull(&["update", "-m", "64m", "--memory-swap", "64m", "--restart", "always", "site"]).success();
    assert_eq!(
        two.there.world.inspect("site", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}"),
        "67108864 always"
    );
    two.hull(&["update", "--restart", "no", "site"]).success();
    assert_eq!(two.hull(&["stop", "-t", "0", "site", "site"]).success().stdout, "site\nsite\n");
    assert_eq!(two.hull(&["wait", "site"]).success().stdout, "137\n");
    assert_eq!(two.hull(&["start", id]).success().stdout, format!("{id}\n"));
    assert_eq!(two.hull(&["kill", "-s", "TERM", "site"]).success().stdout, "site\n");
    assert_eq!(two.hull(&["rm", "-f", "site"]).success().stdout, "site\n");
    assert_eq!(two.same(&["ps", "-aq"]), "");
}

#[test]
fn failures_have_the_words_and_statuses_they_have_here() {
    let two = Two::new();
    two.there.world.hull(["create", "--name", "taken", "busybox", "true"]).success();
    for args in [
        &["inspect", "nowhere"][..],
        &["logs", "nowhere"],
        &["start", "nowhere"],
        &["stop", "nowhere"],
        &["kill", "taken"],
        &["rm", "nowhere"],
        &["exec", "nowhere", "true"],
        &["exec", "taken", "true"],
        &["attach", "nowhere"],
        &["port", "taken", "80"],
        &["rename", "nowhere", "x"],
        &["create", "--name", "taken", "busybox"],
        &["create", "-m", "1k", "busybox"],
        &["run", "--rm", "--pull", "never", "missing"],
        &["rmi", "missing"],
        &["tag", "missing", "x"],
        &["network", "rm", "nowhere"],
        &["volume", "rm", "nowhere"],
        &["ps", "--filter", "frob=1"],
    ] {
        two.fails_alike(args);
    }
    two.hull(&["rm", "-f", "nowhere"]).success();
    let (over, at) = (
        two.hull(&["run", "--rm", "busybox", "frob"]),
        two.there.world.hull(["run", "--rm", "busybox", "frob"]),
    );
    assert_eq!((over.status, at.status), (Some(127), Some(127)), "{over}");
    assert_eq!(two.hull(&["run", "--rm", "busybox", "/etc"]).status, Some(126));
    eventually("what could not be started is gone", 20, || {
        (two.there.world.hull(["ps", "-aq"]).stdout
            == format!("{}\n", &two.there.world.inspect("taken", "{{.Id}}")[..12]))
        .then_some(())
    });
}

#[test]
fn files_go_in_and_out() {
    let two = Two::new();
    two.there.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    two.here.file("tree/one", "1");
    two.here.file("tree/sub/two", "2");
    std::os::unix::fs::chown(two.here.scratch().join("tree/one"), Some(1234), Some(1234)).unwrap();
    two.hull(&["cp", "tree", "box:/into"]).success();
    two.hull(&["cp", "tree/.", "box:/tmp"]).success();
    let there = |args: &[&str]| two.there.world.hull([&["exec", "box"], args].concat()).success().stdout;
    assert_eq!(there(&["cat", "/into/one", "/into/sub/two", "/tmp/one"]), "121");
    assert_eq!(there(&["stat", "-c", "%u", "/into/one"]), "0\n");
    two.hull(&["cp", "-a", "tree/one", "box:/kept"]).success();
    assert_eq!(there(&["stat", "-c", "%u", "/kept"]), "1234\n");
    two.hull(&["cp", "box:/into", "out"]).success();
    let out = two.here.scratch().join("out");
    assert_eq!(std::fs::read_to_string(out.join("sub/two")).unwrap(), "2");
    two.hull(&["cp", "box:/into/one", "out/renamed"]).success();
    assert_eq!(std::fs::read_to_string(out.join("renamed")).unwrap(), "1");
    two.hull(&["cp", "box:/none", "."]).status(1).says("Could not find the file /none in container box");
    two.hull(&["cp", "none", "box:/"]).status(1).says("cannot copy none");
    two.hull(&["cp", "tree/one", "box:/none/"]).status(1).says("no such directory: /none/");
    two.hull(&["cp", "tree/one", "missing:/"]).status(1).says("No such container: missing");
    two.hull(&["export", "-o", "root.tar", "box"]).success();
    let listed = testkit::Output::of(
        std::process::Command::new("tar").args(["-tf", "root.tar"]).current_dir(two.here.scratch()),
    );
    assert!(listed.success().stdout.contains("into/sub/two"));
    two.hull(&["export", "-o", "none.tar", "none"]).status(1);
    assert!(!two.here.scratch().join("none.tar").exists());
}
