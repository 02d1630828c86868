//! Where clients come in, and what they may do there.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::{Api, Output, World, certificates, eventually};

use crate::served;

const HULL: &str = env!("CARGO_BIN_EXE_hull");

#[test]
fn the_socket_is_for_its_group_and_goes_with_the_server() {
    let world = World::new(HULL);
    let socket = world.scratch().join("docker.sock");
    // What a killed server left is taken over.
    drop(UnixListener::bind(&socket).unwrap());
    let api = Api::serve_with(world, &["--group", "tty"]);
    let meta = fs::metadata(&socket).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid(), meta.gid()), (0o660, 0, 5));
    let address = format!("unix://{}", socket.display());
    let second = api.world.hull(["serve", "--listen", &address]).status(1);
    assert!(second.stderr.contains("another server listens there"), "{second}");
    let file = api.world.file("file", "precious");
    let refused = api.world.hull(["serve", "--listen", &format!("unix://{}", file.display())]).status(1);
    assert!(refused.stderr.contains("it exists and is no socket"), "{refused}");
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    let unknown = api.world.hull(["serve", "--group", "nobody-has-this"]);
    assert!(unknown.stderr.contains("there is no such group"), "{unknown}");
}

#[test]
fn systemd_opens_the_socket_and_keeps_it() {
    let world = World::with_busybox(HULL);
    let path = world.scratch().join("by-systemd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // As systemd does it: descriptor 3, and variables that name the process.
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve"#;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, HULL])
        .envs(world.command(["serve"]).get_envs().filter_map(|(k, v)| Some((k, v?))));
    let socket: std::os::fd::OwnedFd = listener.try_clone().unwrap().into();
    let mut server = command.stdin(Stdio::from(socket)).stdout(Stdio::null()).spawn().unwrap();
    let host = format!("unix://{}", path.display());
    let version =
        Output::of(Command::new("docker").args(["-H", &host, "version", "-f", "{{.Server.Version}}"]));
    assert_eq!(version.success().text(), "0.1.0");
    Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(server.wait().unwrap().success());
    assert!(path.symlink_metadata().unwrap().file_type().is_socket(), "it is systemd's");
}

#[test]
fn tcp_is_for_clients_with_a_certificate() {
    let world = World::new(HULL);
    let bare = world.hull(["serve", "--listen", "tcp://127.0.0.1:0"]).status(125);
    assert!(bare.stderr.contains("--tls-ca, --tls-cert and --tls-key only"), "{bare}");
    let scratch = world.scratch();
    certificates(&scratch);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("tcp://127.0.0.1:{port}");
    let flags =
        ["--listen", &address, "--tls-ca", "ca.pem", "--tls-cert", "server.pem", "--tls-key", "server.key"];
    let api = Api::serve_with(world, &flags);
    eventually("it listens", 20, || TcpStream::connect(("127.0.0.1", port)).ok());
    let ask = |client: &str| {
        let (cert, key) = (format!("{client}.pem"), format!("{client}.key"));
        let tls = ["--tlsverify", "--tlscacert", "ca.pem", "--tlscert", &cert, "--tlskey", &key];
        let mut command = Command::new("docker");
        command.args(["-H", &address]).args(tls).args(["version", "-f", "{{.Server.Version}}"]);
        Output::of(command.current_dir(&scratch))
    };
    assert_eq!(ask("client").success().text(), "0.1.0");
    assert_ne!(ask("other").status, Some(0));
    drop(api);
}

#[test]
fn a_read_only_socket_shows_and_changes_nothing() {
    let api = Api::serve_with(World::with_busybox(HULL), &["--scope", "read-only"]);
    api.world
        .hull(["run", "-d", "--name", "shown", "busybox", "sh", "-c", "echo hello; sleep 1000"])
        .success();
    assert_eq!(api.docker(["ps", "--format", "{{.Names}}"]).success().text(), "shown");
    api.docker(["inspect", "shown"]).success();
    eventually("its log", 20, || api.docker(["logs", "shown"]).stdout.contains("hello").then_some(()));
    for request in [
        ("POST", "/containers/shown/stop"),
        ("DELETE", "/containers/shown?force=1"),
        ("POST", "/containers/create"),
        ("POST", "/containers/shown/attach?stream=1&stdin=1"),
        ("POST", "/containers/shown/exec"),
        ("GET", "/containers/shown/archive?path=/etc/passwd"),
        ("GET", "/containers/shown/export"),
        ("POST", "/volumes/prune"),
        ("POST", "/build"),
    ] {
        let refused = api.request(request.0, request.1, "", b"").expect(403).json();
        assert_eq!(refused["message"], "this socket is read-only", "{request:?}");
    }
    assert_eq!(api.world.inspect("shown", "{{.State.Running}}"), "true");
}

#[test]
fn a_socket_of_a_project_has_to_do_with_nothing_else() {
    let world = World::with_busybox(HULL);
    let label = "com.docker.compose.project=shop";
    world.hull(["run", "-d", "--name", "ours", "--label", label, "busybox", "sleep", "1000"]).success();
    world.hull(["run", "-d", "--name", "theirs", "busybox", "sleep", "1000"]).success();
    world.hull(["volume", "create", "secret"]).success();
    let api = Api::serve_with(world, &["--scope", "project=shop"]);
    assert_eq!(api.docker(["ps", "-a", "--format", "{{.Names}}"]).success().text(), "ours");
    assert_eq!(
        api.docker(["ps", "-a", "--filter", "label=x", "--format", "{{.Names}}"]).success().text(),
        ""
    );
    assert_eq!(api.docker(["volume", "ls", "-q"]).success().text(), "");
    let missing = api.docker(["stop", "theirs"]).status(1);
    assert!(missing.stderr.contains("No such container: theirs"), "{missing}");
    api.get("/volumes/secret").expect(404);
    api.docker(["restart", "-t", "0", "ours"]).success();
    // What could reach the rest of the host by way of a new container, an image or a mount.
    api.post("/containers/create", &json!({"Image": "busybox"})).expect(403);
    api.get("/info").expect(403);
    let exec = |privileged: bool| json!({"Cmd": ["true"], "Privileged": privileged});
    api.post("/containers/ours/exec", &exec(true)).expect(403);
    api.post("/containers/ours/exec", &exec(false)).expect(201);
    api.post("/networks/create", &json!({"Name": "n"})).expect(403);
    assert_eq!(api.world.inspect("theirs", "{{.State.Running}}"), "true");
}

#[test]
fn a_server_that_is_asked_to_end_leaves_no_stream_behind() {
    let mut api = served();
    api.world.hull(["run", "-d", "--name", "long", "busybox", "sleep", "1000"]).success();
    let _events = api.begin("GET", "/events", "", b"");
    let _logs = api.begin("GET", "/containers/long/logs?follow=1&stdout=1", "", b"");
    let _wait = api.begin("POST", "/containers/long/wait", "", b"");
    let connected = UnixStream::connect(api.socket()).unwrap();
    api.stop();
    drop(connected);
    assert_eq!(api.world.inspect("long", "{{.State.Running}}"), "true");
}
