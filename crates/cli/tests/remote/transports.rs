//! How the other engine is reached, and what is said when it is not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Api, Output, World, certificates, eventually};

use crate::{HULL, Two, is_untouched, path_with};

/// A program called ssh that runs what it is told to on this host, in the roots of `there`; only for `me@there`, port 22.
fn ssh(here: &World, there: &World) -> PathBuf {
    let bin = here.scratch().join("bin");
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = '-p 22 -- me@there' ] || {{ echo 'no such host' >&2; exit 255; }}\nshift 4\n\
         export HULL_ROOT={} HULL_RUN_ROOT={} PATH={}:$PATH\nexec sh -c \"$*\"\n",
        there.data_root().display(),
        there.run_root().display(),
        bin.display(),
    );
    let path = here.file("bin/ssh", &script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(HULL, bin.join("hull")).unwrap();
    bin
}

/// Whether somebody speaks to the engine of `world` by standard input and output.
fn is_dialled(world: &World) -> bool {
    let root = format!("HULL_ROOT={}\0", world.data_root().display());
    let has = |process: &Path, file: &str, text: &str| {
        let bytes = fs::read(process.join(file)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .into_iter()
        .any(|process| has(&process, "cmdline", "dial-stdio") && has(&process, "environ", &root))
}

/// Nobody serves anything there.
#[test]
fn over_ssh_no_server_is_needed() {
    let (here, there) = (World::new(HULL), World::with_busybox(HULL));
    let path = path_with(&ssh(&here, &there));
    let command = |args: &[&str]| {
        let mut command = here.command([&["-H", "ssh://me@there:22"], args].concat());
        command.env("PATH", &path);
        command
    };
    let hull = |args: &[&str]| Output::of(&mut command(args));
    assert_eq!(
        hull(&["info", "-f", "{{.Instance}}"]).success().stdout,
        there.hull(["info", "-f", "{{.Instance}}"]).stdout
    );
    let mut run = command(&["run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo err >&2; exit 7"]);
    let output = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = output.unwrap();
    child.stdin.take().unwrap().write_all(b"input").unwrap();
    let output = Output::new("run".into(), child.wait_with_output().unwrap());
    assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.status), ("input", "err\n", Some(7)));
    hull(&["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo begun; sleep 2; echo done"]).success();
    let mut following = command(&["logs", "-f", "box"]).stdout(Stdio::null()).spawn().unwrap();
    eventually("it is dialled", 20, || is_dialled(&there).then_some(()));
    assert!(following.wait().unwrap().success());
    assert_eq!(hull(&["logs", "-f", "box"]).success().stdout, "begun\ndone\n");
    here.file("file", "content");
    hull(&["cp", "file", "box:/file"]).success();
    assert_eq!(hull(&["cp", "box:/file", "-"]).success().stdout.matches("content").count(), 1);
    hull(&["run", "-d", "--name", "box2", "busybox", "sleep", "1000"]).success();
    assert_eq!(hull(&["exec", "box2", "echo", "hi"]).success().stdout, "hi\n");
    hull(&["rm", "-f", "box", "box2"]).success();
    hull(&["inspect", "box"]).status(1).says("No such object: box");
    let mut stranger = here.command(["-H", "ssh://stranger", "ps"]);
    let output = Output::of(stranger.env("PATH", &path)).status(1);
    assert!(output.stderr.contains("no such host\n"), "{output}");
    output.says("cannot reach the engine at ssh://stranger: ssh ended with exit status: 255");
    is_untouched(&here);
    eventually("no ssh is left", 20, || (!is_dialled(&there)).then_some(()));
}

#[test]
fn with_certificates_over_tcp() {
    let (here, world) = (World::new(HULL), World::with_busybox(HULL));
    certificates(&world.scratch());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("tcp://127.0.0.1:{port}");
    let flags =
        ["--listen", &address, "--tls-ca", "ca.pem", "--tls-cert", "server.pem", "--tls-key", "server.key"];
    let there = Api::serve_with(world, &flags);
    eventually("it listens", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let made = there.world.scratch();
    let create = |name: &str, [ca, cert, key]: [&str; 3]| {
        let file = |name: &str| made.join(name).display().to_string();
        let files = format!("ca={},cert={},key={}", file(ca), file(cert), file(key));
        here.hull(["context", "create", name, "--docker", &format!("host={address},{files}")]).success();
    };
    create("there", ["ca.pem", "client.pem", "client.key"]);
    let instance = there.world.hull(["info", "-f", "{{.Instance}}"]).stdout;
    assert_eq!(here.hull(["-c", "there", "info", "-f", "{{.Instance}}"]).success().stdout, instance);
    let run = ["-c", "there", "run", "--rm", "-i", "busybox", "sh", "-c", "cat; exit 7"];
    let output = here.hull_with_input(run, b"input");
    assert_eq!((output.stdout.as_str(), output.status), ("input", Some(7)), "{output}");
    let inspected = here.hull(["context", "inspect", "there", "-f", "{{.Storage.TLSPath}}"]).success();
    let kept = Path::new(inspected.stdout.trim()).join("docker");
    assert_eq!(fs::metadata(kept.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    // An address has the certificates of Docker's client.
    here.hull(["-H", &address, "ps"]).status(1).says("ca.pem");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs::copy(kept.join(name), here.docker_config().join(name)).unwrap();
    }
    assert_eq!(here.hull(["-H", &address, "info", "-f", "{{.Instance}}"]).success().stdout, instance);
    here.hull(["-H", "tcp://127.0.0.1:1", "ps"]).status(1).says("Connection refused");
    here.hull(["-H", "tcp://none.invalid", "ps"])
        .status(1)
        .says("cannot connect to the engine at tcp://none.invalid:2376");
    // Somebody else answers, and somebody else asks.
    create("impostor", ["stranger.pem", "client.pem", "client.key"]);
    here.hull(["-c", "impostor", "ps"]).status(1).says(&format!("cannot connect to the engine at {address}"));
    create("stranger", ["ca.pem", "other.pem", "other.key"]);
    here.hull(["-c", "stranger", "ps"]).status(1).says(&format!("the engine at {address}"));
    is_untouched(&here);
}

/// Answers each request with `answer`, whatever is asked; with nothing, it ends the connection.
fn answering(world: &World, answer: &'static [u8]) -> String {
    let path = world.scratch().join(format!("{:p}.sock", answer.as_ptr()));
    let listener = UnixListener::bind(&path).unwrap();
    let serve = move |mut client: UnixStream| {
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
        // Whole heads: to end a connection with something unread would reset it.
        while lines.any(|line| line.is_empty()) {
            if answer.is_empty() || client.write_all(answer).is_err() {
                break;
            }
        }
    };
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            std::thread::spawn(move || serve(client));
        }
    });
    format!("unix://{}", path.display())
}

#[test]
fn what_is_no_engine_is_told_from_one() {
    let world = World::new(HULL);
    let ps = |host: &str, status: i32, text: &str| world.hull(["-H", host, "ps"]).status(status).says(text);
    let missing = ps("unix:///nowhere.sock", 1, "cannot connect to the engine at unix:///nowhere.sock");
    missing.says("hint: start `hull serve` (or dockerd) there");
    ps("frob", 1, "\"frob\" is no address of an engine");
    let other = answering(&world, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    ps(&other, 1, &format!("what answers at {other} is no Docker engine"));
    let babble = answering(&world, b"220 mail.example ESMTP\r\n");
    ps(&babble, 1, &format!("what answers at {babble} is no Docker engine"));
    let silent = answering(&world, b"");
    ps(&silent, 1, &format!("lost the connection to the engine at {silent}"));
    let old = answering(&world, b"HTTP/1.1 200 OK\r\nApi-Version: 1.24\r\nContent-Length: 2\r\n\r\nOK");
    ps(&old, 1, "is too old: it serves API version 1.24, and 1.41 is needed");
    let page = b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nContent-Length: 6\r\n\r\n<html>";
    let page = answering(&world, page);
    ps(&page, 1, &format!("what answers at {page} is no Docker engine"));
    assert_eq!(world.hull(["-H", "unix:///nowhere.sock", "run", "busybox"]).status, Some(125));
    is_untouched(&world);
}

#[test]
fn who_may_not_is_told_so() {
    let two = Two::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", HULL]).args(two.args(&["ps"]));
    let output = Output::of(command.env("HOME", "/nonexistent").env_remove("DOCKER_CONFIG")).status(1);
    assert!(output.stderr.contains("Permission denied"), "{output}");
    output.says("hint: ask for membership in the socket's group, or use `ssh://`");
}

#[test]
fn an_engine_that_goes_away_is_missed() {
    let mut two = Two::new();
    let running =
        two.here.spawn(two.args(&["run", "--name", "box", "busybox", "sh", "-c", "echo begun; sleep 1000"]));
    eventually("it runs", 20, || (two.there.world.hull(["logs", "box"]).stdout == "begun\n").then_some(()));
    let watching =
        [&["logs", "-f", "box"][..], &["events"], &["exec", "box", "sleep", "1000"], &["wait", "box"]]
            .map(|args| two.here.spawn(two.args(args)));
    eventually("the process runs", 20, || {
        (two.there.world.hull(["top", "box"]).stdout.matches("sleep 1000").count() >= 2).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    two.there.kill();
    running.finish().status(125).says("lost the connection to the engine at unix://");
    for one in watching {
        one.finish().status(1).says("to the engine at unix://");
    }
    // The container is none of the server's.
    assert_eq!(two.there.world.inspect("box", "{{.State.Running}}"), "true");
    two.there.start(&[]);
    assert_eq!(two.hull(&["rm", "-f", "box"]).success().stdout, "box\n");
}
