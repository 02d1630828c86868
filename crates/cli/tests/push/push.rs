//! `hull push`: what the registry has afterwards, what it was asked, and what is said.

use std::process::Command;

use testkit::Output;

use crate::{manifest, skopeo, states, world};

#[test]
fn what_was_pushed_is_what_others_read() {
    let (world, registry) = world();
    let name = registry.reference("team/app:v1");
    world.hull(["tag", "app", &name]).success();
    let first = world.hull(["push", &name]).success();
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{}]", registry.reference("team/app")));
    assert_eq!(states(&first), [&["Preparing"; 3][..], &["Pushed"; 3]].concat());
    let digest = world.inspect(&name, "{{index .RepoDigests 0}}");
    let digest = digest.split_once('@').expect("a digest").1;
    let bytes = manifest(&name);
    assert_eq!(lines.last(), Some(&&*format!("v1: digest: {digest} size: {}", bytes.len())));
    assert!(bytes.contains("application/vnd.oci.image.layer.v1.tar+gzip"), "{bytes}");
    // A copy verifies every digest, and that the layers are those the config lists.
    let copy = world.scratch().join("copy");
    let to = format!("dir:{}", copy.display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{name}"), &to]).success();
    let layout = format!("oci-archive:{}", world.scratch().join("again.tar").display());
    skopeo(&["copy", &to, &format!("{layout}:again:v1")]).success();
    world.hull(["load", "-i", &world.scratch().join("again.tar").to_string_lossy()]).success();
    let id = |name: &str| world.inspect(name, "{{.Id}}");
    assert_eq!(id("again:v1"), id("app"), "the image is the same one");
}

#[test]
fn podman_runs_what_was_pushed() {
    let (world, registry) = world();
    let name = registry.reference("app");
    world.hull(["tag", "app", &name]).success();
    world.hull(["push", "-q", "--compression", "zstd", &name]).success();
    assert!(manifest(&name).contains("tar+zstd"));
    // hull's runtime, because podman's own asks for more descriptors than every caller may have.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), world.scratch().join("hull-oci")).unwrap();
    let conf =
        world.file("containers.conf", "[containers]\ndefault_ulimits = []\n[engine]\nlock_type = \"file\"\n");
    let podman = |args: &[&str]| {
        // podman takes a hybrid host for one of v2 as long as it sees that.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec podman \"$@\"";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            "--root",
            "podman/root",
            "--runroot",
            "podman/run",
        ]);
        command.args(["--tmpdir", "podman/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.arg("--runtime").arg(world.scratch().join("hull-oci")).args(args);
        Output::of(command.env("CONTAINERS_CONF", &conf).current_dir(world.scratch()))
    };
    let run = podman(&["run", "--rm", "--quiet", "--network", "none", "--tls-verify=false", &name]);
    let removed = podman(&["system", "reset", "--force"]);
    assert_eq!(run.success().text(), "hello");
    removed.success();
}

#[test]
fn a_push_of_what_is_there_is_one_question() {
    let (world, registry) = world();
    let name = registry.reference("app");
    world.hull(["tag", "app", &name]).success();
    let first = world.hull(["push", &name]).success();
    let before = registry.requests().len();
    let second = world.hull(["push", &name]).success();
    assert_eq!(registry.requests()[before..], ["HEAD /v2/app/manifests/latest 200"]);
    assert_eq!(states(&second), ["Layer already exists"; 3]);
    assert_eq!(first.stdout.lines().last(), second.stdout.lines().last());
    let quiet = world.hull(["push", "-q", &name]).success();
    assert_eq!(quiet.stdout, format!("{name}:latest\n"));
}

#[test]
fn layers_are_mounted_from_where_they_were_pushed() {
    let (world, registry) = world();
    for name in ["one/app", "two/app"] {
        world.hull(["tag", "app", &registry.reference(name)]).success();
    }
    world.hull(["push", &registry.reference("one/app")]).success();
    let before = registry.requests().len();
    let mounted = world.hull(["push", &registry.reference("two/app")]).success();
    assert_eq!(states(&mounted), [&["Preparing"; 3][..], &["Mounted from one/app"; 3]].concat());
    let asked = &registry.requests()[before..];
    assert!(!asked.iter().any(|request| request.starts_with("PATCH")), "{asked:#?}");
    assert_eq!(manifest(&registry.reference("one/app")), manifest(&registry.reference("two/app")));
}

/// The same image and options give the same manifest, from any store.
#[test]
fn manifests_are_deterministic() {
    let (world, registry) = world();
    let (_, other) =
        (world.hull(["tag", "app", &registry.reference("a")]).success(), registry.reference("b"));
    world.hull(["push", &registry.reference("a")]).success();
    let archive = world.scratch().join("app.tar");
    world.hull(["save", "-o", &archive.to_string_lossy(), "app"]).success();
    let second = testkit::World::new(env!("CARGO_BIN_EXE_hull"));
    second.hull(["load", "-i", &archive.to_string_lossy()]).success();
    second.hull(["tag", "app", &other]).success();
    second.hull(["push", &other]).success();
    assert_eq!(manifest(&registry.reference("a")), manifest(&other));
}

#[test]
fn compression_is_as_asked_for() {
    let (world, registry) = world();
    let types = |name: &str, flags: &[&str]| {
        let name = registry.reference(name);
        world.hull(["tag", "app", &name]).success();
        world.hull([&["push", "-q"], flags, &[name.as_str()]].concat()).success();
        let manifest = manifest(&name);
        let count = |suffix: &str| manifest.matches(&format!("layer.v1.tar{suffix}\"")).count();
        [count(""), count("+gzip"), count("+zstd")]
    };
    assert_eq!(types("none", &["--compression", "none"]), [3, 0, 0]);
    assert_eq!(types("gzip", &["--compression-level", "9"]), [0, 3, 0]);
    assert_eq!(types("zstd", &["--compression", "zstd", "--compression-level", "19"]), [0, 0, 3]);
    let usage = world.hull(["push", "--compression", "zstd", "--compression-level", "20", "app"]).status(1);
    assert!(usage.stderr.contains("must be between 1 and 19"), "{usage}");
    world.hull(["push", "--compression", "none", "--compression-level", "3", "app"]).status(1);
}

#[test]
fn what_is_remembered_is_of_the_same_level() {
    let (world, registry) = world();
    let name = registry.reference("app");
    world.hull(["tag", "app", &name]).success();
    let push = |flags: &[&str]| {
        world.hull([&["push", "-q"], flags, &[name.as_str()]].concat()).success();
        manifest(&name)
    };
    let usual = push(&[]);
    let smallest = push(&["--compression-level", "9"]);
    assert_ne!(smallest, usual, "another level was asked for");
    let before = registry.requests().len();
    assert_eq!(push(&["--compression", "gzip", "--compression-level", "1"]), usual);
    assert_eq!(push(&["--compression-level", "9"]), smallest);
    let asked = &registry.requests()[before..];
    assert!(!asked.iter().any(|request| request.starts_with("PATCH")), "{asked:#?}");
}

#[test]
fn all_tags_of_a_repository() {
    let (world, registry) = world();
    for tag in ["1", "2"] {
        world.hull(["tag", "app", &registry.reference(&format!("app:{tag}"))]).success();
    }
    world.hull(["tag", "busybox", &registry.reference("application:3")]).success();
    let pushed = world.hull(["push", "--all-tags", &registry.reference("app")]).success();
    let ends: Vec<&str> = pushed.stdout.lines().filter(|line| line.contains(" digest: ")).collect();
    assert!(ends.len() == 2 && ends[0].starts_with("1: ") && ends[1].starts_with("2: "), "{pushed}");
    let usage = world.hull(["push", "-a", &registry.reference("app:1")]).status(125);
    assert!(usage.stderr.starts_with("tag can't be used with --all-tags/-a\n"), "{usage}");
}

#[test]
fn a_build_pushes_its_result() {
    let (world, registry) = world();
    let name = registry.reference("built:1");
    let built = world.hull(["build", "--push", "--progress", "plain", "-t", &name, "context"]).success();
    assert!(built.stderr.contains("The push refers to repository ["), "{built}");
    assert!(built.stderr.lines().last().unwrap().starts_with("1: digest: sha256:"), "{built}");
    let other = registry.reference("built:2");
    let output = format!("type=registry,name={other},compression=zstd");
    world.hull(["build", "-q", "--output", &output, "context"]).success();
    assert!(manifest(&name).contains("tar+gzip") && manifest(&other).contains("tar+zstd"));
    let nameless = world.hull(["build", "-q", "--push", "context"]).status(1);
    assert!(nameless.stderr.contains("tag is needed when pushing to registry"), "{nameless}");
    world.hull(["build", "-o", "type=local", "context"]).status(1);
}

#[test]
fn compose_pushes_what_it_builds() {
    let (world, registry) = world();
    let (name, second) = (registry.reference("web:1"), registry.reference("web:2"));
    world.file(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    image: {name}\n    build: {{context: context, tags: ['{second}']}}\n  \
             implied:\n    build: context\n  used:\n    image: busybox\n"
        ),
    );
    world.hull(["compose", "build", "-q"]).success();
    let pushed = world.hull(["compose", "push"]).success();
    assert!(pushed.stderr.contains(&format!(" Image {name}  Pushed")), "{pushed}");
    assert_eq!(manifest(&name), manifest(&second));
    assert!(!pushed.stderr.contains("implied") && !pushed.stderr.contains("busybox"), "{pushed}");
}

#[test]
fn an_index_of_the_files_is_found_by_annotations() {
    let (world, registry) = world();
    let name = registry.reference("app");
    world.hull(["tag", "app", &name]).success();
    let push = || world.hull(["push", "--compression", "zstd:chunked", &name]).success();
    push();
    let first = manifest(&name);
    assert_eq!(first.matches("zstd-chunked.manifest-position").count(), 3, "{first}");
    world.hull(["push", "-q", "--compression", "zstd", &name]).success();
    assert!(!manifest(&name).contains("zstd-chunked"));
    let again = push();
    assert_eq!(states(&again)[3..], ["Layer already exists"; 3]);
    assert_eq!(manifest(&name), first, "what is known of the layers is said again");
    // To everybody else it is an image like any other.
    let to = format!("dir:{}", world.scratch().join("copy").display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{name}"), &to]).success();
}
