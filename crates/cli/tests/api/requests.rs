//! Requests as such: versions, documents, errors.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::served;

#[test]
fn versions_that_are_served_and_versions_that_are_not() {
    let api = served();
    let ping = api.get("/_ping").expect(200);
    assert_eq!(ping.text(), "OK");
    assert!(ping.head.to_ascii_lowercase().contains("api-version: 1.50"), "{}", ping.head);
    assert_eq!(api.request("HEAD", "/v1.40/_ping", "", b"").expect(200).body, b"");
    assert_eq!(api.get("/v1.24/version").expect(200).json()["ApiVersion"], "1.50");
    let old = api.get("/v1.23/version").expect(400).json();
    assert_eq!(
        old["message"],
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
    );
    let new = api.get("/v1.99/version").expect(400).json();
    assert_eq!(new["message"], "client version 1.99 is too new. Maximum supported API version is 1.50");
    assert_eq!(api.get("/v1.50/nowhere").expect(404).json()["message"], "page not found");
}

#[test]
fn documents_that_cannot_be_read_are_told_where() {
    let api = served();
    let json = "Content-Type: application/json\r\n";
    let create = |headers: &str, body: &str| {
        let answer = api.request("POST", "/containers/create", headers, body.as_bytes()).expect(400);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    assert!(create(json, "{").starts_with("invalid JSON: "));
    assert!(create(json, "[]").starts_with("invalid JSON: the body is no object"));
    assert!(create(json, "").starts_with("invalid JSON: got EOF"));
    assert!(create(json, " null ").starts_with("invalid JSON: got EOF"));
    assert!(create(json, r#"{"Image":"busybox"} trailing"#).contains("unexpected content after JSON"));
    assert!(create("", r#"{"Image":"busybox"}"#).contains("malformed Content-Type header"));
    let wrong = create(json, r#"{"Image":"busybox","HostConfig":{"Mounts":[{"Target":5}]}}"#);
    assert!(wrong.contains("HostConfig") && wrong.contains("invalid type: integer `5`"), "{wrong}");
    assert_eq!(api.world.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let api = served();
    let body = |host: serde_json::Value| json!({"Image": "busybox", "HostConfig": host});
    let refused = |host, status| {
        let answer = api.post("/containers/create", &body(host)).expect(status);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    assert!(refused(json!({"Links": ["a:b"]}), 501).starts_with("HostConfig.Links: "));
    assert!(refused(json!({"Runtime": "kata"}), 501).starts_with("HostConfig.Runtime: "));
    assert!(refused(json!({"PidMode": "strange"}), 400).starts_with("HostConfig.PidMode: "));
    assert!(refused(json!({"Memory": -5}), 400).starts_with("HostConfig.Memory: "));
    let nodes = refused(json!({"CpusetMems": "4095"}), 400);
    assert!(nodes.starts_with("Requested memory nodes are not available - requested 4095"), "{nodes}");
    assert_eq!(api.get("/containers/nobody/json").expect(404).json()["message"], "No such container: nobody");
    let missing = api.post("/containers/create", &json!({"Image": "nothing-like-it"})).expect(404).json();
    assert_eq!(missing["message"], "No such image: nothing-like-it:latest");
}

#[test]
fn an_answer_is_read_whatever_is_sent_meanwhile() {
    let api = served();
    // A body that comes after the answer does not end the connection.
    let head = "POST /containers/nobody/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 5\r\n\r\n";
    let mut client = UnixStream::connect(api.socket()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = |sent: &str| {
        client.write_all(sent.as_bytes()).unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\n") || !read.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let length = client.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the connection has ended");
            read.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(read).unwrap()
    };
    assert!(answer(head).starts_with("HTTP/1.1 404 "));
    assert!(
        answer("afterGET /containers/nobody/json HTTP/1.1\r\nHost: docker\r\n\r\n")
            .starts_with("HTTP/1.1 404 ")
    );
    // Nor does a refusal break off an upload.
    for _ in 0..10 {
        let refused = api.request("POST", "/build?version=3", "", &vec![b'x'; 8 << 20]).expect(400);
        assert_eq!(refused.json()["message"], "invalid version: \"3\"");
    }
}
