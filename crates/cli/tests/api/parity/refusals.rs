//! What cannot be done: the same status, and the same words where they are dockerd's own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use testkit::{Answer, Dockerd, request};

use super::bodies::Both;
use crate::served;

/// How a registry refuses the manifest of a repository.
struct Refusal {
    repository: &'static str,
    status: &'static str,
    body: &'static str,
}

/// The details are there because dockerd takes what says nothing beyond its code for an unknown failure.
const REFUSALS: &[Refusal] = &[
    Refusal {
        repository: "unknown",
        status: "404 Not Found",
        body: r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}"#,
    },
    Refusal {
        repository: "worded",
        status: "404 Not Found",
        body: r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"there is no such thing"}]}"#,
    },
    Refusal {
        repository: "nameless",
        status: "404 Not Found",
        body: r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"x"}}]}"#,
    },
    Refusal { repository: "bare", status: "404 Not Found", body: "404 page not found\n" },
    Refusal {
        repository: "denied",
        status: "403 Forbidden",
        body: r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":["x"]}]}"#,
    },
    Refusal {
        repository: "unauthorized",
        status: "401 Unauthorized",
        body: r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":["x"]}]}"#,
    },
    Refusal {
        repository: "unsupported",
        status: "405 Method Not Allowed",
        body: r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported.","detail":"x"}]}"#,
    },
    Refusal { repository: "malformed", status: "200 OK", body: "this is no manifest" },
];

/// Requests whose answers are meant to differ, and why.
const MEANT: &[(&str, &str)] = &[
    ("create bare", "a registry that says nothing has nothing"),
    ("distribution bare", "a registry that says nothing has nothing"),
    ("create unauthorized", "how to get in is told"),
    ("create unsupported", OWN_WORDS),
    ("create malformed", OWN_WORDS),
    ("distribution malformed", OWN_WORDS),
    ("create basic", "how to get in is told"),
    ("distribution basic", "it is the registry's own status"),
    ("create nobody", OWN_WORDS),
    ("distribution nobody", OWN_WORDS),
];

const OWN_WORDS: &str = "the same in other words";

/// Starts a registry that has nothing but refusals, and asks for what `challenge` says.
fn registry(challenge: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let challenge = challenge.replace("ADDRESS", &address);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let challenge = challenge.clone();
            std::thread::spawn(move || answer(client, &challenge));
        }
    });
    address
}

/// Answers the requests of one client; who speaks TLS is hung up on.
fn answer(mut client: TcpStream, challenge: &str) -> Option<()> {
    let mut lines = BufReader::new(client.try_clone().ok()?).lines();
    loop {
        let first = lines.next()?.ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        let is_authorized = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .any(|line| line.to_ascii_lowercase().starts_with("authorization: bearer"));
        let refusal =
            REFUSALS.iter().find(|refusal| path.starts_with(&format!("/v2/{}/", refusal.repository)));
        let (status, body) = match refusal {
            _ if path.starts_with("/token") => ("200 OK", r#"{"token":"t"}"#),
            _ if !challenge.is_empty() && !is_authorized => ("401 Unauthorized", "{}"),
            Some(refusal) => (refusal.status, refusal.body),
            None => ("200 OK", "{}"),
        };
        let media_type = if body.starts_with('{') { "application/json" } else { "text/plain" };
        let challenge = if status.starts_with("401") && !challenge.is_empty() {
            format!("WWW-Authenticate: {challenge}\r\n")
        } else {
            String::new()
        };
        let body_sent = if first.starts_with("HEAD") { "" } else { body };
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\n{challenge}Content-Length: {length}\r\n\r\n{body_sent}"
        )
        .ok()?;
    }
}

/// What an answer says.
fn told(answer: &Answer) -> String {
    let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let message = document.and_then(|document| Some(document["message"].as_str()?.to_owned()));
    message.unwrap_or_else(|| answer.text())
}

#[test]
fn registries_failures_are_told_as_dockerd_tells_them() {
    let api = served();
    let dockerd = Dockerd::start_newer_beside_registries();
    let (open, basic) = (registry(""), registry("Basic realm=\"r\""));
    let scoped = registry(r#"Bearer realm="http://ADDRESS/token",service="r",error="insufficient_scope""#);
    let mut places: Vec<(&str, String)> = REFUSALS
        .iter()
        .map(|refusal| (refusal.repository, format!("{open}/{}", refusal.repository)))
        .collect();
    places.extend([
        ("basic", format!("{basic}/unknown")),
        ("scoped", format!("{scoped}/denied")),
        ("nobody", "127.0.0.1:1/nobody".to_owned()),
    ]);
    let mut wrong = String::new();
    for (case, name) in &places {
        for (request_of, method, target) in [
            ("create", "POST", format!("/v1.45/images/create?fromImage={name}&tag=1")),
            ("distribution", "GET", format!("/v1.45/distribution/{name}:1/json")),
        ] {
            let [ours, theirs] =
                [api.socket(), &dockerd.socket()].map(|socket| request(socket, method, &target, "", b""));
            let case = format!("{request_of} {case}");
            let meant = MEANT.iter().find(|(meant, _)| *meant == case);
            let is_same = (ours.status, told(&ours)) == (theirs.status, told(&theirs));
            // Other words are no other status.
            let is_wrong_status =
                ours.status != theirs.status && meant.is_none_or(|(_, why)| *why == OWN_WORDS);
            if is_same == meant.is_some() || is_wrong_status {
                wrong.push_str(&both_told(&case, &ours, &theirs));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn both_told(what: &str, ours: &Answer, theirs: &Answer) -> String {
    let [ours, theirs] = [ours, theirs].map(|answer| format!("{} {}", answer.status, told(answer)));
    format!("{what}\n  hull    {ours}\n  dockerd {theirs}\n")
}

#[test]
fn what_makes_no_sense_is_refused_as_dockerd_refuses_it() {
    let both = Both::start();
    let id = "0123456789abcdef".repeat(4);
    let mut wrong = String::new();
    for (method, target, body) in [
        ("GET", "/images/UPPER/json", Value::Null),
        ("GET", "/images/a:b:c/json", Value::Null),
        ("GET", &format!("/images/{id}/json"), Value::Null),
        ("GET", "/images/UPPER/history", Value::Null),
        ("DELETE", "/images/UPPER", Value::Null),
        ("DELETE", &format!("/images/{id}"), Value::Null),
        ("POST", "/images/UPPER/push?tag=1", json!({})),
        ("POST", "/images/busybox/tag?repo=UPPER", Value::Null),
        ("POST", "/images/busybox/tag?repo=x&tag=not%20one", Value::Null),
        ("POST", "/images/create?fromImage=UPPER&tag=1", Value::Null),
        ("POST", "/images/create?fromImage=x&tag=not%20one", Value::Null),
        ("POST", "/images/create?fromImage=a:b:c", Value::Null),
        ("POST", &format!("/images/create?fromImage={id}&tag=1"), Value::Null),
        ("GET", "/distribution/UPPER/json", Value::Null),
        ("GET", "/containers/not%20one/json", Value::Null),
        ("POST", "/containers/not%20one/start", Value::Null),
        ("POST", "/containers/create", json!({"Image": "UPPER"})),
        ("POST", "/containers/create", json!({"Image": "a:b:c"})),
        ("POST", "/containers/create?name=not%20one", json!({"Image": "busybox", "Cmd": ["true"]})),
        ("POST", "/containers/create?name=x", json!({"Image": "nobody"})),
        ("POST", "/commit?container=nobody", Value::Null),
        ("POST", "/commit?container=nobody&repo=UPPER", Value::Null),
        ("GET", "/exec/nobody/json", Value::Null),
        ("GET", "/networks/not%20one", Value::Null),
        ("GET", "/volumes/not%20one", Value::Null),
        ("DELETE", "/volumes/not%20one", Value::Null),
        ("POST", "/volumes/create", json!({"Name": "not one"})),
        ("GET", "/images/json?filters=wrong", Value::Null),
        ("GET", "/containers/json?filters=%7B%22colour%22:%5B%22red%22%5D%7D", Value::Null),
    ] {
        let [ours, theirs] = both.answers(method, target, &body);
        if (ours.status, told(&ours)) != (theirs.status, told(&theirs)) {
            wrong.push_str(&both_told(&format!("{method} {target} {body}"), &ours, &theirs));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_cannot_be_executed_is_refused_as_dockerd_refuses_it() {
    let mut both = Both::start();
    // What hull has no parts for.
    let own = |told: &str| {
        let told = told.replace("failed to create shim task: ", "").replace("runc create failed: ", "");
        told.split(": unknown").next().unwrap_or_default().to_owned()
    };
    both.create("runs", &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    both.done("POST", "/containers/runs/start", &Value::Null);
    let commands = [&["nosuch"][..], &["/no/such"], &["/etc/passwd"], &["/etc"], &[""]];
    for (number, command) in commands.into_iter().enumerate() {
        let name = format!("box{number}");
        both.create(&name, &json!({"Image": "busybox", "Cmd": command}));
        let [ours, theirs] = both.ask("POST", &format!("/containers/{name}/start"), &Value::Null);
        assert_eq!(told(&ours), own(&told(&theirs)), "{command:?}");
        let states = both.documents(&format!("/containers/{name}/json")).map(|shown| shown["State"].clone());
        assert_eq!(states[0]["ExitCode"], states[1]["ExitCode"], "{command:?}");
        let made = both.done("POST", "/containers/runs/exec", &json!({"Cmd": command}));
        let mut ids = made.iter().map(|made| made.json()["Id"].as_str().unwrap().to_owned());
        let [ours, theirs] = both.sockets().map(|socket| {
            let target = format!("/v1.45/exec/{}/start", ids.next().unwrap());
            request(&socket, "POST", &target, "Content-Type: application/json\r\n", br#"{"Detach":true}"#)
        });
        assert_eq!((ours.status, told(&ours)), (theirs.status, own(&told(&theirs))), "{command:?}");
    }
}
