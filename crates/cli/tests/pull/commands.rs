//! The commands that pull, and those that show and remove what was pulled.

use testkit::Registry;

use crate::{blobs_fetched, copy, world};

#[test]
fn pulled_once_and_asked_for_once_more() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    let asked = |registry: &Registry| registry.requests().len();
    let before = asked(&registry);
    let first = world.hull(["pull", &app]).success();
    assert!(first.stdout.starts_with("1: Pulling from app\n"), "{first}");
    assert_eq!(first.stdout.matches(": Pull complete\n").count(), 3, "{first}");
    assert!(first.stdout.contains("\nDigest: sha256:"), "{first}");
    assert!(
        first.stdout.ends_with(&format!("\nStatus: Downloaded newer image for {app}\n{app}\n")),
        "{first}"
    );
    assert_eq!(asked(&registry), before + 1 + 4, "a manifest, a config and three layers");
    assert_eq!(world.hull(["run", "--rm", &app]).success().text(), "hello");

    let second = world.hull(["pull", &app]).success();
    assert!(second.stdout.contains(&format!("\nStatus: Image is up to date for {app}\n")), "{second}");
    assert_eq!(asked(&registry), before + 1 + 4 + 1);
    assert!(
        registry.requests().last().unwrap().ends_with("/v2/app/manifests/1 304"),
        "{:?}",
        registry.requests()
    );
    assert_eq!(world.hull(["pull", "-q", &app]).success().text(), app);
    world.hull(["pull", &registry.reference("app:2")]).status(1).says("manifest unknown: manifest unknown");
}

#[test]
fn every_compression_is_the_same_image() {
    let (world, registry) = world();
    let (app, zstd) = (registry.reference("app:1"), registry.reference("zstd:1"));
    let plain = registry.reference("plain:1");
    copy(&["--dest-compress-format", "zstd"], &format!("docker://{app}"), &zstd);
    copy(&["--dest-decompress"], &format!("docker://{app}"), &plain);
    copy(&["--format", "v2s2"], &format!("docker://{app}"), &registry.reference("docker:1"));
    let id = |name: &str| {
        world.hull(["pull", "-q", name]).success();
        assert_eq!(world.hull(["run", "--rm", name]).success().text(), "hello");
        world.inspect(name, "{{.Id}}")
    };
    assert_eq!(id(&app), id(&zstd));
    assert_eq!(id(&app), id(&plain));
    id(&registry.reference("docker:1"));
}

#[test]
fn by_digest_and_removed_with_its_digest() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    world.hull(["pull", "-q", &app]).success();
    let digest = world.inspect(&app, "{{index .RepoDigests 0}}");
    assert!(digest.starts_with(&registry.reference("app@sha256:")), "{digest}");
    let list = world.hull(["images", "--digests", "--format", "{{.Repository}}@{{.Digest}}"]).success();
    assert_eq!(list.text(), digest);
    let removed = world.hull(["rmi", &app]).success();
    assert!(
        removed.stdout.starts_with(&format!("Untagged: {app}\nUntagged: {digest}\nDeleted: ")),
        "{removed}"
    );

    let pulled = world.hull(["pull", &digest]).success();
    assert!(pulled.stdout.ends_with(&format!("\n{digest}\n")), "{pulled}");
    assert_eq!(world.hull(["run", "--rm", &digest]).success().text(), "hello");
    let fetched = registry.requests().len();
    world.hull(["pull", &digest]).success();
    assert_eq!(registry.requests().len(), fetched, "what a digest names cannot have changed");
    let list =
        world.hull(["images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"]).success();
    assert_eq!(list.text(), digest.replace('@', ":<none>@"));
    let removed = world.hull(["rmi", &digest]).success();
    assert!(removed.stdout.starts_with(&format!("Untagged: {digest}\nDeleted: ")), "{removed}");
    assert_eq!(world.hull(["images", "-q"]).success().text(), "");
}

#[test]
fn run_and_create_pull_what_is_missing() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    world.hull(["run", "--rm", "--pull", "never", &app]).status(125).says(&format!("No such image: {app}"));
    let run = world.hull(["run", "--rm", &app]).success();
    assert_eq!(run.text(), "hello");
    assert!(
        run.stderr.starts_with(&format!("Unable to find image '{app}' locally\n1: Pulling from app\n")),
        "{run}"
    );
    assert!(run.stderr.ends_with(&format!("Status: Downloaded newer image for {app}\n")), "{run}");

    let asked = registry.requests().len();
    world.hull(["run", "--rm", &app]).success();
    assert_eq!(registry.requests().len(), asked);
    let quiet = world.hull(["create", "--pull", "always", "-q", &app]).success();
    assert_eq!((registry.requests().len(), quiet.stderr.as_str()), (asked + 1, ""));
    world.hull(["create", "--pull", "sometimes", &app]).status(1).says("invalid pull option: 'sometimes'");
    world.hull(["rm", quiet.text()]).success();
}

#[test]
fn builds_pull_what_they_are_made_from() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    copy(&[], &format!("docker://{app}"), &registry.reference("other:1"));
    let other = registry.reference("other:1");
    world.file("Dockerfile", &format!("FROM {app}\nCOPY --from={other} /greeting /again\n"));
    let built = world.hull(["build", "-t", "mine", "."]).success();
    assert!(built.stderr.contains(&format!("#1 pull {app}\n")), "{built}");
    assert_eq!(world.hull(["run", "--rm", "mine", "cat", "/again"]).success().text(), "hello");
    let asked = registry.requests().len();
    world.hull(["build", "-t", "mine", "."]).success();
    assert_eq!(registry.requests().len(), asked);
    world.hull(["build", "--pull", "-t", "mine", "."]).success();
    assert_eq!(registry.requests().len(), asked + 2);

    let digest = world.inspect(&app, "{{index .RepoDigests 0}}");
    world.hull(["rmi", "mine", &app, &other]).success();
    world.file("Dockerfile", &format!("FROM {digest}\nRUN echo more >> /greeting\n"));
    world.hull(["build", "-t", "mine", "."]).success();
    assert_eq!(world.hull(["run", "--rm", "mine"]).success().text(), "hello\nmore");
}

#[test]
fn projects_pull_what_they_need() {
    let (world, registry) = world();
    let (app, other) = (registry.reference("app:1"), registry.reference("other:1"));
    copy(&[], &format!("docker://{app}"), &other);
    world.file(
        "compose.yaml",
        &format!(
            "name: p\nservices:\n  a: {{image: '{app}'}}\n  b: {{image: '{other}', pull_policy: always}}\n"
        ),
    );
    let up = world.hull(["compose", "up"]).success();
    assert!(up.stdout.contains("hello") && up.stderr.contains(&format!("Image {app}  Pulled")), "{up}");
    let asked = registry.requests().len();
    world.hull(["compose", "up", "-d"]).success();
    assert_eq!(registry.requests().len(), asked + 1, "only `b` asks each time");
    world.hull(["compose", "up", "-d", "--pull", "never"]).success();
    assert_eq!(registry.requests().len(), asked + 1);
    world.hull(["compose", "pull"]).success().says("Pulled");
    assert_eq!(registry.requests().len(), asked + 3);
    for (policy, asks) in [("daily", 0), ("weekly", 0), ("every_1w2h", 0), ("every_0s", 1), ("refresh", 1)] {
        world.file(
            "compose.yaml",
            &format!("name: p\nservices:\n  a: {{image: '{app}', pull_policy: {policy}}}\n"),
        );
        let asked = registry.requests().len();
        world.hull(["compose", "up", "-d"]).success();
        assert_eq!(registry.requests().len(), asked + asks, "{policy}");
    }
    world.hull(["compose", "down"]).success();
    world.file(
        "compose.yaml",
        &format!("name: p\nservices:\n  a: {{image: '{}'}}\n", registry.reference("app:none")),
    );
    world.hull(["compose", "pull"]).status(1).says("manifest unknown");
}

#[test]
fn two_images_share_what_they_have_in_common() {
    let (world, registry) = world();
    let app = registry.reference("app:1");
    world.hull(["pull", "-q", &app]).success();
    copy(&[], &format!("docker://{app}"), &registry.reference("again:1"));
    let fetched = blobs_fetched(&registry);
    let again = world.hull(["pull", &registry.reference("again:1")]).success();
    assert!(again.stdout.contains("Status: Downloaded newer image"), "{again}");
    assert_eq!(blobs_fetched(&registry), fetched);
    world.hull(["rmi", &app]).success();
    assert_eq!(world.hull(["run", "--rm", &registry.reference("again:1")]).success().text(), "hello");
}
