//! ADD of what is on the web: what arrives, under which name, when it is fetched, and what failures leave.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use build::{BuildError, Cancel};
use image::Images;
use oci::Digest;
use testkit::web;

use crate::fixture::{Fixture, files, snapshot};

crate::tests![
    what_arrives,
    names,
    archives_stay_whole,
    sources_of_all_kinds,
    checksums,
    content_and_times_decide,
    failures_leave_nothing,
    a_download_can_be_cancelled,
    a_failure_elsewhere_ends_a_download,
    a_build_that_asks_nobody,
];

fn online(name: &str) -> Fixture {
    let mut fixture = Fixture::new(name);
    fixture.is_online = true;
    fixture
}

fn ok(body: &str) -> (&'static str, Vec<u8>) {
    ("200 OK", body.as_bytes().to_vec())
}

const DATED: &str = "200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT";

fn what_arrives() {
    let fixture = online("arrives");
    fixture.file(".dockerignore", "*");
    let moved = ("302 Found\r\nLocation: /other/name", Vec::new());
    let address = web(vec![(DATED, b"dated".to_vec()), ok("plain"), moved, ok("moved"), ok("by trigger")]);
    let text = format!(
        "FROM busybox\nARG HOST={address}\nADD ${{HOST}}/a/dated.txt?x=y/z /in/\n\
         ADD --chown=www-data:www-data --chmod=u+x,g=r --link {address}/plain /as\nADD {address}/moved /in"
    );
    let built = fixture.build(&text);
    assert_eq!(
        fixture.sh(
            &built,
            "cd /; cat in/dated.txt as in/moved; stat -c ' %u:%g %a %Y' in/dated.txt in/moved as"
        ),
        "datedplainmoved 0:0 600 784111777\n 0:0 600 0\n 33:33 740 0"
    );
    let history = &built.config.history.last().unwrap().created_by;
    assert_eq!(*history, format!("ADD {address}/moved /in"));
    fixture.build_with(&format!("FROM busybox\nONBUILD ADD {address}/f /f"), |request| {
        request.tags = vec!["base".to_owned()];
    });
    let built = fixture.build("FROM base\nRUN cat /f");
    assert!(built.recorder.has("out by trigger"), "{:?}", built.recorder.lines);
}

fn names() {
    let fixture = online("names");
    let address = web(vec![ok("1"), ok("2"), ok("3"), ok("4")]);
    let built = fixture.build(&format!(
        "FROM scratch\nADD {address}/a%20b%2Fc%5B%5D /\nADD {address}/dir/ /\nADD {address} /named\nADD {address}/x /old/\n"
    ));
    let found: Vec<_> = (0..4).flat_map(|layer| files(&snapshot(&fixture, &built, layer))).collect();
    assert_eq!(found, ["c[]", "dir", "named", "old", "old/x"]);
    // Nobody listens any more: these are not even asked for.
    for destination in ["/", "/new/", "/etc"] {
        let error = fixture.fails(&format!("FROM busybox\nADD {address}/?x=/y {destination}"));
        let expected = format!("cannot determine filename for source {address}/?x=/y");
        assert!(error.contains(&expected), "{error}");
    }
    let address = web(vec![ok("1"), ok("2"), ok("3")]);
    let error = fixture.fails(&format!("FROM busybox\nADD {address}/.wh.bin /"));
    assert!(error.contains("names that begin with .wh. are kept for deletions"), "{error}");
    let error = fixture.fails(&format!("FROM busybox\nADD {address}/etc /"));
    assert!(error.contains("cannot replace directory /etc with file"), "{error}");
    fixture.fails(&format!("FROM busybox\nADD {address}/a%00b /"));
}

fn archive(fixture: &Fixture) -> Vec<u8> {
    fixture.file("d/x", "x");
    let context = fixture.context.to_str().unwrap();
    let made = std::process::Command::new("tar").args(["-C", context, "-cz", "d"]).output().unwrap();
    assert!(made.status.success());
    made.stdout
}

fn archives_stay_whole() {
    let fixture = online("archives");
    let archive = archive(&fixture);
    let address = web(vec![("200 OK", archive.clone()), ("200 OK", archive), ok("no archive")]);
    let built = fixture.build(&format!(
        "FROM scratch\nADD {address}/t.tgz /\nADD --unpack=true {address}/t.tgz /\nADD --unpack {address}/f /"
    ));
    let found: Vec<_> = (0..3).flat_map(|layer| files(&snapshot(&fixture, &built, layer))).collect();
    assert_eq!(found, ["t.tgz", "d", "d/x", "f"]);
}

fn sources_of_all_kinds() {
    let fixture = online("kinds");
    let archive = archive(&fixture);
    std::fs::write(fixture.context.join("local.tgz"), &archive).unwrap();
    fixture.file("a", "local").file("b", "local");
    let address = web(vec![ok("web"), ok("web"), ("200 OK", archive), ok("excluded")]);
    let built = fixture.build(&format!(
        "FROM busybox\nADD --exclude=not a {address}/a {address}/b b local.tgz {address}/t.tgz {address}/not <<c /to/\nhere\nc"
    ));
    assert_eq!(fixture.sh(&built, "cd /to; echo *; cat a b c d/x"), "a b c d t.tgz\nweblocalhere\nx");
    let error = fixture.fails(&format!("FROM busybox\nADD a {address}/a /to"));
    assert!(error.contains("when using ADD with more than one source file"), "{error}");
}

fn checksums() {
    let fixture = online("checksums");
    let address = web(vec![ok("content"), ok("content"), ok("changed")]);
    let digest = Digest::of(b"content");
    let add =
        |digest: &str, rest: &str| format!("FROM busybox\nARG SUM={digest}\nADD --checksum=$SUM {rest}");
    let url = format!("{address}/f");
    let right = add(&digest.to_string(), &format!("{url} /f"));
    let built = fixture.build(&right);
    assert_eq!(fixture.sh(&built, "cat /f"), "content");
    assert_eq!(fixture.build(&add("", &format!("{url} /g"))).output.executed_steps, 1);
    let other = Digest::of(b"changed");
    let error = fixture.fails(&add(&digest.to_string(), &format!("{url} /other")));
    let expected = format!("digest mismatch for {url}: {other} (expected: {digest})");
    assert!(error.contains(&expected), "{error}");
    // Nobody listens any more, and nobody needs to.
    assert_eq!(fixture.build(&right).output.cached_steps, 1);
    for (sum, sources, expected) in [
        ("sha256:12", url.as_str(), "--checksum=sha256:12: invalid checksum digest length"),
        ("sha512:12", &*url, "--checksum=sha512:12: unsupported digest algorithm"),
        ("sha256:12", "Dockerfile", "checksum requires HTTP(S) sources"),
        ("sha256:12", format!("{url} {url}").as_str(), "checksum can't be specified for multiple sources"),
    ] {
        let error = fixture.fails(&add(sum, &format!("{sources} /to/")));
        assert!(error.contains(expected), "{error}");
    }
}

fn content_and_times_decide() {
    let fixture = online("changes");
    let dated = |body: &str| (DATED, body.as_bytes().to_vec());
    let address = web(vec![ok("one"), ok("one"), ok("two"), ok("one"), dated("one"), ok("one"), ok("one")]);
    let text = format!("FROM busybox\nADD {address}/f /f\nRUN cat /f");
    let steps = |text: &str| {
        let output = fixture.build(text).output;
        (output.executed_steps, output.cached_steps)
    };
    assert_eq!(steps(&text), (2, 0));
    assert_eq!(steps(&text), (0, 2));
    assert_eq!(steps(&text), (2, 0), "other content");
    assert_eq!(steps(&text), (0, 2), "what it was before");
    assert_eq!(steps(&text), (2, 0), "another time");
    assert_eq!(steps(&text.replace("/f /f", "/g /f")), (1, 1), "another name makes the same layer");
    assert_eq!(steps(&text.replace("ADD", "ADD --chmod=644")), (2, 0));
}

fn failures_leave_nothing() {
    let fixture = online("failures");
    let before = Images::new(&fixture.store).list().unwrap().len();
    let address = web(vec![
        ("404 Not Found", b"nothing here".to_vec()),
        ("200 OK\r\nContent-Length: 100", b"half".to_vec()),
        ("302 Found\r\nLocation: file:///etc/passwd", Vec::new()),
        ("200 OK\r\nContent-Length: many", Vec::new()),
    ]);
    let fails = |url: &str| {
        let error = fixture.fails_with(&format!("FROM busybox\nADD {url} /f\nRUN true"), |request| {
            request.tags = vec!["half".to_owned()];
        });
        assert!(error.contains(&format!("cannot download {url}")), "{error}");
        error
    };
    let url = format!("{address}/f");
    assert!(fails(&url).contains(&format!("failed to GET {url} with status 404 Not Found")));
    assert!(fails(&url).contains("caused by: "), "what broke is said");
    assert!(fails(&url).contains("it is no address of the web"));
    fails(&url);
    // Nobody listens any more.
    assert!(fails(&url).contains(&format!("cannot reach {url}")));
    assert!(fails("https://").contains("\"https://\" is no address of the web"));
    assert_eq!(Images::new(&fixture.store).list().unwrap().len(), before);
}

/// Begins an answer, says so, and waits for the client to go. Returns its address and what it asked.
fn endless(begun: impl FnOnce() + Send + 'static) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let request = BufReader::new(&client).lines().map(Result::unwrap);
        let request: Vec<_> = request.take_while(|line| !line.is_empty()).collect();
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
        begun();
        let _ = client.read(&mut [0]);
        request.join("\n").to_lowercase()
    });
    (address, server)
}

fn a_download_can_be_cancelled() {
    let fixture = online("cancelled");
    let cancel = Cancel::default();
    let wish = cancel.clone();
    let (address, server) = endless(move || wish.cancel());
    let text = format!("FROM busybox\nADD http://me:secret@{address}/f /f");
    let (result, recorder) = fixture.try_build(&text, |request| request.cancel = cancel);
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
    assert!(server.join().unwrap().contains("authorization: basic bwu6c2vjcmv0"));
    assert!(recorder.has("cancelled 2"), "{:?}", recorder.lines);
    assert!(
        recorder.has(&format!("start [2/2] ADD http://xxxxx:xxxxx@{address}/f /f")),
        "{:?}",
        recorder.lines
    );
    let error = fixture.fails(&text);
    assert!(!error.contains("secret") && error.contains("cannot reach http://xxxxx:xxxxx@"), "{error}");
}

fn a_failure_elsewhere_ends_a_download() {
    let fixture = online("elsewhere");
    // A cache mount is what a step that runs shares with this test: the context it sees is a copy.
    let mount = "--mount=type=cache,target=/shared";
    fixture.build(&format!("FROM busybox\nRUN {mount} true"));
    let mut mounts = std::fs::read_dir(fixture.store.data().join("cache-mounts")).unwrap();
    let shared = mounts.next().unwrap().unwrap().path().join("0");
    let (address, server) = endless(move || std::fs::write(shared.join("begun"), "").unwrap());
    let wait = "i=0; while [ ! -e /shared/begun ]; do i=$((i+1)); [ $i -lt 400 ] || exit 9; sleep 0.05; done; exit 3";
    let text = format!(
        "FROM busybox AS a\nADD http://{address}/f /f\n\
         FROM busybox\nRUN {mount} {wait}\nCOPY --from=a /f /f"
    );
    let started = std::time::Instant::now();
    let error = fixture.fails(&text);
    assert!(error.contains("exit code: 3"), "{error}");
    server.join().unwrap();
    // By itself it ends after 30 seconds of silence.
    assert!(started.elapsed().as_secs() < 25, "{:?}", started.elapsed());
}

fn a_build_that_asks_nobody() {
    let fixture = Fixture::new("nobody");
    let error = fixture.fails("FROM busybox\nADD http://127.0.0.1/f /f");
    assert!(
        error.contains("download http://127.0.0.1/f in a build that asks nobody is not supported"),
        "{error}"
    );
}
