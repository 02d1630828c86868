//! Files of containers: `cp` both ways, mounts of every kind, read-only roots, `export` and `commit`.

use std::fs;

use crate::{sleeper, world};

#[test]
fn cp_goes_both_ways() {
    let world = world();
    sleeper(&world, "web", &[]);
    world.file("in/a.txt", "alpha");
    world.file("in/deep/b.txt", "beta");
    world.hull(["cp", "in", "web:/tmp/copied"]).success();
    assert_eq!(world.hull(["exec", "web", "cat", "/tmp/copied/deep/b.txt"]).success().stdout, "beta");
    world.hull(["cp", "in/a.txt", "web:/tmp/"]).success();
    world
        .hull(["exec", "web", "sh", "-c", "test $(cat /tmp/a.txt) = alpha && echo made > /tmp/out.txt"])
        .success();
    world.hull(["cp", "web:/tmp/out.txt", "out.txt"]).success();
    assert_eq!(fs::read_to_string(world.scratch().join("out.txt")).expect("it was copied"), "made\n");
    world.hull(["stop", "web"]).success();
    world.hull(["cp", "web:/tmp/copied/.", "back"]).success();
    assert_eq!(fs::read_to_string(world.scratch().join("back/deep/b.txt")).expect("it was copied"), "beta");
    world.hull(["cp", "web:/nope", "."]).status(1).says("/nope");
    world.hull(["cp", "nope.txt", "web:/tmp/"]).status(1).says("nope.txt");
    world.hull(["cp", "nobody:/tmp", "."]).status(1).says("No such container: nobody");
    world.hull(["cp", "in", "web:/no/such/dir/x"]).status(1);
}

#[test]
fn cp_streams_archives_and_stays_inside() {
    let world = world();
    sleeper(&world, "web", &[]);
    world.hull(["exec", "web", "sh", "-c", "ln -s /etc /tmp/out; ln -s ../../../../etc /tmp/up"]).success();
    let archive = world.command(["cp", "web:/etc/passwd", "-"]).output().expect("the binary was built");
    assert!(
        archive.status.success() && archive.stdout.len().is_multiple_of(512) && !archive.stdout.is_empty()
    );
    world.hull_with_input(["cp", "-", "web:/tmp"], &archive.stdout).success();
    world.hull(["exec", "web", "cmp", "/etc/passwd", "/tmp/passwd"]);
    let before = fs::read("/etc/passwd").expect("every Debian has it");
    world.file("passwd", "overwritten inside");
    world.hull(["cp", "passwd", "web:/tmp/up/passwd"]).success();
    assert_eq!(world.hull(["exec", "web", "cat", "/etc/passwd"]).success().stdout, "overwritten inside");
    assert_eq!(fs::read("/etc/passwd").expect("it is still there"), before, "links lead into the container");
}

#[test]
fn mounts_of_every_kind() {
    let world = world();
    world.file("host/a", "from the host");
    let bind = format!("{}/host:/data:ro", world.scratch().display());
    let mount = format!("type=bind,src={}/host,dst=/more,readonly", world.scratch().display());
    let run = |flags: &[&str], script: &str| {
        world.hull([&["run", "--rm", "--network", "none"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&["-v", &bind], "cat /data/a; touch /data/b").stdout, "from the host");
    assert_ne!(run(&["-v", &bind], "touch /data/b").status, Some(0));
    assert_ne!(run(&["--mount", &mount], "touch /more/b").status, Some(0));
    let writable = bind.trim_end_matches(":ro").to_owned();
    run(&["-v", &writable], "echo new > /data/b").success();
    assert_eq!(fs::read_to_string(world.scratch().join("host/b")).expect("it was written"), "new\n");
    run(
        &["--tmpfs", "/scratch:size=1m,mode=700"],
        "touch /scratch/x && stat -c %a /scratch && df -k /scratch | grep -q 1024",
    )
    .success();
    run(&["--mount", "type=tmpfs,dst=/t"], "grep ' /t tmpfs' /proc/mounts").success();
    run(&["--read-only"], "touch /x").status(1).says("Read-only file system");
    run(&["--read-only", "--tmpfs", "/tmp", "-v", "/keep"], "touch /tmp/x /keep/x").success();
    run(&["--mount", "type=bind,src=/no/such,dst=/x"], "true").status(125).says("/no/such");
    run(&["--mount", "type=nope,dst=/x"], "true").status(125).says("nope");
    run(&["--mount", "type=bind,color=red,src=/tmp,dst=/x"], "true").status(125).says("color");
    run(&["-v", "relative/path:/x"], "true").status(125).says("relative/path");
    run(&["-v", "/tmp:relative"], "true").status(125).says("relative");
    run(&["-v", "/tmp:/x:sideways"], "true").status(125).says("sideways");
}

#[test]
fn export_and_commit_keep_the_tree() {
    let world = world();
    world
        .hull([
            "run",
            "--name",
            "job",
            "-e",
            "A=1",
            "busybox",
            "sh",
            "-c",
            "echo made > /made; rm /etc/group",
        ])
        .success();
    let tar = world.scratch().join("job.tar");
    world.hull(["export", "-o", &tar.to_string_lossy(), "job"]).success();
    let listed =
        std::process::Command::new("tar").arg("-tf").arg(&tar).output().expect("tar is part of Debian");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().any(|line| line.ends_with("made")) && !listed.contains("etc/group"), "{listed}");
    world.hull(["commit", "--change", "CMD [\"cat\", \"/made\"]", "job", "made:1"]).success();
    assert_eq!(world.hull(["run", "--rm", "made:1"]).success().stdout, "made\n");
    world.hull(["run", "--rm", "made:1", "test", "-e", "/etc/group"]).status(1);
}
