//! Processes in running containers.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use testkit::{Api, eventually};

use crate::served;

/// A served world with a container that sleeps.
fn with_sleeper() -> Api {
    let api = served();
    api.world.hull(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).success();
    api
}

/// Starts one, on a connection to its input and output.
fn start(api: &Api, id: &str) -> UnixStream {
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n";
    api.begin("POST", &format!("/exec/{id}/start"), upgrade, b"{}")
}

fn make(api: &Api, body: &Value) -> String {
    let answer = api.post("/containers/box/exec", body).expect(201).json();
    answer["Id"].as_str().unwrap().to_owned()
}

fn inspect(api: &Api, id: &str) -> Value {
    api.get(&format!("/exec/{id}/json")).expect(200).json()
}

#[test]
fn docker_execs_with_output_input_and_exit_codes() {
    let api = with_sleeper();
    let exec = |words: &[&str]| api.docker([&["exec", "box"], words].concat());
    assert_eq!(exec(&["echo", "hello"]).success().text(), "hello");
    exec(&["sh", "-c", "exit 9"]).status(9);
    let both = exec(&["sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let echoed = api.docker_with_input(["exec", "-i", "box", "cat"], b"in and out");
    assert_eq!(echoed.success().stdout, "in and out");
    let env = api.docker([
        "exec",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "-u",
        "7:8",
        "box",
        "sh",
        "-c",
        "echo $A $PWD $(id -u):$(id -g)",
    ]);
    assert_eq!(env.success().text(), "b /tmp 7:8");
    let missing = exec(&["no-such-program"]).status(127);
    assert!(missing.stdout.contains("OCI runtime exec failed"), "{missing}");
    let large = exec(&["sh", "-c", "yes 0123456789 | head -c 3000000"]).success();
    assert_eq!(large.stdout.len(), 3_000_000);
}

#[test]
fn a_terminal_is_resized_and_ends_with_its_process() {
    let api = with_sleeper();
    let mut terminal = api.terminal(["exec", "-it", "box", "sh"]);
    terminal.send("echo ready-$((1+1))\r");
    terminal.expect("ready-2");
    terminal.resize(33, 77);
    terminal.send("sleep 0.5; stty size\r");
    terminal.expect("33 77");
    terminal.send("exit 4\r");
    assert_eq!(terminal.finish().0, Some(4));
}

#[test]
fn an_instance_is_made_started_once_and_looked_at() {
    let api = with_sleeper();
    let body = json!({"Cmd": ["sh", "-c", "read x; exit 6"], "AttachStdin": true, "AttachStdout": true});
    let id = make(&api, &body);
    let new = inspect(&api, &id);
    assert_eq!((&new["Running"], &new["ExitCode"], &new["Pid"]), (&json!(false), &Value::Null, &json!(0)));
    assert_eq!(new["ProcessConfig"]["arguments"], json!(["-c", "read x; exit 6"]));
    assert_eq!(api.get("/containers/box/json").json()["ExecIDs"], json!([id]));

    let mut client = start(&api, &id);
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let running = inspect(&api, &id);
    assert!(running["Running"] == true && running["Pid"].as_i64().unwrap() > 1, "{running}");
    let again = api.post(&format!("/exec/{id}/start"), &json!({})).expect(409).json();
    assert!(again["message"].as_str().unwrap().contains("has already run"), "{again}");
    client.write_all(b"go\n").unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    let ended = inspect(&api, &id);
    assert_eq!((&ended["Running"], &ended["ExitCode"], &ended["Pid"]), (&json!(false), &json!(6), &json!(0)));
    assert_eq!(api.get("/containers/box/json").json()["ExecIDs"], Value::Null);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let events = api.get(&format!("/events?since=0&until={now}&filters=%7B%22type%22:[%22container%22]%7D"));
    for action in ["exec_create: sh -c read x; exit 6", "exec_start: sh -c read x; exit 6", "exec_die"] {
        let told = events.text().lines().any(|line| {
            line.contains(&format!(r#""Action":"{action}""#)) && line.contains(&format!(r#""execID":"{id}""#))
        });
        assert!(told, "{action}: {}", events.text());
    }
}

#[test]
fn a_client_may_send_all_its_input_before_it_reads_anything() {
    let api = with_sleeper();
    let id = make(&api, &json!({"Cmd": ["wc", "-c"], "AttachStdin": true, "AttachStdout": true}));
    let mut client = start(&api, &id);
    client.write_all(&[b'x'; 3_000_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    eventually("its input has been read", 30, || (inspect(&api, &id)["ExitCode"] == 0).then_some(()));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.starts_with("HTTP/1.1 101") && all.ends_with("\x083000000\n"), "{all:?}");
}

#[test]
fn what_a_process_wrote_comes_though_it_takes_no_more_input() {
    let api = with_sleeper();
    let id = make(&api, &json!({"Cmd": ["echo", "hi"], "AttachStdin": true, "AttachStdout": true}));
    let mut client = start(&api, &id);
    eventually("it has ended", 30, || (inspect(&api, &id)["ExitCode"] == 0).then_some(()));
    client.write_all(b"too late\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // It is read while the head is not.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.ends_with("\x03hi\n"), "{all:?}");
}

#[test]
fn one_that_is_just_starting_has_not_ended() {
    let api = with_sleeper();
    for _ in 0..20 {
        let id = make(&api, &json!({"Cmd": ["sleep", "1000"]}));
        std::thread::scope(|scope| {
            let start = || api.post(&format!("/exec/{id}/start"), &json!({"Detach": true})).expect(200);
            let starting = scope.spawn(start);
            let mut has_started = false;
            while !starting.is_finished() {
                let seen = inspect(&api, &id);
                assert_eq!(seen["ExitCode"], Value::Null, "{seen}");
                assert!(seen["Running"] == true || !has_started, "{seen}");
                has_started = seen["Running"] == true;
            }
        });
        let seen = inspect(&api, &id);
        assert!(seen["Running"] == true && seen["Pid"].as_i64().unwrap() > 1, "{seen}");
    }
}

#[test]
fn it_outlives_its_client_and_the_server() {
    let mut api = with_sleeper();
    let body = json!({"Cmd": ["sh", "-c", "cat; sleep 1; echo done > /tmp/done"], "AttachStdin": true, "AttachStdout": true});
    let id = make(&api, &body);
    let mut client = start(&api, &id);
    client.write_all(b"x").unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    api.kill();
    drop(client);
    api.start(&[]);
    eventually("it has gone on to its end", 20, || (inspect(&api, &id)["ExitCode"] == 0).then_some(()));
    assert_eq!(api.world.hull(["exec", "box", "cat", "/tmp/done"]).success().text(), "done");
}

#[test]
fn detached_ones_run_by_themselves() {
    let api = with_sleeper();
    api.docker(["exec", "-d", "box", "sh", "-c", "sleep 0.3; echo done > /tmp/done"]).success();
    eventually("it is done", 20, || {
        (api.world.hull(["exec", "box", "cat", "/tmp/done"]).text() == "done").then_some(())
    });
    let id = make(&api, &json!({"Cmd": ["no-such-program"]}));
    let failed = api.post(&format!("/exec/{id}/start"), &json!({"Detach": true}));
    assert_eq!(failed.status / 100, 4, "{}", failed.text());
    assert_eq!(inspect(&api, &id)["ExitCode"], 127);
}

#[test]
fn what_cannot_be_is_refused() {
    let api = with_sleeper();
    api.post("/containers/nobody/exec", &json!({"Cmd": ["true"]})).expect(404);
    api.post("/containers/box/exec", &json!({"Cmd": []})).expect(400);
    api.post("/containers/box/exec", &json!({"Cmd": ["true"], "WorkingDir": "relative"})).expect(400);
    let missing = api.get("/exec/0123/json").expect(404).json();
    assert_eq!(missing["message"], "No such exec instance: 0123");
    api.get("/exec/..%2f..%2fcontainers/json").expect(404);
    let id = make(&api, &json!({"Cmd": ["true"]}));
    api.post(&format!("/exec/{id}/resize?h=10&w=10"), &json!(null)).expect(409);
    api.docker(["pause", "box"]).success();
    api.post("/containers/box/exec", &json!({"Cmd": ["true"]})).expect(409);
    api.post(&format!("/exec/{id}/start"), &json!({})).expect(409);
    api.docker(["unpause", "box"]).success();
    api.docker(["stop", "-t", "0", "box"]).success();
    let stopped = api.docker(["exec", "box", "true"]).status(1);
    assert!(stopped.stderr.contains("is not running"), "{stopped}");
}

#[test]
fn the_end_of_input_is_the_end_of_the_process_input() {
    let api = with_sleeper();
    let id = make(&api, &json!({"Cmd": ["wc", "-c"], "AttachStdin": true, "AttachStdout": true}));
    let mut client = start(&api, &id);
    client.write_all(&[b'x'; 100_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"100000\n"), "{:?}", String::from_utf8_lossy(&all));
}
