//! Requests as such: versions, documents, errors.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;

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
    // What other methods a path has is asked of any path, and of none in particular.
    for target in ["/v1.40/containers/json", "/nowhere"] {
        assert_eq!(api.request("OPTIONS", target, "", b"").expect(200).body, b"");
    }
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
fn nothing_that_is_asked_for_is_ignored() {
    let api = served();
    let body = |host: Value| json!({"Image": "busybox", "HostConfig": host});
    let refused = |body: Value, status: u16, name: &str| {
        let answer = api.post("/containers/create", &body).expect(status).json();
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(name), "{body}: {message}");
    };
    let mount = |mount: Value| body(json!({ "Mounts": [mount] }));
    for (kind, options) in [
        ("bind", "VolumeOptions"),
        ("bind", "TmpfsOptions"),
        ("volume", "BindOptions"),
        ("tmpfs", "VolumeOptions"),
        ("tmpfs", "ImageOptions"),
    ] {
        let source = if kind == "tmpfs" { Value::Null } else { json!("/tmp") };
        let what = format!("invalid mount config for type {kind:?}: field {options} must not be specified");
        refused(mount(json!({"Type": kind, "Source": source, "Target": "/x", options: {}})), 400, &what);
    }
    refused(mount(json!({"Type": "tmpfs", "Target": "/x", "Consistency": "strange"})), 400, "Consistency");
    let options = json!({"Options": [["wat"]]});
    refused(mount(json!({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": options})), 400, "option: wat");
    refused(json!({"Image": "busybox", "OnBuild": ["RUN true"]}), 501, "OnBuild: ");
    let binding = |address: &str| json!({"HostIp": address, "HostPort": ""});
    let ports = |bindings: Value| body(json!({"PortBindings": {"80/tcp": bindings}}));
    refused(ports(json!([binding("::")])), 501, "HostConfig.PortBindings: ");
    for mode in ["none", "host"] {
        let with = |endpoints: Value, mac: &str| {
            json!({"Image": "busybox", "MacAddress": mac, "HostConfig": {"NetworkMode": mode},
                   "NetworkingConfig": {"EndpointsConfig": endpoints}})
        };
        refused(with(json!({"other": {}}), ""), 400, "EndpointsConfig and the network mode");
        refused(with(json!({}), "02:42:00:00:00:07"), 400, "MacAddress and the network mode");
        let own = json!({mode: {"Aliases": ["alias"]}});
        refused(with(own, ""), 400, "EndpointsConfig and the network mode");
    }

    let tmpfs =
        json!({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["noexec"], ["uid", "7"]]}});
    let all = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "Shell": ["/bin/echo", "asked by"],
        "Healthcheck": {"Test": ["CMD-SHELL", "the shell"], "Interval": 100_000_000},
        "HostConfig": {"ContainerIDFile": "/tmp/id", "Mounts": [tmpfs], "Annotations": {"a": "b"},
                       "PortBindings": {"80/tcp": [binding("127.0.0.1"), binding("::")]}},
    });
    api.post("/containers/create?name=box", &all).expect(201);
    api.post("/containers/box/start", &Value::Null).expect(204);
    let shown = api.get("/containers/box/json").expect(200).json();
    assert_eq!(shown["Config"]["Shell"], all["Shell"]);
    assert_eq!(shown["HostConfig"]["ContainerIDFile"], "/tmp/id");
    assert_eq!(shown["HostConfig"]["Mounts"], json!([tmpfs]));
    assert_eq!(shown["HostConfig"]["PortBindings"]["80/tcp"], json!([binding("127.0.0.1")]));
    let said = eventually("the shell was asked", 60, || {
        let shown = api.get("/containers/box/json").json();
        shown["State"]["Health"]["Log"][0]["Output"].as_str().map(str::to_owned)
    });
    assert_eq!(said.trim(), "asked by the shell");
    let image = api.docker(["commit", "box"]).success().text().to_owned();
    assert_eq!(api.get(&format!("/images/{image}/json")).json()["Config"]["Shell"], all["Shell"]);
    let listed = |version: &str| api.get(&format!("/v{version}/containers/json")).expect(200).json();
    assert_eq!(listed("1.46")[0]["HostConfig"]["Annotations"], json!({"a": "b"}));
    assert_eq!(listed("1.45")[0]["HostConfig"].get("Annotations"), None);

    let connect = json!({"Container": "box", "EndpointConfig": {"DriverOpts": {"an.option": "1"}}});
    api.world.hull(["network", "create", "net"]).success();
    let answer = api.post("/networks/net/connect", &connect).expect(501).text();
    assert!(answer.contains("an.option"), "{answer}");
    let connect = json!({"Container": "box", "EndpointConfig": {"Aliases": ["a/b"]}});
    api.post("/networks/net/connect", &connect).expect(400);
    api.post("/networks/net/connect", &json!({"Container": "box"})).expect(200);
    // What hull has none of nothing happens to.
    let events = "/events?since=0&until=1&filters=%7B%22daemon%22:%5B%22any%22%5D%7D";
    assert_eq!(api.get(events).expect(200).text(), "");
    // Before 1.45 the names that `DNSNames` has are aliases.
    let aliases = |version: &str| {
        let shown = api.get(&format!("/v{version}/containers/box/json")).expect(200).json();
        shown["NetworkSettings"]["Networks"]["net"]["Aliases"].clone()
    };
    assert_eq!(aliases("1.44"), json!([shown["Config"]["Hostname"]]));
    assert_eq!(aliases("1.45"), Value::Null);
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
