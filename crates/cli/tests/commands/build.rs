//! `build` as it is typed: contexts, arguments, stages, the cache, and what a failure says.

use testkit::web;

use crate::world;

#[test]
fn a_context_becomes_an_image() {
    let world = world();
    world.file("app/Dockerfile", "FROM busybox\nARG WHO=nobody\nENV GREETING=\"hello $WHO\"\nWORKDIR /srv\nCOPY . .\nRUN echo built > built\nCMD [\"sh\", \"-c\", \"echo $GREETING; ls; cat built\"]\n");
    world.file("app/kept", "");
    world.file("app/left/out", "");
    world.file("app/.dockerignore", "# not these\nleft\nDockerfile\n.dockerignore\n");
    let built = world
        .hull([
            "build",
            "-t",
            "app:1",
            "-t",
            "app:latest",
            "--build-arg",
            "WHO=world",
            "--progress",
            "plain",
            "app",
        ])
        .success();
    assert!(built.stderr.contains("RUN echo built > built"), "{built}");
    assert_eq!(world.hull(["run", "--rm", "app:1"]).success().stdout, "hello world\nbuilt\nkept\nbuilt\n");
    let again = world
        .hull(["build", "-t", "app:1", "--build-arg", "WHO=world", "--progress", "plain", "app"])
        .success();
    assert!(again.stderr.contains("CACHED"), "{again}");
    assert_eq!(world.inspect("app:1", "{{.Id}}"), world.inspect("app:latest", "{{.Id}}"));
    world.file("app/kept", "changed");
    let changed = world.hull(["build", "-q", "-t", "app:1", "--build-arg", "WHO=world", "app"]).success();
    assert_eq!(changed.text(), world.inspect("app:1", "{{.Id}}"));
    assert_ne!(world.inspect("app:1", "{{.Id}}"), world.inspect("app:latest", "{{.Id}}"));
    let warned = world.hull(["build", "-t", "app:2", "--build-arg", "UNUSED=1", "app"]).success();
    assert!(warned.stderr.contains("UNUSED"), "{warned}");
}

#[test]
fn stages_and_targets() {
    let world = world();
    world.file("Dockerfile", "FROM busybox AS base\nRUN echo base > /out\nFROM base AS debug\nRUN echo debug >> /out\nFROM scratch AS broken\nRUN [\"/nothing\"]\nFROM busybox\nCOPY --from=base /out /copied\nCMD cat /copied\n");
    world.hull(["build", "-t", "last", "."]).success();
    assert_eq!(world.hull(["run", "--rm", "last"]).success().stdout, "base\n");
    world.hull(["build", "--target", "debug", "-t", "debug", "."]).success();
    assert_eq!(world.hull(["run", "--rm", "debug", "cat", "/out"]).success().stdout, "base\ndebug\n");
    world.hull(["build", "--target", "nope", "."]).status(1).says("nope");
    world.hull(["build", "--target", "broken", "."]).status(1).says("/nothing");
}

#[test]
fn contexts_from_the_web() {
    let world = world();
    let text = b"FROM busybox\nCMD echo fetched\n".to_vec();
    let address = web(vec![("200 OK", text), ("404 Not Found", Vec::new())]);
    world.hull(["build", "-t", "fetched", &format!("{address}/Dockerfile")]).success();
    assert_eq!(world.hull(["run", "--rm", "fetched"]).success().stdout, "fetched\n");
    world.hull(["build", &address]).status(1).says("failed to GET");
    world.hull(["build", &address]).status(1).says("cannot reach");
    world.hull(["build", "https://example.com/x.git#-x"]).status(1).says("no reference is called so");
}

#[test]
fn files_from_the_web() {
    let world = world();
    let address = web(vec![("200 OK", b"fetched\n".to_vec()), ("404 Not Found", Vec::new())]);
    world.file("Dockerfile", &format!("FROM busybox\nADD {address}/f /f\nCMD cat /f\n"));
    let built = world.hull(["build", "--progress", "plain", "-t", "added", "."]).success();
    assert!(built.stderr.contains(&format!("[2/2] ADD {address}/f /f")), "{built}");
    assert_eq!(world.hull(["run", "--rm", "added"]).success().stdout, "fetched\n");
    let missing = world.hull(["build", "-t", "missing", "."]).status(1);
    missing.says(&format!("failed to GET {address}/f with status 404"));
    world.hull(["inspect", "missing"]).status(1);
    world.hull(["build", "."]).status(1).says("cannot reach");
}

#[test]
fn dockerfiles_from_elsewhere() {
    let world = world();
    world.file("ctx/a", "content");
    let text = b"FROM busybox\nCOPY a /a\nRUN <<EOF\ncat /a > /b\necho more >> /b\nEOF\nCMD cat /b\n";
    world.hull_with_input(["build", "-t", "piped", "-f", "-", "ctx"], text).success();
    assert_eq!(world.hull(["run", "--rm", "piped"]).success().stdout, "contentmore\n");
    world.hull_with_input(["build", "-t", "bare", "-"], b"FROM busybox\nCMD echo bare\n").success();
    assert_eq!(world.hull(["run", "--rm", "bare"]).success().stdout, "bare\n");
    world.file("other/My.Dockerfile", "FROM busybox\nCOPY a /a\n");
    world.hull(["build", "-f", "other/My.Dockerfile", "-t", "other", "ctx"]).success();
    let id_file = world.scratch().join("iid");
    world
        .hull(["build", "-f", "other/My.Dockerfile", "--iidfile", &id_file.to_string_lossy(), "ctx"])
        .success();
    assert_eq!(
        std::fs::read_to_string(id_file).expect("it was written").trim(),
        world.inspect("other", "{{.Id}}")
    );
}

#[test]
fn errors_name_file_line_and_instruction() {
    let world = world();
    let fails = |text: &str, says: &[&str]| {
        world.file("bad/Dockerfile", text);
        let output = world.hull(["build", "-t", "bad", "bad"]).status(1);
        for part in says {
            assert!(output.stderr.contains(part), "{part:?} is missing\n{output}");
        }
        assert!(!output.stderr.contains("panicked"), "{output}");
    };
    fails(
        "FROM busybox\nRUN echo one\nRUN echo out; echo why >&2; exit 7\n",
        &["why", "Dockerfile:3", "exit 7", "7"],
    );
    fails("FROM busybox\nFLY me\n", &["Dockerfile:2", "FLY"]);
    fails("FROM busybox\nCOPY absent /x\n", &["Dockerfile:2", "absent"]);
    fails("FROM busybox\nCOPY ../../etc/passwd /x\n", &["Dockerfile:2"]);
    fails("RUN true\n", &["Dockerfile:1", "FROM"]);
    fails("", &["Dockerfile"]);
    fails("FROM nowhere:1\n", &["nowhere:1"]);
    fails("FROM busybox\nENV A\n", &["Dockerfile:2", "ENV"]);
    fails("FROM busybox\nRUN <<EOF\nnever ends\n", &["Dockerfile:2", "EOF"]);
    fails("FROM busybox\nCOPY --from=absent / /\n", &["Dockerfile:2", "absent"]);
    fails("FROM busybox\nCOPY --chmod=u+q file /\n", &["Dockerfile:2", "u+q"]);
    fails("FROM scratch\nRUN true\n", &["Dockerfile:2", "exec: \"/bin/sh\": stat /bin/sh: no such file"]);
    fails("FROM busybox\nUSER nobody-here\nRUN true\n", &["nobody-here"]);
    world.hull(["build", "empty"]).status(1).says("empty");
    world.file("empty/file", "");
    world.hull(["build", "empty"]).status(1).says("Dockerfile");
    world.hull(["build"]).says("requires");
    world.hull(["build", "-t", "Bad Name", "bad"]).says("Bad Name");
    world.hull(["build", "--platform", "linux/s390x", "bad"]).says("s390x");
    assert_eq!(world.hull(["images", "--format", "{{.Repository}}"]).success().text(), "busybox");
    assert_eq!(world.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn modes_archives_and_heredocs() {
    let world = world();
    world.file("ctx/f", "x");
    let mut tar = std::process::Command::new("tar");
    tar.args(["-cf", "a.tar", "f"]).current_dir(world.scratch().join("ctx"));
    assert!(tar.status().expect("tar is part of Debian").success());
    world.file(
        "ctx/Dockerfile",
        "FROM busybox\nCOPY --chmod=u=rwx,go= f /f\nADD --unpack=false a.tar /kept/\nADD a.tar /unpacked/\n\
         RUN <<EOF cat > /heredoc\nfirst\nEOF\nRUN stat -c %a /f; ls /kept /unpacked; cat /heredoc\n",
    );
    let built = world.hull(["build", "--progress", "plain", "ctx"]).success();
    for line in [" 700\n", " a.tar\n", " f\n", " first\n"] {
        assert!(built.stderr.contains(line), "{line:?} is missing\n{built}");
    }
}
