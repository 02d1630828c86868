//! Files of containers, their limits, and their logs for many at once.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use serde_json::json;

use crate::served;

#[test]
fn files_go_in_and_out_as_docker_copies_them() {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    let scratch = api.world.scratch();
    fs::create_dir(scratch.join("tree")).unwrap();
    fs::write(scratch.join("tree/file"), "content").unwrap();
    api.docker(["cp", "tree", "box:/tmp/"]).success();
    assert_eq!(api.world.hull(["exec", "box", "cat", "/tmp/tree/file"]).success().text(), "content");
    api.docker(["cp", "box:/tmp/tree", "back"]).success();
    assert_eq!(fs::read_to_string(scratch.join("back/file")).unwrap(), "content");
    let streamed = api.docker(["cp", "box:/tmp/tree/file", "-"]).success();
    assert!(streamed.stdout.contains("content"), "{streamed}");
    api.docker(["cp", "back/file", "box:/tmp/renamed"]).success();
    assert_eq!(api.world.hull(["exec", "box", "cat", "/tmp/renamed"]).success().text(), "content");
    let missing = api.docker(["cp", "box:/nowhere", "x"]).status(1);
    assert!(missing.stderr.contains("Could not find the file /nowhere in container box"), "{missing}");
    api.docker(["export", "-o", "all.tar", "box"]).success();
    assert!(fs::metadata(scratch.join("all.tar")).unwrap().len() > 500_000);
}

#[test]
fn what_the_kernel_shows_is_no_file_of_a_container() {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    let names = |path: &str| {
        let answer = api.get(&format!("/containers/box/archive?path={path}")).expect(200);
        let file = api.world.scratch().join("archive.tar");
        fs::write(&file, answer.body).unwrap();
        let listed = Command::new("tar").arg("-tf").arg(file).output().unwrap();
        assert!(listed.status.success(), "{path}");
        String::from_utf8(listed.stdout).unwrap()
    };
    let all = names("/");
    assert!(all.contains("/bin/busybox\n") && all.contains("/proc/\n"), "{all}");
    assert!(
        !all.contains("/proc/self") && !all.contains("/sys/kernel") && !all.contains("/dev/null"),
        "{all}"
    );
    assert_eq!(names("/sys"), "sys/\n");
    let make = "mkdir -p /dev/shm/some/where && touch /dev/shm/some/where/file";
    api.world.hull(["exec", "box", "sh", "-c", make]).success();
    assert_eq!(names("/dev/shm/some"), "some/\nsome/where/\nsome/where/file\n");
    // An archive that fails early is a failure, not an answer that breaks off.
    api.world.hull(["create", "--name", "odd", "-v", "/sys/bus/cpu:/cpu", "busybox", "true"]).success();
    let failed = api.get("/containers/odd/archive?path=/cpu").expect(403).json();
    assert!(failed["message"].as_str().unwrap().contains("Permission denied"), "{failed}");
}

#[test]
fn archives_that_do_not_fit_are_refused() {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    let put = |query: &str, body: &[u8]| {
        api.request(
            "PUT",
            &format!("/containers/box/archive?{query}"),
            "Content-Type: application/x-tar\r\n",
            body,
        )
    };
    put("path=/tmp", b"this is no archive, however long it is").expect(400);
    put("path=/nowhere", b"").expect(404);
    put("", b"").expect(400);
    let directory = api.request("HEAD", "/containers/box/archive?path=/tmp", "", b"").expect(200);
    assert!(
        directory.head.to_ascii_lowercase().contains("x-docker-container-path-stat: "),
        "{}",
        directory.head
    );
    api.request("HEAD", "/containers/nobody/archive?path=/", "", b"").expect(404);
}

#[test]
fn limits_are_changed_and_what_is_fixed_is_named() {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    api.docker(["update", "--memory", "64m", "--memory-swap", "64m", "--restart", "on-failure:3", "box"])
        .success();
    let inspect = api.get("/containers/box/json").json();
    assert_eq!(inspect["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(inspect["HostConfig"]["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 3}));
    let fixed =
        api.post("/containers/box/update", &json!({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}]}));
    assert!(fixed.expect(501).text().contains("Ulimits: it is fixed when a container is created"));
    api.post("/containers/box/update", &json!({"CpuRealtimePeriod": 5})).expect(501);
    let rates = json!({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1000}]});
    for (name, body) in
        [("BlkioDeviceReadBps: ", rates), ("OomKillDisable: ", json!({"OomKillDisable": true}))]
    {
        let fixed = api.post("/containers/box/update", &body).expect(501).text();
        assert!(fixed.contains(name), "{fixed}");
    }
    let pids = |limit: i64| {
        api.post("/containers/box/update", &json!({ "PidsLimit": limit })).expect(200);
        let kernels =
            api.docker(["exec", "box", "cat", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]);
        (
            api.get("/containers/box/json").json()["HostConfig"]["PidsLimit"].clone(),
            kernels.stdout.trim().to_owned(),
        )
    };
    assert_eq!(pids(77), (json!(77), "77".to_owned()));
    // Zero is no limit, and not nothing said.
    assert_eq!(pids(0), (json!(0), "max".to_owned()));
    api.post("/containers/nobody/update", &json!({"Memory": 1 << 26})).expect(404);
}

#[test]
fn more_clients_follow_than_there_are_watches() {
    let api = served();
    let script = "sleep 2; for i in 1 2 3 4 5; do echo line $i; done";
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]).success();
    let target = "/containers/box/logs?follow=1&stdout=1";
    let mut clients: Vec<_> =
        (0..200).map(|_| api.begin("GET", target, "Connection: close\r\n", b"")).collect();
    for client in &mut clients {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        let text = String::from_utf8_lossy(&all);
        assert!((1..=5).all(|n| text.contains(&format!("line {n}\n"))), "{text}");
    }
    // Attributes of lines come before them; there are none, as with dockerd's own log drivers unless they are told to note some.
    let last = api.get("/containers/box/logs?stdout=1&details=1&tail=1").expect(200);
    assert_eq!(&last.body[8..], b" line 5\n");
}
