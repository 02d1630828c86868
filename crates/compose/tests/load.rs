//! Whole files through the public interface: what `config` prints, and what is refused with which words.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use compose::{Format, LoadOptions, Project};

/// A directory with the given files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("compose-load-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(unique).join("app");
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            working_directory: self.0.clone(),
            environment: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
            ..LoadOptions::default()
        }
    }

    /// The canonical form, with this directory shown as `/app`, or the rendered error.
    fn config_with(&self, change: impl FnOnce(&mut LoadOptions)) -> String {
        let mut options = self.options();
        change(&mut options);
        let text = match Project::load(&options) {
            Ok(project) => project.render(&[], Format::Yaml).unwrap(),
            Err(error) => diag::render(&error.into()),
        };
        text.replace(self.0.to_str().unwrap(), "/app")
    }

    fn config(&self) -> String {
        self.config_with(|_| {})
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn refuse(file: &str, expected: &str) {
    assert_eq!(Files::new(&[("compose.yaml", file)]).config(), expected, "{file}");
}

#[test]
fn a_stack_in_canonical_form() {
    let files = Files::new(&[
        (
            "compose.yaml",
            r#"
x-common: &common
  restart: unless-stopped
  networks: [inner]
  logging: {driver: json-file, options: {max-size: 10m}}
services:
  nginx:
    <<: *common
    build: {context: ./nginx, args: {DOMAIN: "${DOMAIN}"}}
    image: nginx:hull
    ports: ["443:443"]
    volumes: ["site:/var/www/html:ro", "./conf:/etc/nginx/conf.d"]
    depends_on:
      wordpress: {condition: service_healthy}
  wordpress:
    <<: *common
    build: ./wordpress
    env_file: wp.env
    environment: [DB_HOST=mariadb, DEBUG]
    secrets: [db_password, {source: db_password, target: /else, mode: 0440}]
    volumes: ["site:/var/www/html"]
    depends_on: [mariadb]
    healthcheck: {test: php-fpm-healthcheck, interval: 90s, retries: 3}
  mariadb:
    <<: *common
    image: mariadb:hull
    command: mariadbd --user "a b"
    volumes: [{type: volume, source: db, target: /var/lib/mysql}]
    deploy: {resources: {limits: {memory: 512m, cpus: "0.5"}}}
    tmpfs: /run
  redis:
    image: redis
    profiles: [bonus]
    env_file: ${REDIS_ENV:-missing.env}
networks:
  inner:
volumes:
  db: &bound
    driver_opts: {type: none, o: bind, device: "${DATA:-./data}/db"}
  site:
    external: true
secrets:
  db_password: {file: ./secrets/db.txt}
"#,
        ),
        (".env", "DOMAIN=login.42.fr\nDATA=/srv\n"),
        ("wp.env", "WP_TITLE=\"My $DOMAIN\"\nDB_HOST=no\n"),
    ]);
    insta::assert_snapshot!(files.config());
    insta::assert_snapshot!(
        "only_redis",
        files
            .config_with(|options| {
                options.files = vec!["compose.yaml".into()];
                options.profiles = vec!["bonus".into()];
                options.project_name = Some("other".into());
                options.environment.insert("REDIS_ENV".into(), "wp.env".into());
            })
            .lines()
            .filter(|line| line.starts_with("name") || line.starts_with("  redis") || line.contains("other_"))
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn several_files_extends_and_include() {
    let files = Files::new(&[
        (
            "a.yaml",
            "name: multi\ninclude: [lib/compose.yaml]\nservices:\n  web:\n    extends: {file: base/web.yaml, service: web}\n    image: web:1\n    environment: {MODE: dev}\n  worker:\n    extends: web\n    command: work\n",
        ),
        (
            "b.yaml",
            "services:\n  web:\n    environment: [MODE=prod]\n    ports: !override ['81:80']\n    dns: !reset []\n",
        ),
        (
            "base/web.yaml",
            "services:\n  root:\n    dns: 1.1.1.1\n    volumes: ['./data:/data']\n  web:\n    extends: root\n    environment: {BASE: 1, MODE: base}\n    ports: ['80:80']\n",
        ),
        ("lib/compose.yaml", "services:\n  lib:\n    image: lib:${VERSION}\n    volumes: ['./x:/x']\n"),
        ("lib/.env", "VERSION=7\n"),
    ]);
    insta::assert_snapshot!(
        files.config_with(|options| options.files = vec!["a.yaml".into(), "b.yaml".into()])
    );
}

#[test]
fn override_file_parents_and_variables() {
    let files = Files::new(&[
        ("compose.yaml", "services: {a: {image: 'x:${TAG:-1}', environment: {A: , B: }}}"),
        ("compose.override.yaml", "services: {a: {hostname: h}}"),
        ("sub/dir/.keep", ""),
        ("other.env", "TAG=3\n"),
    ]);
    let image = |change: &dyn Fn(&mut LoadOptions)| {
        let config = files.config_with(|options| change(options));
        let lines = config.lines().filter(|line| {
            let line = line.trim();
            line.starts_with("image")
                || line.starts_with("hostname")
                || line.starts_with("A: ")
                || line.starts_with("error")
        });
        lines.map(str::trim).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(image(&|_| {}), "A: null, hostname: h, image: x:1");
    assert_eq!(image(&|o| o.working_directory.push("sub/dir")), "A: null, hostname: h, image: x:1");
    assert_eq!(image(&|o| o.env_files = vec!["other.env".into()]), "A: null, hostname: h, image: x:3");
    assert_eq!(
        image(&|o| {
            o.env_files = vec!["other.env".into()];
            o.environment.extend([("TAG".into(), "4".into()), ("A".into(), "5".into())]);
        }),
        "A: \"5\", hostname: h, image: x:4"
    );
    assert_eq!(
        image(&|o| drop(o.environment.insert("COMPOSE_FILE".into(), "compose.yaml".into()))),
        "A: null, image: x:1"
    );
    assert_eq!(
        image(&|o| o.files = vec!["none.yaml".into()]),
        "error: cannot read Compose file /app/none.yaml"
    );
}

#[test]
fn project_names() {
    let files = Files::new(&[
        ("My App_1/compose.yaml", "services: {}"),
        ("named/compose.yaml", "name: ${N:-here}\n"),
    ]);
    let name = |directory: &str, change: &dyn Fn(&mut LoadOptions)| {
        let mut options = files.options();
        options.working_directory.push(directory);
        change(&mut options);
        Project::load(&options).map(|project| project.name).map_err(|error| error.to_string())
    };
    assert_eq!(name("My App_1", &|_| {}).as_deref(), Ok("myapp_1"));
    assert_eq!(name("named", &|_| {}).as_deref(), Ok("here"));
    let set = |o: &mut LoadOptions| drop(o.environment.insert("COMPOSE_PROJECT_NAME".into(), "env".into()));
    assert_eq!(name("named", &set).as_deref(), Ok("env"));
    assert_eq!(name("named", &|o| o.project_name = Some("flag".into())).as_deref(), Ok("flag"));
    assert!(
        name("named", &|o| o.project_name = Some("No".into()))
            .unwrap_err()
            .contains("invalid project name \"No\"")
    );
}

#[test]
fn unknown_and_unsupported_keys_are_named() {
    refuse(
        "services:\n  web:\n    imgae: x\n",
        "error: compose.yaml:2:3: service \"web\" has neither an image nor a build context specified: invalid compose project",
    );
    refuse(
        "services:\n  web:\n    image: x\n    enviroment: {}\n",
        "error: compose.yaml:4:5: services.web: additional property 'enviroment' is not allowed\n  hint: did you mean `environment`?",
    );
    refuse(
        "services:\n  web:\n    image: x\n    deploy:\n      placement: {constraints: [a]}\n",
        "error: compose.yaml:5:18: services.web.deploy.placement is not supported: there is one host\n  hint: remove the key to run without it",
    );
    refuse(
        "services:\n  web:\n    image: x\n    gpus: all\n",
        "error: compose.yaml:4:11: services.web.gpus is not supported: devices of accelerators are not there yet; name device nodes under `devices`\n  hint: remove the key to run without it",
    );
    refuse(
        "sevices: {}\n",
        "error: compose.yaml:1:1: top-level object: additional property 'sevices' is not allowed\n  hint: did you mean `services`?",
    );
    refuse(
        "x-mine: 1\nservices: {a: {image: x, x-own: {b: 1}}}\nnetworks: {n: {foo: 1}}\n",
        "error: compose.yaml:3:16: networks.n: additional property 'foo' is not allowed",
    );
}

#[test]
fn wrong_values_are_named() {
    for (service, expected) in [
        ("image: 3", "image must be a string, not a number: write \"3\" in quotes"),
        ("image: x, ports: 80", "ports must be a list, not a number"),
        ("image: x, tty: maybe", "tty must be a boolean, not \"maybe\""),
        ("image: x, scale: -1", "scale must be 0 to 1000, not -1"),
        ("image: x, mem_limit: 3q", "mem_limit must be a size such as `512m`, not \"3q\""),
        ("image: x, restart: often", "restart is wrong: "),
        (
            "image: x, stop_grace_period: 10",
            "stop_grace_period must be a duration such as `1m30s`, not \"10\"",
        ),
        (
            "image: x, healthcheck: {test: [true]}",
            "healthcheck.test must be a string, or a list that starts with NONE, CMD or CMD-SHELL",
        ),
        ("image: x, volumes: [{type: bind, target: /x}]", "volumes.0.source is missing"),
        (
            "image: x, volumes: ['/a:/x:idmap=me']",
            "volumes.0.bind.x-hull-idmap is wrong: invalid idmap \"me\"",
        ),
        (
            "image: x, volumes: [{type: bind, source: /a, target: x}]",
            "volumes.0.target must be an absolute path, not \"x\"",
        ),
        ("image: x, secrets: [nope]", "secrets.0.source refers to undefined secret nope"),
        (
            "image: x, depends_on: {b: {condition: healthy}}",
            "depends_on.b.condition must be service_started, service_healthy or",
        ),
        (
            "image: x, networks: {default: {ipv4_address: 1.2.3}}",
            "networks.default.ipv4_address is wrong: invalid IPv4 address syntax",
        ),
        (
            "image: x, container_name: '-a'",
            "container_name must match [a-zA-Z0-9][a-zA-Z0-9_.-]+, not \"-a\"",
        ),
        (
            "image: x, environment: {A: [1]}",
            "environment.A must be a string, number, boolean or null, not a list",
        ),
        ("image: x, command: 'a \"b'", "command has a quote that is not closed"),
    ] {
        let shown = Files::new(&[("compose.yaml", &format!("services: {{a: {{{service}}}}}\n"))]).config();
        let wanted = format!("services.a.{expected}");
        assert!(shown.starts_with("error: compose.yaml:1:") && shown.contains(&wanted), "{service}: {shown}");
    }
}

#[test]
fn contradictions_are_named() {
    refuse(
        "services: {a: {image: x, depends_on: [b]}}",
        "error: compose.yaml:1:39: service \"a\" depends on undefined service \"b\": invalid compose project",
    );
    refuse(
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, profiles: [p]}}",
        "error: compose.yaml:1:39: service \"a\" depends on \"b\", whose profile is off (p): invalid compose project",
    );
    refuse(
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
        "error: compose.yaml:1:12: dependency cycle detected: a -> b -> a: invalid compose project",
    );
    refuse(
        "services: {a: {image: x, networks: [n]}}",
        "error: compose.yaml:1:37: service \"a\" refers to undefined network n: invalid compose project",
    );
    refuse(
        "services: {a: {image: x, volumes: ['v:/x']}}",
        "error: compose.yaml:1:36: service \"a\" refers to undefined volume v: invalid compose project",
    );
    refuse(
        "services: {a: {extends: b}, b: {extends: a}}",
        "error: compose.yaml:1:25: service \"a\" extends itself in a circle: invalid compose project",
    );
    refuse(
        "services: {a: {image: x, container_name: one}, b: {image: x, container_name: one}}",
        "error: compose.yaml:1:48: services \"a\" and \"b\" share the container name \"one\": invalid compose project",
    );
    refuse(
        "services: {a: {image: 'x:${TAG:?give a tag}'}}",
        "error: compose.yaml:1:23: services.a.image: required variable TAG is missing a value: give a tag",
    );
    refuse(
        "services: {a: {image: x, network_mode: host, links: ['b:c']}, b: {image: x}}",
        "error: compose.yaml:1:53: services.a.links need a network of the project",
    );
    refuse(
        "services: {a: {image: '${'}}",
        "error: compose.yaml:1:23: services.a.image: invalid interpolation format \"${\"\n  hint: write `$$` for a dollar sign",
    );
}

#[test]
fn no_file_is_an_error_that_says_where() {
    let shown = Files::new(&[("x/.keep", "")]).config_with(|options| options.working_directory.push("x"));
    assert!(shown.starts_with("error: no configuration file provided: not found in /app/x"), "{shown}");
}

#[test]
fn hashes_follow_what_reaches_the_container() {
    let hash = |service: &str| {
        let file = format!(
            "services: {{a: {{{service}}}, b: {{image: y}}}}\nvolumes: {{v: {{}}, w: {{name: other}}}}\n"
        );
        let files = Files::new(&[("compose.yaml", &file)]);
        Project::load(&files.options()).unwrap().services["a"].hash.clone()
    };
    let plain = hash("image: x");
    for same in ["image: x, scale: 3", "image: x, x-a: 1"] {
        assert_eq!(hash(same), plain, "{same}");
    }
    for other in ["image: y", "image: x, tty: true", "image: x, environment: [A=1]"] {
        assert_ne!(hash(other), plain, "{other}");
    }
    assert_eq!(hash("image: x, environment: {B: 2, A: 1}"), hash("environment: [A=1, B=2], image: x"));
    assert_eq!(hash("image: x, deploy: {replicas: 2}"), hash("image: x, deploy: {replicas: 3}"));
    assert_ne!(hash("image: x, volumes: ['v:/x']"), hash("image: x, volumes: ['w:/x']"));
    assert_ne!(hash("image: x, volumes: ['v:/x']"), hash("image: x, volumes: ['v:/x:idmap=owner']"));
}

#[test]
fn references_follow_what_names_stand_for() {
    let references = |rest: &str| {
        let file = format!("services: {{a: {{image: x, volumes: ['v:/x'], configs: [c]}}}}\n{rest}\n");
        let files = Files::new(&[("compose.yaml", &file)]);
        let service = Project::load(&files.options()).unwrap().services["a"].clone();
        (service.hash, service.references)
    };
    let plain = references("volumes: {v: {}}\nconfigs: {c: {content: one}}");
    for other in [
        "volumes: {v: {name: other}}\nconfigs: {c: {content: one}}",
        "volumes: {v: {}}\nconfigs: {c: {content: two}}",
        "volumes: {v: {}}\nconfigs: {c: {content: one}}\nnetworks: {default: {name: other}}",
    ] {
        let other = references(other);
        assert_eq!(other.0, plain.0);
        assert_ne!(other.1, plain.1);
    }
}
