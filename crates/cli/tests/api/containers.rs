//! The life of a container, as `docker` leads it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;

use crate::served;

#[test]
fn run_shows_output_and_passes_on_the_exit_code() {
    let api = served();
    let run = |words: &[&str]| api.docker([&["run", "--rm", "busybox"], words].concat());
    assert_eq!(run(&["echo", "hello"]).success().text(), "hello");
    run(&["sh", "-c", "exit 7"]).status(7);
    let both = run(&["sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let echoed = api.docker_with_input(["run", "--rm", "-i", "busybox", "cat"], b"some\ninput");
    assert_eq!(echoed.success().stdout, "some\ninput");
    run(&["no-such-program"]).status(127);
    assert_eq!(api.world.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn a_terminal_has_its_size_and_one_stream() {
    let api = served();
    let mut terminal = api.terminal(["run", "--rm", "-it", "busybox", "sh"]);
    terminal.send("stty size; echo done-$((1+1))\r");
    terminal.expect("done-2");
    terminal.send("exit 3\r");
    assert_eq!(terminal.finish().0, Some(3));
}

#[test]
fn both_faces_see_the_same_containers() {
    let api = served();
    api.docker(["run", "-d", "--name", "by-docker", "busybox", "sleep", "1000"]).success();
    api.world.hull(["run", "-d", "--name", "by-hull", "busybox", "sleep", "1000"]).success();
    for output in
        [api.docker(["ps", "--format", "{{.Names}}"]), api.world.hull(["ps", "--format", "{{.Names}}"])]
    {
        assert_eq!(output.success().text(), "by-hull\nby-docker");
    }
    api.world.hull(["rm", "-f", "by-docker"]).success();
    api.docker(["stop", "-t", "0", "by-hull"]).success();
    api.docker(["rm", "by-hull"]).success();
    assert_eq!(api.docker(["ps", "-aq"]).success().text(), "");
}

#[test]
fn whoever_starts_it_an_attached_client_sees_the_first_byte() {
    let api = served();
    let body = json!({"Image": "busybox", "Cmd": ["echo", "first"]});
    let created = api.post("/containers/create?name=late", &body).expect(201).json();
    assert_eq!(created["Warnings"], json!([]));
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let mut client = api.begin("POST", "/containers/late/attach?stream=1&stdout=1&stderr=1", upgrade, b"");
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    api.world.hull(["start", "late"]).success();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\x01\0\0\0\0\0\0\x06first\n"), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_client_that_ends_its_input_goes_on_reading() {
    let api = served();
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", "cat; sleep 1; echo after"],
                      "OpenStdin": true, "StdinOnce": true, "AttachStdin": true});
    api.post("/containers/create?name=half", &body).expect(201);
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let mut client = api.begin("POST", "/containers/half/attach?stream=1&stdin=1&stdout=1", upgrade, b"");
    client.write_all(b"before\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    api.post("/containers/half/start", &json!(null)).expect(204);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("before\n") && all.ends_with("after\n"), "{all:?}");
}

#[test]
fn a_wait_that_has_begun_misses_no_end() {
    let api = served();
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", "exit 5"], "HostConfig": {"AutoRemove": true}});
    for (name, condition) in [("one", "removed"), ("two", "next-exit")] {
        api.post(&format!("/containers/create?name={name}"), &body).expect(201);
        let mut waiting =
            api.begin("POST", &format!("/containers/{name}/wait?condition={condition}"), "", b"");
        let mut head = [0; 15];
        waiting.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        // Started, ended and gone before anybody who only looks now and then would notice.
        api.post(&format!("/containers/{name}/start"), &json!(null)).expect(204);
        let mut rest = String::new();
        while !rest.contains("StatusCode") {
            let mut piece = [0; 512];
            let length = waiting.read(&mut piece).unwrap();
            assert!(length > 0, "{rest}");
            rest.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        assert!(rest.contains(r#"{"StatusCode":5}"#), "{rest}");
    }
}

#[test]
fn killing_the_server_hurts_no_container() {
    let mut api = served();
    api.docker([
        "run",
        "-d",
        "--name",
        "lives",
        "busybox",
        "sh",
        "-c",
        "while true; do echo tick; sleep 0.1; done",
    ])
    .success();
    api.kill();
    assert_eq!(api.world.inspect("lives", "{{.State.Running}}"), "true");
    api.start(&[]);
    let logs = api.docker(["logs", "--tail", "1", "lives"]).success();
    assert_eq!(logs.text(), "tick");
    api.docker(["rm", "-f", "lives"]).success();
}

#[test]
fn an_attach_looks_back_or_forward_or_both() {
    let api = served();
    let script = "echo before; echo wrong >&2; read x; echo after-$x";
    api.docker(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script]).success();
    eventually("it has begun", 20, || api.docker(["logs", "box"]).stderr.contains("wrong").then_some(()));
    let back = |query: &str| {
        let answer = api.request("POST", &format!("/containers/box/attach?{query}"), "", b"").expect(200);
        answer.text()
    };
    let both = back("logs=1&stdout=1&stderr=1");
    assert!(both.contains("before\n") && both.contains("wrong\n"), "{both:?}");
    assert!(!back("logs=1&stdout=1").contains("wrong"));
    assert_eq!(back("stdout=1"), "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let target = "/containers/box/attach?logs=1&stream=1&stdin=1&stdout=1";
    let mut client = api.begin("POST", target, upgrade, b"");
    client.write_all(b"now\n").unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("before\n") && all.contains("after-now\n"), "{all:?}");
    let wrong =
        api.request("POST", "/containers/box/attach?stream=1&detachKeys=shift-q", upgrade, b"").expect(400);
    assert!(wrong.text().contains("shift-q"), "{}", wrong.text());
}

#[test]
fn the_detach_keys_leave_a_terminal_alone() {
    let api = served();
    api.docker(["run", "-dit", "--name", "box", "busybox", "sh"]).success();
    let mut terminal = api.terminal(["attach", "--detach-keys", "ctrl-a,d", "box"]);
    terminal.send("echo here-$((1+1))\r");
    terminal.expect("here-2");
    terminal.send("\x01d");
    assert_eq!(terminal.finish().0, Some(1), "docker tells a detach by it");
    assert_eq!(api.world.inspect("box", "{{.State.Running}}"), "true");
}

#[test]
fn whoever_waits_for_a_container_is_let_go_when_it_is_removed() {
    let api = served();
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let close = "Connection: close\r\n";
    let begin = |name: &str| {
        [
            ("POST", "attach?stream=1&stdin=1&stdout=1", upgrade),
            ("POST", "wait?condition=next-exit", close),
            ("POST", "wait?condition=removed", close),
            ("GET", "logs?stdout=1&follow=1", close),
            ("GET", "stats", close),
        ]
        .map(|(method, what, headers)| {
            let target = format!("/containers/{name}/{what}");
            let mut client = api.begin(method, &target, headers, b"");
            let mut head = [0; 9];
            client.read_exact(&mut head).unwrap();
            (what, client)
        })
    };
    let ends = |clients: [(&'static str, std::os::unix::net::UnixStream); 5], code: &str| {
        for (what, mut client) in clients {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            let all = String::from_utf8_lossy(&all);
            let told = all.contains(&format!(r#"{{"StatusCode":{code}}}"#));
            assert_eq!(told, what.starts_with("wait"), "{what}: {all}");
        }
    };
    let sleep = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "OpenStdin": true});
    api.post("/containers/create?name=new", &sleep).expect(201);
    let clients = begin("new");
    api.request("DELETE", "/containers/new", "", b"").expect(204);
    ends(clients, "0");

    api.post("/containers/create?name=runs", &sleep).expect(201);
    api.post("/containers/runs/start", &json!(null)).expect(204);
    let clients = begin("runs");
    api.request("DELETE", "/containers/runs?force=1", "", b"").expect(204);
    ends(clients, "137");
}

#[test]
fn a_kill_waits_for_the_end_that_it_brings() {
    let api = served();
    let script = "trap : USR1; while :; do sleep 0.1; done";
    for name in ["one", "two", "three"] {
        api.docker(["run", "-d", "--name", name, "--restart", "always", "busybox", "sh", "-c", script])
            .success();
        api.post(&format!("/containers/{name}/kill?signal=USR1"), &json!(null)).expect(204);
        api.post(&format!("/containers/{name}/kill"), &json!(null)).expect(204);
        let state = &api.get(&format!("/containers/{name}/json")).expect(200).json()["State"];
        assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(137)), "{state}");
        api.post(&format!("/containers/{name}/kill"), &json!(null)).expect(409);
    }
    api.docker(["run", "-d", "--name", "paused", "busybox", "sleep", "1000"]).success();
    api.docker(["pause", "paused"]).success();
    api.docker(["kill", "paused"]).success();
    assert_eq!(api.world.inspect("paused", "{{.State.Status}}"), "exited");
}

#[test]
fn who_goes_away_is_not_attached_any_more() {
    let api = served();
    let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "OpenStdin": true});
    let id = api.post("/containers/create?name=box", &body).expect(201).json()["Id"].clone();
    let directory = api.world.run_root().join("containers").join(id.as_str().unwrap());
    let waiting = || {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("attach-")).count()
    };
    let open = || fs::read_dir(format!("/proc/{}/fd", api.pid())).unwrap().count();
    let attach = "/containers/box/attach?stream=1&stdin=1&stdout=1";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let clients = [
        ("POST", attach, "Connection: Upgrade\r\nUpgrade: tcp\r\n"),
        ("POST", attach, ""),
        ("GET", "/containers/box/attach/ws?stream=1&stdin=1&stdout=1", websocket),
    ];
    let begin = |(method, target, headers): (&str, &str, &str)| {
        let mut client = api.begin(method, target, headers, b"");
        client.read_exact(&mut [0; 12]).unwrap();
        client
    };
    for client in clients {
        let client = begin(client);
        assert_eq!(waiting(), 1);
        drop(client);
        eventually("nobody waits for it", 20, || (waiting() == 0).then_some(()));
    }
    let mut half = begin(clients[0]);
    half.shutdown(Shutdown::Write).unwrap();
    api.post("/containers/box/start", &Value::Null).expect(204);
    eventually("nobody waits for it", 20, || (waiting() == 0).then_some(()));
    let before = open();
    for client in clients {
        // Many, because what served the start may be on its way out and counted above.
        let many: Vec<_> = (0..10).map(|_| begin(client)).collect();
        assert!(open() > before);
        drop(many);
        eventually("they are let go", 20, || (open() <= before).then_some(()));
    }
    api.post("/containers/box/kill", &Value::Null).expect(204);
    half.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_stop_waits_for_a_start() {
    let api = served();
    let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"]});
    let id = api.post("/containers/create?name=box", &body).expect(201).json()["Id"].clone();
    let directory = api.world.run_root().join("containers").join(id.as_str().unwrap());
    fs::create_dir_all(&directory).unwrap();
    // What whoever starts a container holds.
    let lock = File::create(directory.join("op.lock")).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let asked = ["stop", "kill", "wait"].map(|action| {
            let target = format!("/containers/box/{action}");
            scope.spawn(|| api.post(&{ target }, &Value::Null).status)
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(asked.iter().all(|asked| !asked.is_finished()));
        drop(lock);
        assert_eq!(asked.map(|asked| asked.join().unwrap()), [304, 409, 200]);
    });
}

#[test]
fn who_hears_of_a_change_finds_it() {
    let api = served();
    let mut events = BufReader::new(api.begin("GET", "/events", "", b"")).lines().map(Result::unwrap);
    let mut next = |action: &str| {
        let wanted = format!(r#""Action":"{action}""#);
        events.find(|line| line.contains(&wanted)).expect("the stream goes on");
    };
    let state = || api.get("/containers/box/json").expect(200).json()["State"].clone();
    let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"]});
    for _ in 0..20 {
        api.post("/containers/create?name=box", &body).expect(201);
        api.post("/containers/box/start", &Value::Null).expect(204);
        next("start");
        assert_eq!(state()["Status"], "running");
        api.post("/containers/box/kill", &Value::Null).expect(204);
        next("die");
        let state = state();
        assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(137)));
        api.request("DELETE", "/containers/box", "", b"").expect(204);
    }
}
