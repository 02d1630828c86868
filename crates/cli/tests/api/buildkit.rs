//! `docker build` and `docker compose build` through BuildKit's services, as buildx and Compose do it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use testkit::{Api, Output};

use crate::served;

/// A served world with busybox whose `docker` has buildx and Compose.
fn with_buildx() -> Api {
    let api = served();
    api.install_plugins();
    api
}

/// Builds the context `name` of the world's scratch directory.
fn build(api: &Api, name: &str, flags: &[&str]) -> Output {
    api.docker([&["build", "--progress=plain"], flags, &[name]].concat())
}

/// What a command prints in a container of `image`.
#[track_caller]
fn printed(api: &Api, image: &str, command: &[&str]) -> String {
    api.docker([&["run", "--rm", image], command].concat()).success().text().to_owned()
}

#[test]
fn an_image_is_built_named_and_run() {
    let api = with_buildx();
    api.world.file("two/Dockerfile", "FROM busybox\nRUN echo built > /made\n");
    let first = build(&api, "two", &["-t", "two", "-t", "other:1"]).success();
    for line in
        ["[internal] load build definition from Dockerfile", "[1/2] FROM busybox", "[2/2] RUN echo built"]
    {
        assert!(first.stderr.contains(line), "{line}\n{}", first.stderr);
    }
    assert!(first.stderr.contains("naming to docker.io/library/two:latest"), "{}", first.stderr);
    assert_eq!(printed(&api, "two", &["cat", "/made"]), "built");
    assert_eq!(printed(&api, "other:1", &["cat", "/made"]), "built");

    let id = api.world.scratch().join("id");
    let metadata = api.world.scratch().join("metadata.json");
    let flags = ["--iidfile", id.to_str().unwrap(), "--metadata-file", metadata.to_str().unwrap()];
    let second = build(&api, "two", &flags).success();
    assert!(second.stderr.contains("CACHED"), "{}", second.stderr);
    let id = fs::read_to_string(id).unwrap();
    let inspected = api.world.hull(["inspect", "--format", "{{.Id}}", "two"]).success();
    assert_eq!(id, inspected.text());
    let metadata: serde_json::Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id.as_str());
    assert_eq!(api.docker(["build", "-q", "two"]).success().text(), id);
    let again = build(&api, "two", &["--no-cache"]).success();
    assert!(!again.stderr.contains("CACHED"), "{}", again.stderr);
}

/// What a client says of a build can be here before the build itself is.
#[test]
fn builds_that_take_no_time_end() {
    let api = with_buildx();
    api.world.file("short/Dockerfile", "FROM busybox\n");
    let build = || api.docker(["build", "-q", "short"]).success().text().to_owned();
    let first = build();
    std::thread::scope(|scope| {
        let builders: Vec<_> =
            (0..4).map(|_| scope.spawn(|| std::array::from_fn::<_, 6, _>(|_| build()))).collect();
        for builder in builders {
            assert!(builder.join().unwrap().iter().all(|id| *id == first));
        }
    });
}

#[test]
fn stages_arguments_and_the_ignore_file() {
    let api = with_buildx();
    let dockerfile = "# syntax=docker/dockerfile:1\n\
        FROM busybox AS files\n\
        ARG WORD=none\n\
        COPY . /all/\n\
        RUN test -e /all/näme && rm /all/näme && ls -A /all > /list && stat -c '%a %Y' /all/run >> /list && readlink /all/link >> /list && echo $WORD >> /list\n\
        FROM busybox AS unused\n\
        RUN false\n\
        FROM busybox\n\
        COPY --from=files /list /list\n";
    api.world.file("many/build.Dockerfile", dockerfile);
    api.world.file("many/.dockerignore", "*.log\n/secret\n!keep.log\n");
    for name in ["a.log", "keep.log", "secret/key", "deep/er/file", "näme"] {
        api.world.file(&format!("many/{name}"), name);
    }
    let run = api.world.file("many/run", "#!/bin/sh\n");
    std::os::unix::fs::symlink("/nowhere", run.with_file_name("link")).unwrap();
    let script = "chmod 750 many/run && touch -d @1000000000 many/run && truncate -s 20M many/large && touch many/empty";
    let made =
        std::process::Command::new("sh").args(["-c", script]).current_dir(api.world.scratch()).status();
    assert!(made.unwrap().success());

    let flags =
        ["-f", "many/build.Dockerfile", "-t", "many", "--build-arg", "WORD=given", "--label", "a.b=c"];
    build(&api, "many", &flags).success();
    let expected = ".dockerignore\nbuild.Dockerfile\ndeep\nempty\nkeep.log\nlarge\nlink\nrun\n750 1000000000\n/nowhere\ngiven";
    assert_eq!(printed(&api, "many", &["cat", "/list"]), expected);
    let label = api.world.hull(["inspect", "--format", r#"{{index .Config.Labels "a.b"}}"#, "many"]);
    assert_eq!(label.success().text(), "c");
    // A file that changes is seen.
    api.world.file("many/empty", "no more");
    let changed = build(&api, "many", &flags).success();
    // But for the last step, to which it makes no difference.
    assert_eq!(changed.stderr.matches("CACHED").count(), 1, "{}", changed.stderr);
    build(&api, "many", &["-f", "many/build.Dockerfile", "--target", "unused"]).status(1);
}

#[test]
fn a_failure_shows_the_output_and_the_line() {
    let api = with_buildx();
    api.world.file("bad/Dockerfile", "FROM busybox\n\nRUN echo before && exit 3\n");
    let failed = build(&api, "bad", &["-t", "bad"]).status(1);
    for text in [
        "[2/2] RUN echo before && exit 3",
        "   3 | >>> RUN echo before && exit 3",
        r#"ERROR: failed to solve: process "/bin/sh -c echo before && exit 3" did not complete successfully: exit code: 3"#,
    ] {
        assert!(failed.stderr.contains(text), "{text}\n{}", failed.stderr);
    }
    assert!(failed.stderr.contains(" before\n"), "{}", failed.stderr);

    api.world.file("bad/typo", "FROM busybox\nRUNN true\n");
    let typo = build(&api, "bad", &["-f", "bad/typo"]).status(1);
    assert!(
        typo.stderr.contains("dockerfile parse error on line 2: unknown instruction: RUNN"),
        "{}",
        typo.stderr
    );
    let missing = build(&api, "bad", &["-f", "bad/none"]).status(1);
    assert!(missing.stderr.contains("open none: no such file or directory"), "{}", missing.stderr);
    // Nothing of it is left.
    assert_eq!(api.world.hull(["images", "-aq"]).success().text().lines().count(), 1);
    let left = || fs::read_dir(api.world.data_root().join("tmp")).unwrap().count();
    testkit::eventually("the builds' files are gone", 20, || (left() == 0).then_some(()));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let api = with_buildx();
    api.world.file("plain/Dockerfile", "FROM busybox\n");
    api.world.file("plain/foreign", "# syntax=example.com/frontend\nFROM busybox\n");
    for (flags, expected) in [
        (&["-f", "plain/foreign"][..], "example.com/frontend"),
        (
            &["--build-arg", "BUILDKIT_SYNTAX=example.com/frontend"],
            "syntax=example.com/frontend is not supported",
        ),
        (&["--platform", "linux/s390x"], "platform=linux/s390x is not supported"),
        (&["--cgroup-parent", "/"], "invalid cgroup parent `/`"),
        (&["--allow", "security.insecure"], "security.insecure is not supported"),
        (&["--attest", "type=sbom"], "Attestations are not supported"),
        (&["--cache-to", "type=local,dest=cache"], "cache-to: type=local is not supported"),
        (&["--cache-from", "type=elsewhere,ref=x"], "cache-from: type=elsewhere is not supported"),
        (
            &["--cache-to", "type=registry,ref=example.com/cache,compression=zstd"],
            "compression=zstd is not supported",
        ),
    ] {
        let refused = build(&api, "plain", flags).status(1);
        assert!(refused.stderr.contains(expected), "{flags:?}\n{}", refused.stderr);
    }
}

#[test]
fn compose_builds() {
    let api = with_buildx();
    let file = "services:\n  web:\n    image: web:1\n    build:\n      context: web\n      args: {WORD: composed}\n  \
        job:\n    build:\n      dockerfile_inline: |\n        FROM busybox\n        RUN echo inline > /word\n";
    api.world.file("stack/compose.yaml", file);
    api.world.file("stack/web/Dockerfile", "FROM busybox\nARG WORD\nRUN echo $WORD > /word\n");
    api.docker(["compose", "--progress=plain", "--project-directory", "stack", "build"]).success();
    assert_eq!(printed(&api, "web:1", &["cat", "/word"]), "composed");
    assert_eq!(printed(&api, "stack-job", &["cat", "/word"]), "inline");
}

#[test]
fn a_build_ends_with_its_client() {
    let api = with_buildx();
    api.world.file("slow/Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n");
    let mut terminal = api.terminal(["build", "--progress=plain", "slow"]);
    terminal.expect("begun");
    terminal.send("\x03");
    assert_eq!(terminal.finish().0, Some(1));
    testkit::eventually("the build's files are gone", 20, || {
        let left = fs::read_dir(api.world.data_root().join("tmp")).unwrap().count();
        let steps = fs::read_dir(api.world.run_root().join("builds")).map_or(0, Iterator::count);
        (left + steps == 0).then_some(())
    });
    // The server goes on.
    api.world.file("slow/Dockerfile", "FROM busybox\n");
    build(&api, "slow", &[]).success();
}

#[test]
fn secrets_and_agents_come_from_the_client() {
    let api = with_buildx();
    let dockerfile = "FROM busybox\n\
        RUN --mount=type=secret,id=file,required cat /run/secrets/file\n\
        RUN --mount=type=secret,id=word,env=WORD echo word=$WORD\n\
        RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent\n\
        RUN --mount=type=ssh,required --mount=target=/tools /tools/ask\n";
    api.world.file("secret/Dockerfile", dockerfile);
    api.world.file("hidden", "hush");
    let source = r#"
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        #include <unistd.h>
        int main() {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            strcpy(address.sun_path, getenv("SSH_AUTH_SOCK"));
            int agent = socket(AF_UNIX, SOCK_STREAM, 0);
            unsigned char answer[64];
            if (connect(agent, (void *)&address, sizeof address)) return perror("connect"), 1;
            if (write(agent, "\0\0\0\1\13", 5) != 5) return 2;
            printf("answered %zd bytes, kind", recv(agent, answer, 9, MSG_WAITALL));
            printf(" %d\n", answer[4]);
        }"#;
    let source = api.world.file("ask.c", source);
    let mut compiler = std::process::Command::new("gcc");
    compiler.args(["-static", "-o", "secret/ask"]).arg(source).current_dir(api.world.scratch());
    assert!(compiler.status().expect("gcc is installed (`cargo xtask setup`)").success());
    // An agent that has no keys: to SSH_AGENTC_REQUEST_IDENTITIES (11) it says so.
    let socket = api.world.scratch().join("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut asked = [0; 5];
            while client.read_exact(&mut asked).is_ok() {
                assert_eq!(asked, [0, 0, 0, 1, 11]);
                client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
        }
    });
    let ssh = format!("default={}", socket.display());
    let mut command = api.docker_command(["build", "--progress=plain", "-t", "secret"]);
    command.args(["--secret", "id=file,src=hidden", "--secret", "id=word,env=WORD", "--ssh", &ssh, "secret"]);
    let built = Output::of(command.env("WORD", "said")).success();
    for text in [" hush", " word=said", " answered 9 bytes, kind 12"] {
        assert!(built.stderr.contains(text), "{text}\n{}", built.stderr);
    }
    assert_eq!(printed(&api, "secret", &["sh", "-c", "ls -A /run /tools 2>/dev/null || true"]), "");
    api.world.file("secret/again", "FROM busybox\nRUN --mount=type=secret,id=none,required true\n");
    let missing = build(&api, "secret", &["-f", "secret/again"]).status(1);
    assert!(missing.stderr.contains("secret not found: none"), "{}", missing.stderr);
    api.world.file("secret/again", "FROM busybox\nRUN --mount=type=ssh,required true\n");
    let missing = build(&api, "secret", &["-f", "secret/again"]).status(1);
    assert!(missing.stderr.contains("SSH agent not found: default"), "{}", missing.stderr);
}

#[test]
fn results_are_sent_to_the_client() {
    let api = with_buildx();
    let dockerfile = "FROM busybox AS made\nRUN mkdir -p /out/deep && echo one > /out/deep/file && ln -s deep/file /out/link \
        && touch /out/empty && chmod 750 /out/deep && seq 200000 > /out/large\nFROM scratch\nCOPY --from=made /out /\n";
    api.world.file("out/Dockerfile", dockerfile);
    let scratch = api.world.scratch();
    build(&api, "out", &["--output", "type=local,dest=tree"]).success();
    let tree = scratch.join("tree");
    assert_eq!(fs::read_to_string(tree.join("deep/file")).unwrap(), "one\n");
    assert_eq!(fs::read_link(tree.join("link")).unwrap().to_str(), Some("deep/file"));
    assert_eq!(fs::read_to_string(tree.join("large")).unwrap().lines().count(), 200_000);
    assert_eq!(fs::metadata(tree.join("deep")).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(fs::metadata(tree.join("empty")).unwrap().len(), 0);

    build(&api, "out", &["--output", "type=tar,dest=files.tar"]).success();
    let listed =
        std::process::Command::new("tar").args(["tf", "files.tar"]).current_dir(&scratch).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|line| line.trim_start_matches("./") == "deep/file"), "{listed}");
    // Nothing but busybox is left here.
    let images =
        || api.world.hull(["images", "-a", "--format", "{{.Repository}}"]).success().text().to_owned();
    assert_eq!(images(), "busybox");

    let metadata = scratch.join("metadata.json");
    for kind in ["oci", "docker"] {
        let archive = format!("{kind}.tar");
        let output = format!("type={kind},dest={archive}");
        let flags = ["--output", &output, "-t", "named:1", "--metadata-file", metadata.to_str().unwrap()];
        build(&api, "out", &flags).success();
        assert_eq!(images(), "busybox");
        let told: serde_json::Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
        api.world.hull(["load", "-i", scratch.join(&archive).to_str().unwrap()]).success();
        let id = api.world.hull(["inspect", "--format", "{{.Id}}", "named:1"]).success();
        assert_eq!(told["containerimage.config.digest"], id.text());
        assert_ne!(told["containerimage.digest"], id.text());
        api.world.hull(["rmi", "named:1"]).success();
    }
    // Two at once, one of them an image here.
    let flags = ["--output", "type=local,dest=second", "--output", "type=docker", "-t", "both"];
    build(&api, "out", &flags).success();
    assert!(scratch.join("second/deep/file").exists());
    assert_eq!(images(), "both\nbusybox");
}

#[test]
fn further_contexts_are_directories_and_images() {
    let api = with_buildx();
    api.world
        .file("more/Dockerfile", "FROM swapped\nCOPY --from=extra . /extra/\nRUN ls -A /extra > /list\n");
    api.world.file("side/kept", "1");
    api.world.file("side/left.log", "2");
    api.world.file("side/.dockerignore", "*.log\n");
    let flags =
        ["--build-context", "extra=side", "--build-context", "swapped=docker-image://busybox", "-t", "more"];
    build(&api, "more", &flags).success();
    assert_eq!(printed(&api, "more", &["cat", "/list"]), ".dockerignore\nkept");
    // The same by hull's own hand is the same to the cache.
    let mut own = api.world.command([&["build"], &flags[..], &["more"]].concat());
    let own = Output::of(own.current_dir(api.world.scratch())).success();
    assert!(own.stderr.contains("CACHED"), "{}", own.stderr);
    let flags = ["--build-context", "swapped=https://example.com/x.tar"];
    let refused = build(&api, "more", &flags).status(1);
    assert!(
        refused.stderr.contains("context:swapped=https://example.com/x.tar is not supported"),
        "{}",
        refused.stderr
    );
}

#[test]
fn the_cache_is_listed_and_pruned() {
    let api = with_buildx();
    api.world.file("kept/Dockerfile", "FROM busybox\nRUN dd if=/dev/zero of=/kept bs=1M count=3\n");
    build(&api, "kept", &[]).success();
    let total = |output: &Output| {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix("Total:"));
        line.unwrap_or_else(|| panic!("{output}")).trim().to_owned()
    };
    let used = total(&api.docker(["buildx", "du"]).success());
    // A layer is a blob and a tree.
    let megabytes: f64 = used.strip_suffix("MB").expect("megabytes").parse().expect("a number");
    assert!((6.29..6.4).contains(&megabytes), "{used}");
    // What an image has is kept, and so is what was used a moment ago.
    for flags in [&[][..], &["--all", "--filter", "until=1h"]] {
        let pruned = api.docker([&["buildx", "prune", "-f"], flags].concat()).success();
        assert_eq!(total(&pruned), "0B", "{pruned}");
    }
    let pruned = api.docker(["buildx", "prune", "-f", "--all"]).success();
    assert_eq!(total(&pruned), used, "{pruned}");
    assert_eq!(total(&api.docker(["buildx", "du"]).success()), "0B");
    build(&api, "kept", &[]).success();
    let refused = api.docker(["buildx", "prune", "-f", "--keep-storage", "1GB"]).status(1);
    assert!(refused.stderr.contains("not by size"), "{refused}");
}

#[test]
fn limits_and_the_name_of_the_host() {
    let api = with_buildx();
    api.world.file("limits/Dockerfile", "FROM busybox\nRUN (ulimit -n; hostname) > /told\n");
    build(&api, "limits", &["-t", "plain"]).success();
    assert_eq!(printed(&api, "plain", &["tail", "-n1", "/told"]), "build");
    let flags =
        ["--ulimit", "nofile=77:88", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=maker", "-t", "limits"];
    build(&api, "limits", &flags).success();
    assert_eq!(printed(&api, "limits", &["cat", "/told"]), "77\nmaker");
    // By hull's own hand it is the same step.
    let mut own = api.world.command([&["build"], &flags[..], &["limits"]].concat());
    let own = Output::of(own.current_dir(api.world.scratch())).success();
    assert!(own.stderr.contains("CACHED"), "{}", own.stderr);
}

#[test]
fn caches_and_images_of_registries_that_know_the_client() {
    let (api, other) = (with_buildx(), with_buildx());
    let registry = testkit::Registry::with_password(&api.world);
    let cache = format!("type=registry,ref={},mode=max", registry.reference("cache"));
    for api in [&api, &other] {
        api.world.file("cached/Dockerfile", "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /made\n");
        api.docker(["login", "-u", "alice", "-p", "secret", registry.address()]).success();
    }
    build(&api, "cached", &["-t", "cached", "--cache-to", &cache]).success();
    let from = registry.reference("cache");
    let second = build(&other, "cached", &["-t", "cached", "--cache-from", &from]).success();
    assert!(second.stderr.contains("importing cache manifest from"), "{}", second.stderr);
    assert_eq!(second.stderr.matches("CACHED").count(), 1, "{}", second.stderr);
    assert_eq!(printed(&api, "cached", &["cat", "/made"]), printed(&other, "cached", &["cat", "/made"]));

    // What only the client may see, and only as long as it says who it is.
    let private = registry.reference("private");
    api.docker(["tag", "cached", &private]).success();
    api.docker(["push", "-q", &private]).success();
    other.world.file("above/Dockerfile", &format!("FROM {private}\nRUN true\n"));
    build(&other, "above", &["-t", "above"]).success();
    assert_eq!(printed(&other, "above", &["cat", "/made"]), printed(&api, "cached", &["cat", "/made"]));
    other.docker(["logout", registry.address()]).success();
    let refused = build(&other, "above", &["--pull", "-t", "above"]).status(1);
    assert!(refused.stderr.contains("pull access denied"), "{}", refused.stderr);
}

#[test]
fn http2_is_spoken_without_an_upgrade() {
    let api = served();
    let mut client = std::os::unix::net::UnixStream::connect(api.socket()).unwrap();
    // The preface in two pieces, then an empty SETTINGS frame: the server begins with one of its own (type 4).
    client.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    client.write_all(b"\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    client.read_exact(&mut head).unwrap();
    assert_eq!((head[3], &head[5..]), (4, &[0, 0, 0, 0][..]));
    // Upgrades to anything else are refused, and so is none.
    api.request("POST", "/grpc", "Connection: Upgrade\r\nUpgrade: tcp\r\n", b"").expect(400);
    api.request("POST", "/grpc", "", b"").expect(426);
    api.request("POST", "/session", "Connection: Upgrade\r\nUpgrade: h2c\r\n", b"").expect(400);
}
