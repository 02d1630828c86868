//! Whatever a Compose file says, loading ends with a project or an error.

use std::collections::BTreeMap;
use std::fs;

use compose::{Format, LoadOptions, Project};
use proptest::prelude::*;

/// Pieces that mean something to a Compose file, so that random files get past the first line.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "services:",
        "a:",
        "b:",
        "image: x",
        "ports:",
        "- 80:80",
        "- '1-3:2-4/udp'",
        "volumes:",
        "- ./x:/y:ro",
        "- v:/z",
        "environment:",
        "A: ${B:-c}",
        "- A=1",
        "depends_on:",
        "- b",
        "extends:",
        "service: b",
        "file: compose.yaml",
        "build: .",
        "&x",
        "*x",
        "<<: *x",
        "!reset",
        "!override",
        "null",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "${",
        "}",
        "$$",
        "|",
        ">-",
        "healthcheck:",
        "test: a 'b",
        "interval: 1s",
        "deploy:",
        "replicas: 2",
        "networks:",
        "secrets:",
        "- s",
        "configs:",
        "content: x",
        "include:",
        "- compose.yaml",
        "name: n",
        "x-y:",
        "command: a \"b\"",
        "---",
        "#",
        "\u{feff}",
        "é",
        "mem_limit: 1g",
        "tmpfs: /x",
        "links:",
        "dns: 1.1.1.1",
        "ulimits:",
        "nofile: 1",
        "extra_hosts:",
        "- a:1.2.3.4",
    ];
    let indent = prop::sample::select(vec!["", " ", "  ", "    ", "      "]);
    let end = prop::sample::select(vec!["\n", "\n", "\n", " ", ""]);
    (indent, prop::sample::select(words.to_vec()), end)
        .prop_map(|(indent, word, end)| format!("{indent}{word}{end}"))
}

fn load(compose: &str, dot_env: &str) {
    let directory = std::env::temp_dir().join(format!(
        "compose-hostile-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("compose.yaml"), compose).unwrap();
    fs::write(directory.join(".env"), dot_env).unwrap();
    let options = LoadOptions {
        working_directory: directory.clone(),
        environment: BTreeMap::from([("B".to_owned(), "$B".to_owned())]),
        ..LoadOptions::default()
    };
    let loaded = Project::load(&options);
    fs::remove_dir_all(&directory).unwrap();
    if let Ok(project) = loaded {
        project.render(&[], Format::Yaml).unwrap();
        project.render(&[], Format::Json).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn structured_noise(pieces in prop::collection::vec(piece(), 0..40)) {
        load(&pieces.concat(), "");
    }

    #[test]
    fn bytes(text in "\\PC{0,200}", env in "[A-Z=:'\"\\\\$\\{\\} \n#a-z-]{0,80}") {
        load(&text, &env);
    }
}

#[test]
fn a_file_may_not_include_or_extend_itself_for_ever() {
    load("include: [compose.yaml, compose.yaml]\nservices: {a: {image: x}}\n", "");
    load("services: {a: {extends: {file: compose.yaml, service: a}}}\n", "");
}
