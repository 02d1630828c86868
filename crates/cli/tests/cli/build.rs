//! `build` through the command line; what Dockerfiles mean is tested in its own crate.

use testkit::eventually;

use crate::world;

#[test]
fn a_directory_is_built_and_cached() {
    let world = world();
    let dockerfile = "FROM busybox\nARG WHO=nobody\nCOPY f /f\nRUN echo $WHO >> /f\nCMD [\"cat\", \"/f\"]\n";
    let path = world.file("ctx/Dockerfile", dockerfile);
    world.file("ctx/f", "hello\n");
    let context = path.parent().expect("it has one").display().to_string();
    let iidfile = world.scratch().join("iid");
    let iidfile = iidfile.to_string_lossy();
    let args =
        ["build", "-t", "t:1", "--build-arg", "WHO=world", "--label", "a=b", "--iidfile", &iidfile, &context];
    let built = world.hull(args).success();
    assert!(built.stderr.contains("[2/3] COPY f /f") && built.stderr.contains("DONE"), "{built}");
    assert_eq!(world.hull(["run", "--rm", "t:1"]).success().stdout, "hello\nworld\n");
    let id = world.inspect("t:1", "{{.Id}}");
    assert_eq!(std::fs::read_to_string(&*iidfile).expect("it was written"), id);
    assert_eq!(world.hull(["image", "inspect", "-f", "{{.Config.Labels.a}}", "t:1"]).success().text(), "b");
    let again = world.hull(args).success();
    assert!(again.stderr.contains("CACHED"), "{again}");
    let quiet = world.hull(["build", "-q", "--no-cache", &context]).success();
    assert!(quiet.text().starts_with("sha256:") && quiet.stderr.is_empty(), "{quiet}");
}

#[test]
fn a_dockerfile_or_context_may_come_through_standard_input() {
    let world = world();
    let text = b"FROM busybox\nRUN echo piped > /f\nCMD cat /f\n";
    world.hull_with_input(["build", "-t", "p:1", "-"], text).success();
    assert_eq!(world.hull(["run", "--rm", "p:1"]).success().text(), "piped");
    world.file("ctx/f", "with context\n");
    let context = world.scratch().join("ctx");
    let context = context.to_string_lossy();
    let text = b"FROM busybox\nCOPY f /f\nCMD cat /f\n";
    world.hull_with_input(["build", "-t", "p:2", "-f", "-", &context], text).success();
    assert_eq!(world.hull(["run", "--rm", "p:2"]).success().text(), "with context");
    let tar =
        std::process::Command::new("tar").args(["-C", &context, "-c", "."]).output().expect("tar is there");
    world.file("ctx/Dockerfile", "FROM busybox\nCOPY f /f\nCMD cat /f\n");
    let missing = world.hull_with_input(["build", "-"], &tar.stdout).status(1);
    assert!(missing.stderr.contains("Dockerfile"), "{missing}");
}

#[test]
fn a_failing_step_is_explained() {
    let world = world();
    let failed = world.hull_with_input(["build", "-"], b"FROM busybox\nRUN echo why; exit 3\n").status(1);
    let failed = failed.says("error: Dockerfile:2: RUN echo why; exit 3").says("exit code: 3");
    assert!(failed.stderr.contains("------\nwhy\n------"), "{failed}");
    world.hull_with_input(["build", "-"], b"FROM busybox\nFROB x\n").status(1).says("FROB");
    world.hull_with_input(["build", "-"], b"FROM none:1\n").status(1).says("none:1");
    world.hull(["build", "/none/such"]).status(1).says("/none/such");
    assert_eq!(world.hull(["images", "-q"]).text().lines().count(), 1);
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let world = world();
    let path = world.file("ctx/Dockerfile", "FROM busybox\nRUN echo begun; sleep 100\n");
    let context = path.parent().expect("it has one").display().to_string();
    let building = world.spawn(["build", "-t", "never", &context]);
    let builds = world.run_root().join("builds");
    eventually("a step runs", 20, || {
        let mut entries = std::fs::read_dir(&builds).ok()?;
        entries.next().map(drop)
    });
    building.signal("INT");
    building.finish().status(130).says("build cancelled");
    world.hull(["inspect", "never"]).status(1);
}
