//! Lists of manifests, made and pushed beside Docker's own client: what one begins the other goes on with, and both say the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Output, Registry, World};

use crate::multi::multi;
use crate::{manifest, skopeo};

/// A registry with an image for amd64 in one repository and one for s390x in another, and two configurations.
struct Place {
    world: World,
    registry: Registry,
    images: [String; 2],
}

impl Place {
    /// `format` is skopeo's word: `oci` or `v2s2`.
    fn new(format: &str) -> Self {
        let (world, registry) = (World::new(env!("CARGO_BIN_EXE_hull")), Registry::start());
        multi(&registry, &world);
        let images = [("amd64", "app:amd64"), ("s390x", "other:s390x")].map(|(architecture, name)| {
            let (from, to) = (registry.reference("multi:1"), registry.reference(name));
            let flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--override-os", "linux"];
            let places = [&*format!("docker://{from}"), &format!("docker://{to}")];
            let choice = ["copy", "--format", format, "--override-arch", architecture];
            skopeo(&[&choice[..], &flags, &places].concat()).success();
            to
        });
        Self { world, registry, images }
    }

    fn hull(&self, args: &[&str]) -> Output {
        self.world.hull([&["manifest"], args].concat())
    }

    /// Docker's client with `config`, without a daemon. It has to be told to speak to a registry without TLS.
    fn docker(&self, config: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(["--host", "unix:///none.sock", "manifest", args[0]]);
        if matches!(args[0], "create" | "inspect" | "push") {
            command.arg("--insecure");
        }
        Output::of(command.args(&args[1..]).env("DOCKER_CONFIG", config))
    }

    fn its_config(&self) -> PathBuf {
        self.world.scratch().join("docker-client")
    }

    fn our_config(&self) -> PathBuf {
        self.world.docker_config()
    }

    fn name(&self, name: &str) -> String {
        self.registry.reference(name)
    }
}

/// The files of a list by their names, as JSON.
fn drafts(config: &Path, list: &str) -> Vec<(String, Value)> {
    let directory = config.join("manifests").join(list.replace(':', "-").replace('/', "_"));
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files
}

#[test]
fn drafts_are_those_of_docker() {
    for format in ["oci", "v2s2"] {
        let place = Place::new(format);
        let list = place.name("list:1");
        let [amd64, s390x] = place.images.each_ref().map(String::as_str);
        let (ours, theirs) = (place.our_config(), place.its_config());
        let both = |args: &[&str]| {
            let (ours, theirs) = (place.hull(args).success(), place.docker(&theirs, args).success());
            assert_eq!(ours.stdout, theirs.stdout, "{ours}");
        };
        let same = || assert_eq!(drafts(&ours, &list), drafts(&theirs, &list));

        both(&["create", &list, amd64, s390x]);
        same();
        let features = ["--os-features", "a,b", "--os-features", "b,c"];
        let annotate = [
            &["annotate", "--arch", "arm64", "--variant", "v8", "--os-version", "7"],
            &features[..],
            &[&list, amd64],
        ];
        both(&annotate.concat());
        same();
        // What a list has already stays as it was annotated.
        both(&["create", "--amend", &list, amd64]);
        same();
        for shown in [&[&*list][..], &[&list, s390x], &["-v", &list], &["-v", &list, s390x], &[s390x]] {
            both(&[&["inspect"], shown].concat());
        }
        // Each goes on with what the other began.
        place.docker(&ours, &["annotate", "--variant", "v9", &list, amd64]).success();
        assert!(place.hull(&["inspect", &list]).success().stdout.contains("\"variant\": \"v9\""));
        place.docker(&ours, &["rm", &list]).success();
        place.hull(&["rm", &list]).status(1).says(&format!("error: No such manifest: {list}"));
    }
}

#[test]
fn a_push_is_that_of_docker_and_mounts_what_is_elsewhere() {
    for (format, kind) in [("oci", "oci.image.index.v1"), ("v2s2", "docker.distribution.manifest.list.v2")] {
        let place = Place::new(format);
        let [amd64, s390x] = place.images.each_ref().map(String::as_str);
        let (ours, theirs) = (place.our_config(), place.its_config());
        // Drafts of hull that Docker pushes, and the other way round; both into repositories that have nothing yet.
        let (one, other) = (place.name("one:1"), place.name("other-one:1"));
        place.hull(&["create", &one, amd64, s390x]).success();
        place.docker(&theirs, &["create", &other, amd64, s390x]).success();
        let aside = place.world.scratch().join("exchanged");
        fs::rename(theirs.join("manifests"), &aside).unwrap();
        fs::rename(ours.join("manifests"), theirs.join("manifests")).unwrap();
        fs::rename(&aside, ours.join("manifests")).unwrap();

        let by_docker = place.docker(&theirs, &["push", "--purge", &one]).success();
        let before = place.registry.requests().len();
        let by_hull = place.hull(&["push", "--purge", &other]).success();
        let name = |name: &str| name.trim_end_matches(":1").to_owned();
        assert_eq!(by_hull.stdout, by_docker.stdout.replace(&name(&one), &name(&other)));
        assert_eq!(by_hull.stdout.matches("Pushed ref ").count(), 2, "{by_hull}");
        let document = manifest(&other);
        assert_eq!(document, manifest(&one));
        assert!(document.contains(kind), "{document}");
        let requests = &place.registry.requests()[before..];
        assert!(requests.iter().all(|line| !line.starts_with("PATCH")), "{requests:?}");
        assert_eq!(fs::read_dir(ours.join("manifests")).unwrap().count(), 0);

        // It is an image like any other, and nothing is brought a second time.
        place.world.hull(["pull", "-q", &other]).success();
        place.world.hull(["pull", "-q", "--platform", "linux/s390x", &other]).success();
        place.hull(&["create", &other, amd64, s390x]).success();
        let before = place.registry.requests().len();
        assert_eq!(place.hull(&["push", &other]).success().stdout, by_hull.stdout);
        let requests = &place.registry.requests()[before..];
        assert!(requests.iter().all(|line| !line.starts_with("POST")), "{requests:?}");
        // What the registry has is shown as Docker shows it.
        place.hull(&["rm", &other]).success();
        for shown in [&["inspect", &*other][..], &["inspect", "-v", &other]] {
            let (ours, theirs) = (place.hull(shown).success(), place.docker(&theirs, shown).success());
            assert_eq!(ours.stdout, theirs.stdout, "{ours}");
        }
    }
}

#[test]
fn mistakes_are_told_as_docker_tells_them() {
    let place = Place::new("oci");
    let [amd64, s390x] = place.images.each_ref().map(String::as_str);
    let (list, index) = (place.name("list:1"), place.name("multi:1"));
    let elsewhere = list.replace("127.0.0.1", "localhost");
    let both = |args: &[&str]| {
        let (ours, theirs) = (place.hull(args), place.docker(&place.its_config(), args));
        assert_eq!(ours.status, theirs.status, "{ours}{theirs}");
        let said = theirs.stderr.lines().all(|line| ours.stderr.contains(line));
        assert!(theirs.status == Some(0) || said, "{ours}{theirs}");
    };
    both(&["push", "nothing"]);
    both(&["inspect", "nothing", "none"]);
    both(&["annotate", "nothing:1", "none:1"]);
    both(&["rm", "nothing", "a/b:c", "BAD"]);
    both(&["create", &list, amd64]);
    both(&["create", &list, s390x]);
    both(&["create", "--amend", &list, s390x]);
    both(&["create", &place.name("list:2"), &index]);
    both(&["create", &place.name("list:2"), "BAD"]);
    both(&["create", &place.name("list:2"), amd64, &place.name("missing:1")]);
    both(&["inspect", &place.name("missing:1")]);
    both(&["create", &elsewhere, amd64]);
    both(&["push", &elsewhere]);
    both(&["annotate", "--os", "linux", "--arch", "foo", &list, amd64]);
    place.hull(&["inspect", &elsewhere]).status(1).says("cannot use source images from a different registry");
    for args in [&["create"][..], &["create", &list], &["rm"], &["inspect"], &["push", &list, &list]] {
        assert_eq!(place.hull(args).status, place.docker(&place.its_config(), args).status, "{args:?}");
    }
    // What Docker fails to do when it pushes is refused at once.
    let pinned = format!("{}@sha256:{}", place.name("list"), "0".repeat(64));
    place.hull(&["create", &pinned, amd64]).status(1).says("cannot be the name of a manifest list");
    // Nothing of a list whose manifests were not all to be had.
    let names = fs::read_dir(place.our_config().join("manifests")).unwrap().count();
    assert_eq!(names, 2, "the list and the one for elsewhere");
}

#[test]
fn a_draft_that_cannot_be_used_is_named_and_can_be_removed() {
    let place = Place::new("oci");
    let [amd64, s390x] = place.images.each_ref().map(String::as_str);
    let list = place.name("list:1");
    place.hull(&["create", &list, amd64, s390x]).success();
    let directory = place.our_config().join("manifests").join(list.replace(':', "-").replace('/', "_"));
    let file = directory.join(amd64.replace(':', "-").replace('/', "_"));
    let good = fs::read_to_string(&file).unwrap();
    let shortened: Value = {
        let mut value: Value = serde_json::from_str(&good).unwrap();
        value["Raw"] = "e30=".into();
        value
    };
    for (text, why) in [
        (String::new(), "is no manifest of a list"),
        (good.replace("\"Raw\"", "\"Old\""), "is no manifest of a list"),
        (shortened.to_string(), "does not have the bytes of manifest sha256:"),
    ] {
        fs::write(&file, text).unwrap();
        for args in [&["inspect", &*list][..], &["push", &list], &["annotate", "--os", "linux", &list, amd64]]
        {
            let failed = place.hull(args).status(1);
            assert!(failed.stderr.starts_with(&format!("error: {} {why}", file.display())), "{failed}");
        }
    }
    assert!(!place.registry.requests().iter().any(|line| line.contains("/v2/list/")));
    place.hull(&["rm", &list]).success();
    assert!(!directory.exists());
}

/// `0.0.0.0` is this host, too, but nobody knows: it is as insecure as any other.
#[test]
fn insecure_registries_have_to_be_named() {
    let place = Place::new("oci");
    let [image, list] = ["app:amd64", "list:1"].map(|name| place.name(name).replace("127.0.0.1", "0.0.0.0"));
    place.hull(&["create", &list, &image]).status(1).says("cannot reach registry 0.0.0.0");
    place.hull(&["create", "--insecure", &list, &image]).success();
    place.hull(&["push", &list]).status(1).says("cannot reach registry 0.0.0.0");
    place.hull(&["push", "--insecure", &list]).success();
    place.hull(&["inspect", &image]).status(1).says("cannot reach registry 0.0.0.0");
    place.hull(&["inspect", "--insecure", &image]).success();
}
