//! Every instruction, and what it leaves in the image.

use crate::fixture::{Fixture, files, snapshot};

crate::tests![
    metadata,
    nothing_but_from,
    run_forms,
    empty_steps_make_no_layer,
    environment_and_arguments,
    users_and_directories,
    copy_and_add,
    copy_from_stages_and_images,
    heredocs,
    dockerignore,
    stages_run_in_parallel,
    onbuild_triggers,
    targets_and_tags,
    tar_contexts,
    networks,
];

fn metadata() {
    let fixture = Fixture::new("metadata");
    let built = fixture.build(
        "FROM scratch\nARG V=1\nENV A=$V B=\"x y\"\nLABEL k=\"v $A\"\nEXPOSE 80 53/udp\nVOLUME /data\nUSER 5:6\n\
         WORKDIR /w\nSTOPSIGNAL SIGQUIT\nSHELL [\"/bin/bash\", \"-c\"]\nHEALTHCHECK --interval=3s CMD true\n\
         ONBUILD RUN x\nMAINTAINER me\nENTRYPOINT [\"/e\"]\nCMD c d\n",
    );
    let config = &built.config.config;
    assert_eq!(config.env[1..], ["A=1", "B=x y"]);
    assert!(config.env[0].starts_with("PATH="));
    assert_eq!(config.labels["k"], "v 1");
    assert!(config.exposed_ports.contains("80/tcp") && config.exposed_ports.contains("53/udp"));
    assert!(config.volumes.contains("/data"));
    assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("5:6", "/w"));
    assert_eq!(config.stop_signal, "SIGQUIT");
    assert_eq!(config.healthcheck.as_ref().unwrap().test, ["CMD-SHELL", "true"]);
    assert_eq!(config.on_build, ["RUN x"]);
    assert_eq!(config.entrypoint.as_ref().unwrap(), &["/e"]);
    assert_eq!(config.cmd.as_ref().unwrap(), &["/bin/bash", "-c", "c d"]);
    assert_eq!(built.config.author, "me");
    // Only WORKDIR made a layer, and the history says which.
    assert_eq!(built.config.rootfs.diff_ids.len(), 1);
    let layers: Vec<_> = built.config.history.iter().filter(|entry| !entry.empty_layer).collect();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0].created_by, "WORKDIR /w");
    assert_eq!(files(&snapshot(&fixture, &built, 0)), ["w"]);
}

fn nothing_but_from() {
    let fixture = Fixture::new("from-only");
    let built = fixture.build("FROM scratch");
    assert!(built.config.rootfs.diff_ids.is_empty());
    let same = fixture.build("FROM busybox");
    assert_eq!((same.output.executed_steps, same.config.rootfs.diff_ids.len()), (0, 1));
}

fn run_forms() {
    let fixture = Fixture::new("run");
    let built = fixture.build(
        "FROM busybox\nRUN echo shell > /a && echo out && echo err >&2\nRUN [\"/bin/sh\", \"-c\", \"echo exec > /b\"]\n\
         RUN cat /a /b\nCMD [\"sh\"]",
    );
    for line in ["out out", "out err", "out shell", "out exec"] {
        assert!(built.recorder.has(line), "{line}: {:?}", built.recorder.lines);
    }
    let error = fixture.fails("FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true");
    assert!(
        error.contains("process \"/bin/sh -ec false; true\" did not complete successfully: exit code: 1"),
        "{error}"
    );
}

fn empty_steps_make_no_layer() {
    let fixture = Fixture::new("empty");
    let built = fixture.build("FROM busybox\nRUN true\nRUN true\nRUN echo x > /x\nWORKDIR /bin");
    assert_eq!(built.output.executed_steps, 4);
    assert_eq!(built.config.rootfs.diff_ids.len(), 2);
    assert_eq!(files(&snapshot(&fixture, &built, 1)), ["x"]);
    assert_eq!(built.config.history.iter().filter(|entry| entry.empty_layer).count(), 3);
}

fn environment_and_arguments() {
    let fixture = Fixture::new("env");
    let text = "ARG G=global\nFROM busybox\nARG G\nARG V=default\nARG N\nENV E=env V2=$V\n\
                RUN echo \"$G|$V|$N|$E|$V2|${HOME}|$http_proxy\"";
    let built = fixture.build_with(text, |request| {
        request.build_args = [("V", "given"), ("http_proxy", "proxy"), ("UNUSED", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        request.labels.insert("l".to_owned(), "v".to_owned());
    });
    assert!(built.recorder.has("out global|given||env|given|/root|proxy"), "{:?}", built.recorder.lines);
    assert!(built.recorder.has("warning build argument UNUSED was not consumed by any ARG"));
    assert_eq!(built.config.config.env[1..], ["E=env", "V2=given"]);
    assert_eq!(built.config.config.labels["l"], "v");
    let history = built.config.history.last().unwrap();
    assert!(
        history.created_by.starts_with("RUN |2 G=global V=given /bin/sh -c echo"),
        "{}",
        history.created_by
    );
    assert!(!history.created_by.contains("proxy="));
}

fn users_and_directories() {
    let fixture = Fixture::new("users");
    let built = fixture.build(
        "FROM busybox\nUSER www-data\nWORKDIR /srv\nWORKDIR app\nRUN id -un > who; pwd >> who; stat -c %U:%G . >> who; cat who",
    );
    assert_eq!(fixture.sh(&built, "cat /srv/app/who"), "www-data\n/srv/app\nwww-data:www-data");
    assert_eq!(built.config.config.working_dir, "/srv/app");
    let error = fixture.fails("FROM busybox\nUSER nobody-here\nRUN true");
    assert!(error.contains("unable to find user nobody-here"), "{error}");
}

fn copy_and_add() {
    let fixture = Fixture::new("copy");
    fixture.file("a", "a").file("d/x", "x").file("d/e/y", "y").file("one.txt", "1").file("two.txt", "2");
    let tar = std::process::Command::new("tar")
        .args(["-C", fixture.context.to_str().unwrap(), "-czf"])
        .args([fixture.context.join("t.tgz").to_str().unwrap(), "d"])
        .status();
    assert!(tar.unwrap().success());
    let built = fixture.build(
        "FROM busybox\nCOPY a /one/two\nCOPY d /d\nCOPY *.txt /txt/\nWORKDIR /w\nCOPY a b/\nCOPY a .\n\
         COPY --chown=www-data --chmod=640 a /owned\nADD t.tgz /un\nCOPY t.tgz /\nCOPY --link a /linked/a\n\
         COPY --exclude=e d /ex",
    );
    assert_eq!(
        fixture.sh(&built, "cd /; cat one/two d/x d/e/y txt/* w/b/a w/a linked/a un/d/e/y; ls ex t.tgz; stat -c '%U:%G %a' owned"),
        "axy12aaayt.tgz\n\nex:\nx\nwww-data:www-data 640"
    );
    for (line, expected) in [
        ("COPY nope /", "file not found: nope in build context"),
        ("COPY ../outside /", "file not found: ../outside in build context"),
        ("COPY a d /x", "when using COPY with more than one source file"),
        ("COPY a /bin/busybox/x", "cannot copy to non-directory"),
        ("COPY --chown=nosuch a /", "no user \"nosuch\" in the image"),
        ("COPY --chmod=u+q a /", "invalid chmod parameter: 'u+q'"),
        ("COPY https://example.com/x /", "source can't be a URL for COPY"),
        ("COPY https://example.com/x.git /", "source can't be a git ref for COPY"),
        (
            "ADD https://example.com/x.git#-x /",
            "invalid git repository `https://example.com/x.git#-x`: no reference is called so",
        ),
    ] {
        let error = fixture.fails(&format!("FROM busybox\n{line}"));
        assert!(
            error.starts_with(&format!("error: Dockerfile:2: {line}")) && error.contains(expected),
            "{error}"
        );
    }
}

fn copy_from_stages_and_images() {
    let fixture = Fixture::new("from");
    let built = fixture.build(
        "FROM busybox AS build\nRUN mkdir /out && echo made > /out/f && chown 33:33 /out/f && ln -s f /out/l && ln /out/f /out/h\n\
         FROM scratch\nCOPY --from=build /out /out\nCOPY --from=0 /out/l /\nCOPY --from=busybox /etc/passwd /etc/passwd",
    );
    let layer = snapshot(&fixture, &built, 0);
    assert_eq!(files(&layer), ["out", "out/f", "out/h", "out/l"]);
    use std::os::unix::fs::MetadataExt;
    let stat = std::fs::metadata(layer.join("out/f")).unwrap();
    assert_eq!((stat.uid(), stat.nlink()), (33, 2));
    assert_eq!(std::fs::read_to_string(snapshot(&fixture, &built, 1).join("l")).unwrap(), "made\n");
    assert_eq!(files(&snapshot(&fixture, &built, 2)), ["etc", "etc/passwd"]);
    let error = fixture.fails("FROM busybox\nCOPY --from=missing:1 / /x");
    assert!(error.contains("No such image: missing:1"), "{error}");
    let error = fixture.fails("FROM missing\nRUN x");
    assert!(
        error.starts_with("error: Dockerfile:1: FROM missing") && error.contains("No such image: missing"),
        "{error}"
    );
}

fn heredocs() {
    let fixture = Fixture::new("heredoc");
    let built = fixture.build(
        "FROM busybox\nENV V=val\nRUN <<EOF\necho first $V > /r\necho second >> /r\nEOF\n\
         RUN <<'S'\n#!/bin/sh\necho script $0 >> /r\nS\n\
         RUN cat <<A > /two && cat <<B >> /two\none $V\nA\ntwo\nB\n\
         COPY <<x.conf <<\"y.conf\" /etc/c/\n$V ${V}\nx.conf\n$V\ny.conf\nCOPY --chmod=600 <<-T /tabbed\n\t\ttab\n\tT",
    );
    assert_eq!(
        fixture.sh(&built, "cat /r /two /etc/c/x.conf /etc/c/y.conf /tabbed; stat -c %a /tabbed"),
        "first val\nsecond\nscript /dev/pipes/S\none val\ntwo\nval val\n$V\ntab\n600"
    );
}

fn dockerignore() {
    let fixture = Fixture::new("ignore");
    fixture.file(".dockerignore", "# c\nsecret\n**/*.log\n!keep.log\n").file("secret", "").file("a.log", "");
    fixture.file("keep.log", "").file("d/b.log", "").file("d/ok", "");
    let built = fixture.build("FROM scratch\nCOPY . /");
    let expected = [".dockerignore", "Dockerfile", "d", "d/ok", "keep.log"];
    assert_eq!(files(&snapshot(&fixture, &built, 0)), expected);
    let error = fixture.fails("FROM scratch\nCOPY secret /");
    assert!(error.contains("excluded by .dockerignore"), "{error}");
    fixture.file("Dockerfile.dockerignore", "*\n!d\n");
    let own = fixture.build("FROM scratch\nCOPY . /x");
    assert_eq!(files(&snapshot(&fixture, &own, 0)), ["x", "x/d", "x/d/b.log", "x/d/ok"]);
}

/// Two stages that wait for each other's sign can only end when they run at the same time.
fn stages_run_in_parallel() {
    let fixture = Fixture::new("parallel");
    let mount = "--mount=type=cache,target=/meet";
    let wait = |own: &str, other: &str| {
        format!(
            "RUN {mount} touch /meet/{own}; i=0; while [ ! -e /meet/{other} ]; do i=$((i+1)); [ $i -lt 200 ] || exit 9; sleep 0.05; done"
        )
    };
    let text = format!(
        "FROM busybox AS a\n{}\nRUN echo a > /a\nFROM busybox AS b\n{}\nRUN echo b > /b\nFROM busybox AS unused\nRUN exit 1\n\
         FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /",
        wait("a", "b"),
        wait("b", "a")
    );
    let built = fixture.build(&text);
    assert_eq!(built.config.rootfs.diff_ids.len(), 2);
    // The same step in two stages runs once.
    let twice = fixture.build(
        "FROM busybox AS a\nRUN date +%s%N > /t\nFROM busybox AS b\nRUN date +%s%N > /t\nFROM scratch\nCOPY --from=a /t /a\nCOPY --from=b /t /b",
    );
    assert_eq!((twice.output.executed_steps, twice.output.cached_steps), (3, 1));
}

fn onbuild_triggers() {
    let fixture = Fixture::new("onbuild");
    fixture.file("f", "text");
    fixture.build_with("FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g", |request| {
        request.tags = vec!["base:1".to_owned()];
    });
    let built = fixture.build("FROM base:1\nRUN cat /g");
    assert!(built.recorder.has("out text"), "{:?}", built.recorder.lines);
    assert!(built.config.config.on_build.is_empty());
}

fn targets_and_tags() {
    let fixture = Fixture::new("target");
    let text = "FROM busybox AS one\nLABEL n=1\nFROM one AS two\nLABEL n=2";
    let built = fixture.build_with(text, |request| {
        request.target = Some("one".to_owned());
        request.tags = vec!["img".to_owned(), "img:v2".to_owned()];
    });
    assert_eq!(built.config.config.labels["n"], "1");
    assert_eq!(built.output.references, ["docker.io/library/img:latest", "docker.io/library/img:v2"]);
    let id = image::Images::new(&fixture.store).resolve("img:v2").unwrap().id.to_string();
    assert_eq!(id, built.output.image_id);
    let error = fixture.fails_with(text, |request| request.target = Some("three".to_owned()));
    assert!(error.contains("target stage \"three\" could not be found in Dockerfile"), "{error}");
    let error = fixture.fails_with(text, |request| request.tags = vec!["Bad Tag".to_owned()]);
    assert!(error.contains("invalid tag `Bad Tag`"), "{error}");
}

fn tar_contexts() {
    let fixture = Fixture::new("tar");
    fixture.file("Dockerfile", "FROM scratch\nCOPY f /").file("f", "from tar");
    let tar = std::process::Command::new("tar")
        .args(["-C", fixture.context.to_str().unwrap(), "-cz", "."])
        .output()
        .unwrap()
        .stdout;
    let built = fixture.build_with("FROM scratch\nCOPY f /", |request| {
        request.context = build::Source::Tar(Box::new(std::io::Cursor::new(tar)));
    });
    assert_eq!(std::fs::read_to_string(snapshot(&fixture, &built, 0).join("f")).unwrap(), "from tar");
    let error = fixture.fails_with("FROM scratch", |request| {
        request.context = build::Source::Tar(Box::new(&b"not a tar at all, but long enough to look at"[..]));
    });
    assert!(error.contains("build context"), "{error}");
    let text = fixture.build_with("", |request| {
        request.context = build::Source::Empty;
        request.dockerfile = build::DockerfileSource::Text("FROM busybox\nRUN true".to_owned());
    });
    assert_eq!(text.output.executed_steps, 1);
}

fn networks() {
    let fixture = Fixture::new("network");
    let built = fixture.build_with(
        "FROM busybox\nRUN ip -o -4 addr show eth0 | grep -c inet && ping -c1 -W2 $(ip route | awk '/default/ {print $3}') >/dev/null && echo reached\n\
         RUN --network=none ls /sys/class/net | tr '\\n' ' '\nRUN grep -c 'extra' /etc/hosts; test -s /etc/resolv.conf && echo resolv",
        |request| request.add_hosts = vec![("extra".to_owned(), [10, 1, 2, 3].into())],
    );
    let host = "FROM busybox\nRUN --network=host ls -d /sys/class/net/hb-*";
    let error = fixture.fails(host);
    assert!(error.contains("RUN --network=host is only granted"), "{error}");
    let granted = fixture.build_with(host, |request| request.network = build::RunNetwork::Host);
    for line in ["out 1", "out reached", "out lo ", "out resolv"] {
        assert!(built.recorder.has(line), "{line}: {:?}", built.recorder.lines);
    }
    assert!(
        granted.recorder.lines.lock().unwrap().iter().any(|line| line.starts_with("out /sys/class/net/hb-"))
    );
    // What was mounted left nothing in the layers.
    assert_eq!(built.config.rootfs.diff_ids.len(), 1);
}
