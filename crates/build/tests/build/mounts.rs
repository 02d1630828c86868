//! RUN --mount.

use std::sync::Arc;

use build::{Given, Secret, SecretSource};

use crate::fixture::{Fixture, files, snapshot};

crate::tests![bind_mounts, cache_mounts, tmpfs_and_secrets, mount_points_leave_no_trace];

fn bind_mounts() {
    let fixture = Fixture::new("bind");
    fixture.file("src/a", "a").file("src/skip", "").file("single", "one\n").file(".dockerignore", "src/skip");
    let built = fixture.build(
        "FROM busybox AS tools\nRUN mkdir /t && echo tool > /t/x && ln -s /t /link\nRUN echo more > /t/y\nFROM busybox\n\
         RUN --mount=target=/ctx ls /ctx/src; cat /ctx/single; ! touch /ctx/new 2>/dev/null && echo read-only\n\
         RUN --mount=type=bind,source=single,target=/etc/one,rw echo two >> /etc/one && cat /etc/one\n\
         RUN --mount=from=tools,source=/link,target=/t cat /t/x /t/y\n\
         RUN --mount=from=tools,source=/t,target=/t,rw echo z > /t/z && ls /t\n\
         RUN --mount=from=busybox,source=/etc/passwd,target=/p grep -c root /p",
    );
    for line in ["out a", "out one", "out two", "out read-only", "out tool", "out more", "out z", "out 1"] {
        assert!(built.recorder.has(line), "{line}: {:?}", built.recorder.lines);
    }
    assert!(!built.recorder.has("out skip"));
    assert_eq!(std::fs::read_to_string(fixture.context.join("single")).unwrap(), "one\n");
    assert_eq!(built.config.rootfs.diff_ids.len(), 1, "no step changed the image");
    // The mounted content is part of the key.
    let text = "FROM busybox\nRUN --mount=source=single,target=/s cat /s";
    fixture.build(text);
    assert_eq!(fixture.build(text).output.cached_steps, 1);
    fixture.file("single", "changed");
    assert_eq!(fixture.build(text).output.executed_steps, 1);
    let error = fixture.fails("FROM busybox\nRUN --mount=source=nope,target=/s true");
    assert!(error.contains("nope"), "{error}");
}

fn cache_mounts() {
    let fixture = Fixture::new("cachemount");
    let count =
        "RUN --mount=type=cache,target=/c,id=n,sharing=locked echo x >> /c/n && echo lines $(wc -l < /c/n)";
    let run = |salt: &str| fixture.build(&format!("FROM busybox\nENV S={salt}\n{count}")).recorder;
    assert!(run("1").has("out lines 1"));
    assert!(run("2").has("out lines 2"), "it persists");
    let owned = fixture.build(
        "FROM busybox\nRUN --mount=type=cache,target=/o,uid=33,gid=33,mode=0700 stat -c '%u:%g %a' /o\n\
         RUN --mount=type=cache,target=/c,id=n,ro ! touch /c/x && ls /c",
    );
    assert!(owned.recorder.has("out 33:33 700") && owned.recorder.has("out n"), "{:?}", owned.recorder.lines);
}

fn tmpfs_and_secrets() {
    let fixture = Fixture::new("secret");
    let text = "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m grep -c ' /t tmpfs' /proc/mounts; echo x > /t/x\n\
                RUN --mount=type=secret,id=s cat /run/secrets/s; stat -c '%a' /run/secrets/s\n\
                RUN --mount=type=secret,id=s,env=TOKEN echo env=$TOKEN; ls /run/secrets 2>/dev/null || echo none\n\
                RUN --mount=type=secret,id=absent ls /run/secrets 2>/dev/null || echo optional";
    let built = fixture.build_with(text, |request| {
        let secret = Secret { id: "s".to_owned(), source: SecretSource::Value(b"hush\n".to_vec()) };
        request.attachments = Arc::new(Given { secrets: vec![secret], ..Given::default() });
    });
    for line in ["out 1", "out hush", "out 400", "out env=hush", "out none", "out optional"] {
        assert!(built.recorder.has(line), "{line}: {:?}", built.recorder.lines);
    }
    assert_eq!(built.config.rootfs.diff_ids.len(), 1);
    let error = fixture.fails("FROM busybox\nRUN --mount=type=secret,id=x,required true");
    assert!(error.contains("secret not found: x"), "{error}");
}

fn mount_points_leave_no_trace() {
    let fixture = Fixture::new("stubs");
    let built = fixture.build(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/deep/er/mount echo real > /etc/real\n\
         RUN --mount=type=tmpfs,target=/kept/sub mkdir -p /kept/dir",
    );
    assert_eq!(files(&snapshot(&fixture, &built, 1)), ["etc", "etc/real"]);
    assert_eq!(files(&snapshot(&fixture, &built, 2)), ["kept", "kept/dir"]);
}
