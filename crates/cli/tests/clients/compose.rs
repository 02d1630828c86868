//! Docker Compose, by itself and on projects that it shares with `hull compose`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{Api, Output, World, eventually};

/// A project, and both programs that handle it.
struct Project {
    api: Api,
}

impl Project {
    fn new(file: &str) -> Self {
        let api = Api::serve(World::with_busybox(env!("CARGO_BIN_EXE_hull")));
        api.install_plugins();
        api.world.file("compose.yaml", file);
        Self { api }
    }

    fn docker(&self, words: &[&str]) -> Output {
        Output::of(&mut self.docker_command(words))
    }

    fn docker_command(&self, words: &[&str]) -> Command {
        self.api.docker_command([&["compose", "--progress", "plain"], words].concat())
    }

    fn hull(&self, words: &[&str]) -> Output {
        self.api.world.hull([&["compose", "--progress", "plain"], words].concat())
    }

    /// `hull compose` by somebody who has no file.
    fn hull_elsewhere(&self, words: &[&str]) -> Output {
        let mut command = self.api.world.command([&["compose", "-p", "shop"], words].concat());
        Output::of(command.current_dir("/"))
    }

    /// Names and ids of all containers.
    fn containers(&self) -> Vec<String> {
        let listed =
            self.api.world.hull(["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}"]).success();
        let mut lines: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What of the project is left.
    fn left(&self) -> String {
        let list = |words: &[&str]| self.api.world.hull(words).success().stdout;
        let networks = list(&["network", "ls", "--filter", "label=com.docker.compose.project", "-q"]);
        list(&["ps", "-aq"]) + &list(&["volume", "ls", "-q"]) + &networks
    }
}

/// A little of everything that a project can have.
const SHOP: &str = "name: shop
services:
  db:
    image: busybox
    command: [sh, -c, 'cat /run/secrets/key /etc/motd; touch /data/ready; exec sleep 1000']
    stop_signal: SIGKILL
    init: true
    labels: {tier: back}
    env_file: db.env
    environment: [SET_NOWHERE]
    secrets: [key]
    configs: [{source: motd, target: /etc/motd}]
    volumes: ['data:/data', './shared:/shared:ro']
    networks: {back: {aliases: [database]}}
    healthcheck: {test: [CMD, test, -e, /data/ready], interval: 100ms, timeout: 5s, retries: 50}
    mem_limit: 64m
    ulimits: {nofile: {soft: 100, hard: 200}}
  web:
    build: {context: web, args: {WHO: shop}}
    command: httpd -f -p 80 -h /site
    stop_signal: SIGKILL
    environment: {GREETING: 'a <b> & \"c\"'}
    ports: ['127.0.0.1::80']
    depends_on: {db: {condition: service_healthy}}
    links: ['db:storage']
    networks: [back, default]
  tool:
    image: busybox
    profiles: [tools]
    command: sleep 1000
    stop_signal: SIGKILL
networks: {back: {internal: true}}
volumes: {data: {labels: {kept: 'no'}}}
secrets: {key: {file: key}}
configs: {motd: {content: \"welcome\\n\"}}
";

fn shop() -> Project {
    let project = Project::new(SHOP);
    project.api.world.file("key", "hush\n");
    project.api.world.file("db.env", "FROM_FILE=yes\n");
    project.api.world.file("shared/note", "shared\n");
    let dockerfile = "FROM busybox\nARG WHO\nRUN mkdir /site && echo from $WHO > /site/index.html\n";
    project.api.world.file("web/Dockerfile", dockerfile);
    project
}

/// What is there works.
fn is_open(project: &Project) {
    let port = project.docker(&["port", "web", "80"]).success().text().to_owned();
    eventually("the shop answers", 20, || {
        let page = Command::new("curl").args(["--silent", &format!("http://{port}/")]).output().unwrap();
        (page.stdout == b"from shop\n").then_some(())
    });
    let inside = "wget -q -O - http://web/; nslookup database >/dev/null && cat /shared/note; echo $GREETING";
    for output in [
        project.docker(&["exec", "-T", "web", "sh", "-c", "echo $GREETING"]),
        project.hull(&["exec", "-T", "web", "sh", "-c", "echo $GREETING"]),
    ] {
        assert_eq!(output.success().stdout, "a <b> & \"c\"\n");
    }
    project.docker(&["exec", "-T", "web", "ping", "-c", "1", "-W", "5", "storage"]).success();
    let seen = project.docker(&["exec", "-T", "db", "sh", "-c", inside]).success();
    assert_eq!(seen.stdout, "from shop\nshared\n\n");
}

#[test]
fn each_leaves_alone_what_the_other_made() {
    let project = shop();
    project.hull(&["up", "-d", "--wait"]).success();
    let made = project.containers();
    assert_eq!(made.len(), 2, "{made:?}");
    is_open(&project);
    let again = project.docker(&["up", "-d", "--wait"]).success();
    assert_eq!(project.containers(), made, "{again}");
    let listed =
        project.docker(&["ps", "--format", "{{.Name}} {{.Service}} {{.State}} {{.Health}}"]).success();
    assert_eq!(listed.text(), "shop-db-1 db running healthy\nshop-web-1 web running");
    let logs = project.docker(&["logs", "--no-color", "db"]).success();
    // It clears the line before each, terminal or not.
    assert_eq!(logs.text().replace("\x1b[2K", ""), "db-1  | hush\ndb-1  | welcome");
    assert!(
        project.docker(&["ls", "--format", "json"]).success().stdout.contains(r#""Status":"running(2)""#)
    );
    project.docker(&["down", "-v"]).success();
    assert_eq!(project.left(), "");

    project.docker(&["up", "-d", "--wait"]).success();
    let made = project.containers();
    assert_eq!(made.len(), 2, "{made:?}");
    is_open(&project);
    let again = project.hull(&["up", "-d", "--wait"]).success();
    assert_eq!(project.containers(), made, "{again}");
    let listed = project.hull_elsewhere(&["ps", "--format", "{{.Name}} {{.Service}} {{.State}}"]).success();
    assert_eq!(listed.text(), "shop-db-1 db running\nshop-web-1 web running");
    let logs = project.hull_elsewhere(&["logs", "db"]).success();
    assert_eq!(logs.text(), "db-1  | hush\ndb-1  | welcome");
    let listed = project.hull_elsewhere(&["ls", "--format", "{{.Name}} {{.Status}}"]).success();
    assert_eq!(listed.text(), "shop running(2)");
    project.hull_elsewhere(&["stop", "web"]).success();
    assert_eq!(project.docker(&["ps", "--services"]).success().text(), "db");
    project.hull_elsewhere(&["start"]).success();
    is_open(&project);
    project.hull_elsewhere(&["down", "-v"]).success();
    assert_eq!(project.left(), "");
}

#[test]
fn both_take_the_same_digest_of_a_service() {
    let project = Project::new(
        "name: same
x-common: &common {image: busybox, restart: on-failure:3, x-note: none}
services:
  plain: {image: busybox}
  built: {build: ., command: [], entrypoint: ''}
  words: {<<: *common, command: sh -c 'echo <a> & \"b\"', entrypoint: [env], environment: [A=1, B, C=], hostname: h}
  numbers:
    image: busybox
    cpus: 0.5
    cpu_shares: 512
    cpuset: '0'
    mem_limit: 64m
    mem_reservation: 32m
    shm_size: 1mb
    pids_limit: 100
    oom_score_adj: 10
    stop_grace_period: 90s
    init: false
    tty: false
    privileged: false
    read_only: true
    scale: 2
  deployed: {image: busybox, deploy: {replicas: 2, resources: {limits: {cpus: '1.5', memory: 1g, pids: 7}}}}
  policy: {image: busybox, deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}}
  listed:
    image: busybox
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    dns: 10.1.1.1
    dns_opt: [ndots:2]
    dns_search: [example.test]
    expose: [80, '90/udp']
    extra_hosts: ['one:10.0.0.1', 'another=10.0.0.2']
    group_add: [audio]
    security_opt: [no-new-privileges]
    sysctls: {net.ipv4.ip_forward: 1}
    tmpfs: /run
    ulimits: {nproc: 10, nofile: {soft: 1, hard: 2}}
    labels: {b: 2, a: ''}
    annotations: {x: y}
    logging: {driver: json-file, options: {max-size: 1m}}
    devices: ['/dev/null:/dev/nothing:r']
    attach: false
    links: ['plain:other', words]
    external_links: ['elsewhere:here']
  mounts:
    image: busybox
    volumes:
      - /anonymous
      - data:/data:ro
      - .:/here
      - {type: bind, source: /tmp, target: /tmp, read_only: true}
      - {type: bind, source: /tmp, target: /other, bind: {propagation: rslave}}
      - {type: volume, source: data, target: /long, volume: {nocopy: true}}
      - {type: volume, source: data, target: /longer}
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1m}}
    secrets: [key, {source: key, target: other, mode: 0440}]
    configs: [text, {source: text, target: /etc/text, uid: '1'}]
  networks:
    image: busybox
    ports: ['8080:80', '127.0.0.1:8081:81/udp', '9000-9001:90-91', {target: 70, published: 7000, mode: host}]
    networks: {default: , other: {aliases: [z, y], priority: 10}}
    depends_on: [plain]
    healthcheck: {test: 'true', interval: 1m30s, timeout: 500ms, retries: 3, start_period: 1h, start_interval: 1s}
  host: {image: busybox, network_mode: host, pid: host, ipc: host, healthcheck: {disable: true}, pull_policy: never}
networks: {other: {}}
volumes: {data: {}}
secrets: {key: {file: compose.yaml}}
configs: {text: {content: some}}
",
    );
    let digests = |output: Output| {
        let mut lines: Vec<_> = output.success().stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let hash = ["config", "--hash", "*"];
    assert_eq!(digests(project.hull(&hash)), digests(project.docker(&hash)));
}

#[test]
fn services_are_scaled_profiled_and_controlled() {
    let project = shop();
    project.docker(&["up", "-d", "--wait", "db"]).success();
    project.docker(&["--profile", "tools", "up", "-d", "--scale", "tool=3", "tool"]).success();
    let count = |service: &str| {
        let ids = project.docker(&["--profile", "tools", "ps", "-q", service]).success();
        ids.stdout.lines().count()
    };
    assert_eq!(count("tool"), 3);
    project.docker(&["--profile", "tools", "scale", "tool=1"]).success();
    assert_eq!(count("tool"), 1);

    let state = || project.api.world.inspect("shop-db-1", "{{.State.Status}}");
    project.docker(&["pause", "db"]).success();
    assert_eq!(state(), "paused");
    project.docker(&["unpause", "db"]).success();
    assert_eq!(state(), "running");
    let pid = || project.api.world.inspect("shop-db-1", "{{.State.Pid}}");
    let before = pid();
    project.docker(&["restart", "db"]).success();
    assert_ne!(pid(), before);
    project.docker(&["kill", "-s", "KILL", "db"]).success();
    eventually("the database has ended", 20, || (state() == "exited").then_some(()));
    let exited =
        project.docker(&["ps", "-a", "--status", "exited", "--format", "{{.Service}} {{.ExitCode}}"]);
    assert_eq!(exited.success().text(), "db 137");
    project.docker(&["start", "db"]).success();
    project.docker(&["stop", "db"]).success();
    assert_eq!(state(), "exited");
    project.docker(&["rm", "-f", "db"]).success();
    project.docker(&["--profile", "tools", "down", "-v", "--timeout", "0"]).success();
    assert_eq!(project.left(), "");
}

#[test]
fn one_offs_files_processes_and_events() {
    let project = shop();
    let mut events = Background::start(project.docker_command(&["events", "--json"]));
    project.docker(&["up", "-d", "--wait", "db"]).success();

    let run = project.docker(&["run", "--rm", "-T", "-e", "WHO=once", "db", "sh", "-c", "echo $WHO; exit 4"]);
    assert_eq!(run.status(4).text(), "once");
    // The service's names are those of its own container alone.
    let run = project
        .docker(&["run", "--rm", "-T", "web", "wget", "-q", "-O", "-", "http://database:1/"])
        .status(1);
    assert!(run.stderr.contains("refused"), "{run}");

    project.api.world.file("given", "from outside\n");
    project.docker(&["cp", "given", "db:/tmp/taken"]).success();
    project.docker(&["cp", "db:/tmp/taken", "back"]).success();
    assert_eq!(std::fs::read_to_string(project.api.world.scratch().join("back")).unwrap(), "from outside\n");
    let top = project.docker(&["top", "db"]).success();
    assert!(top.stdout.contains("sleep 1000"), "{top}");
    let images = project.docker(&["images", "db", "--format", "json"]).success();
    assert!(images.stdout.contains(r#""Repository":"busybox""#), "{images}");
    project.docker(&["exec", "-T", "db", "sh", "-c", "exit 9"]).status(9);
    let mut terminal = testkit::Terminal::start(&project.docker_command(&["exec", "db", "sh"]));
    terminal.send("tty; echo is-$((1+1))\r");
    terminal.expect("is-2");
    terminal.send("exit 5\r");
    assert_eq!(terminal.finish().0, Some(5));

    project.docker(&["down", "-v"]).success();
    let mut actions = Vec::new();
    for line in BufReader::new(events.0.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["service"] == "db" {
            actions.push(event["action"].as_str().unwrap().to_owned());
        }
        if actions.last().is_some_and(|action| action == "destroy") {
            break;
        }
    }
    for action in ["kill", "die"] {
        assert!(actions.iter().any(|told| told == action), "{action} is missing: {actions:?}");
    }
    assert_eq!(project.left(), "");
}

/// A program that goes on until somebody interrupts it.
struct Background(Child);

impl Background {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn an_attached_up_shows_output_and_ends_with_its_service() {
    // Docker Compose watches from some moment after the start on, and ends when the job does, whatever is left to show.
    let project = Project::new(
        "services:
  job: {image: busybox, command: sh -c 'sleep 1; echo working; sleep 1; exit 5'}
  other: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}
",
    );
    let up = project.docker(&["up", "--no-color", "--exit-code-from", "job"]).status(5);
    assert!(up.stdout.contains("job-1") && up.stdout.contains("| working\n"), "{up}");
    assert!(up.stdout.contains("exited with code 5"), "{up}");

    let mut attached = testkit::Terminal::start(&project.docker_command(&["up", "other"]));
    eventually("the other runs", 20, || {
        (project.docker(&["ps", "--services"]).text() == "other").then_some(())
    });
    attached.send("\x03");
    attached.finish();
    assert_eq!(project.docker(&["ps", "-q"]).success().text(), "");
    project.docker(&["down"]).success();
    assert_eq!(project.left(), "");
}

#[test]
fn watched_files_are_taken_over() {
    let project = Project::new(
        "services:
  web:
    build:
      dockerfile_inline: |
        FROM busybox
        COPY page /site/page
    command: sleep 1000
    stop_signal: SIGKILL
    develop: {watch: [{path: page, action: sync, target: /site/page}]}
",
    );
    let page = project.api.world.file("page", "one\n");
    let watching = Background::start(project.docker_command(&["watch"]));
    let shown = || project.docker(&["exec", "-T", "web", "cat", "/site/page"]).stdout;
    eventually("it is up", 60, || (shown() == "one\n").then_some(()));
    eventually("the change has arrived", 60, || {
        // When it has begun to watch nobody tells, and it waits until nothing changes for a while.
        std::fs::write(&page, "two\n").unwrap();
        (0..20).find_map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            (shown() == "two\n").then_some(())
        })
    });
    drop(watching);
    project.docker(&["down"]).success();
    assert_eq!(project.left(), "");
}
