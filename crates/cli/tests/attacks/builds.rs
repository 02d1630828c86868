//! Dockerfiles that reach for the host (CVE-2024-23651, -23652, -23653, CVE-2024-1753, CVE-2024-9407).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use testkit::{Output, World};

use crate::{assert_untouched, image, trap, world};

/// Builds `text` in a context with a link to the trap, where root is the host's: a step that gets out may do anything there.
fn build(world: &World, trap: &Path, text: &str) -> Output {
    build_as(world, trap, "host", text)
}

fn build_as(world: &World, trap: &Path, users: &str, text: &str) -> Output {
    let context = world.file("context/Dockerfile", text).parent().expect("it has one").to_owned();
    for (name, target) in [("link", trap), ("root", Path::new("/")), ("up", Path::new("../trap"))] {
        if fs::symlink_metadata(context.join(name)).is_err() {
            symlink(target, context.join(name)).expect("a fresh name");
        }
    }
    let build = ["build", "-t", "made", &context.to_string_lossy()];
    Output::of(world.command(build).env("HULL_USERNS", users))
}

/// An image with links to the trap and to `/`, and a file that only it has.
fn evil(world: &World, trap: &Path) {
    image(world, "evil", |root| {
        symlink(trap, root.join("link")).expect("a fresh directory");
        symlink("/", root.join("root-link")).expect("a fresh directory");
        symlink("../../../../../../..", root.join("up")).expect("a fresh directory");
        fs::write(root.join("only-here"), "of the image").expect("a fresh directory");
    });
}

#[test]
fn sources_of_mounts_are_looked_up_inside() {
    let world = world();
    let trap = trap(&world);
    evil(&world, &trap);
    let secret = trap.join("secret");
    for source in ["/link", "/link/secret", "link", "/up", "/root-link", "../../..", "/link/../secret"] {
        for mount in [
            format!("type=bind,from=evil,source={source},target=/m,rw"),
            format!("type=cache,id=c,from=evil,source={source},target=/m"),
            format!("type=bind,source={source},target=/m,rw"),
        ] {
            let text = format!(
                "FROM busybox\nRUN --mount={mount} echo start; ls -a /m; cat /m/secret /m{}; touch /m/x /m/secret; \
                 rm -rf /m/secret; echo end\n",
                secret.display()
            );
            let output = build(&world, &trap, &text);
            let all = format!("{}{}", output.stdout, output.stderr);
            assert!(!all.contains("of the host"), "{output}");
            assert_untouched(&trap);
        }
    }
    // A link to `/` is the image's own root.
    let text = "FROM busybox\nRUN --mount=type=bind,from=evil,source=/root-link,target=/m cat /m/only-here\n";
    let output = build(&world, &trap, text);
    assert!(
        output.status != Some(0) || format!("{}{}", output.stdout, output.stderr).contains("of the image"),
        "{output}"
    );
}

#[test]
fn targets_of_mounts_are_made_inside() {
    let world = world();
    let trap = trap(&world);
    evil(&world, &trap);
    for kind in ["type=tmpfs", "type=cache", "type=bind,from=busybox,source=/etc"] {
        for target in ["/link", "/link/new", "/link/secret", "/root-link/link/new"] {
            let output =
                build(&world, &trap, &format!("FROM evil\nRUN --mount={kind},target={target} true\n"));
            assert_untouched(&trap);
            assert!(!output.stderr.contains("panicked"), "{output}");
        }
    }
    // The mount points a step leaves are removed inside as well: the trap's own directory would be the victim. The step itself
    // can put the link where its mount point was.
    fs::create_dir(trap.join("empty")).expect("a fresh directory");
    let text = "FROM evil\nRUN --mount=type=cache,target=/link/empty true\n";
    let _ = build(&world, &trap, text);
    let swap = format!("mv /d /e && ln -s {} /d", trap.display());
    build(&world, &trap, &format!("FROM evil\nRUN --mount=type=cache,target=/d/empty {swap}\n")).success();
    fs::remove_dir(trap.join("empty")).expect("it is still there");
}

#[test]
fn copies_stay_inside() {
    let world = world();
    let trap = trap(&world);
    evil(&world, &trap);
    for copy in [
        "COPY --from=evil /link/secret /got",
        "COPY --from=evil /up/proc/self/environ /got",
        "COPY link/secret /got",
        "COPY up/secret /got",
        "COPY ../trap/secret /got",
        "COPY link/ /got",
        "ADD link/secret /got",
    ] {
        let output = build(&world, &trap, &format!("FROM busybox\n{copy}\n"));
        if output.status == Some(0) {
            let read = "cat /got /got/secret 2>/dev/null; true";
            let seen = world.hull(["run", "--rm", "made", "sh", "-c", read]).success();
            assert!(!seen.stdout.contains("of the host") && !seen.stdout.contains("HULL_"), "{copy}: {seen}");
        }
    }
    // Nor do they write outside: the destination goes through a link of the image.
    for copy in [
        "COPY Dockerfile /link/new",
        "COPY Dockerfile /link/secret",
        "WORKDIR /link/made",
        "ADD Dockerfile /up/link/",
    ] {
        let _ = build(&world, &trap, &format!("FROM evil\n{copy}\nRUN true\n"));
        assert_untouched(&trap);
    }
}

#[test]
fn a_step_has_a_containers_rights_and_no_more() {
    let world = world();
    let trap = trap(&world);
    let look = "grep -E 'CapEff|Seccomp:|NoNewPrivs|CapInh' /proc/self/status; tail -c 6 /proc/self/uid_map; \
                (echo 0 > /proc/sysrq-trigger) 2>&1; ls /proc/1/fd; mknod /x b 7 0 && echo made; true";
    let output = build_as(&world, &trap, "private", &format!("FROM busybox\nRUN {look}\n")).success();
    let seen = format!("{}{}", output.stdout, output.stderr);
    assert!(seen.contains("00000000a80425fb") && seen.contains("65536"), "{seen}");
    assert!(seen.contains("Seccomp:\t2") && !seen.contains("made\n"), "{seen}");
    // CVE-2024-23653: privileges are not the Dockerfile's to take.
    for flag in ["--security=insecure", "--network=host --security=insecure"] {
        let output = build(&world, &trap, &format!("FROM busybox\nRUN {flag} true\n"));
        assert_ne!(output.status, Some(0), "{output}");
    }
}
