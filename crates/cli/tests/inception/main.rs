//! The example stack as a user meets it: built, brought up, asked over TLS, killed, taken down and brought back.
//!
//! It runs on a copy with ports and a data directory of its own, in roots of its own, so it meets neither another run of itself
//! nor a stack somebody uses.

mod docker;
mod example;
mod rootless;
#[path = "../rootless/user.rs"]
#[allow(dead_code, reason = "the tests without root use the rest")]
mod user;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Api, Output, World, debian_tar, eventually};

use example::{curl, free_ports, replace};

/// Services and the program that is PID 1 in their containers.
const SERVICES: &[(&str, &str)] = &[("mariadb", "mariadbd"), ("wordpress", "php-fpm"), ("nginx", "nginx")];
const BONUS: &[(&str, &str)] = &[
    ("redis", "redis-server"),
    ("ftp", "vsftpd"),
    ("adminer", "php-fpm"),
    ("static", "httpd"),
    ("backup", "cron"),
];

struct Stack {
    api: Api,
    directory: PathBuf,
    https: u16,
    ftp: u16,
}

#[test]
fn inception() {
    let stack = Stack::new();
    stack.compose(&["--profile", "bonus", "build"]).success();
    stack.no_secret_in_images();
    stack.compose(&["up", "--detach", "--wait"]).success();

    stack.the_page_is_served_over_modern_tls();
    assert_eq!(stack.login("login", &stack.secret("wp_owner_password")), "302", "the owner logs in");
    assert_eq!(stack.login("reader", &stack.secret("wp_user_password")), "302", "the user logs in");
    assert_eq!(stack.login("login", "wrong"), "200", "nobody else does");
    stack.daemons_are_first_processes(SERVICES);
    stack.only_nginx_is_published();

    stack.killed_daemons_come_back();

    stack.query("UPDATE wp_posts SET post_title='Kept over down and up' WHERE ID=1");
    let containers = stack.container_ids();
    stack.compose(&["up", "--detach", "--wait"]).success();
    assert_eq!(stack.container_ids(), containers, "a second up changes nothing");
    stack.compose(&["down"]).success();
    assert_eq!(stack.api.world.hull(["ps", "--all", "--quiet"]).success().text(), "");
    stack.compose(&["up", "--detach", "--wait"]).success();
    assert_eq!(stack.query("SELECT post_title FROM wp_posts WHERE ID=1"), "Kept over down and up");
    assert!(stack.get("/").contains("Kept over down and up"));

    stack.docker_compose_takes_over();
    stack.hull_takes_over();

    stack.compose(&["--profile", "bonus", "up", "--detach", "--wait"]).success();
    stack.daemons_are_first_processes(BONUS);
    stack.bonus_services_are_used();

    stack.make_clean();
    stack.nothing_is_left();
    let images = stack.api.world.hull(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success();
    assert_eq!(images.text(), "debian:bookworm", "the base image is not the stack's");
    assert!(stack.data().join("database/wordpress").is_dir(), "the data is the user's");
}

impl Stack {
    fn new() -> Self {
        let api = Api::serve(World::new(env!("CARGO_BIN_EXE_hull")));
        api.install_plugins();
        let world = &api.world;
        world.hull(["import", &debian_tar().to_string_lossy(), "debian:bookworm"]).success();
        let directory = world.scratch().join("inception");
        let https = free_ports(7);
        let (ftp, passive) = (https + 1, https + 2);
        example::copy(&directory, &world.scratch().join("kept"), https, ftp);
        let range = format!("{passive}-{}", passive + 4);
        replace(&directory.join("compose.yaml"), &[("21100-21104", &range)]);
        let vsftpd = [("21100", &*passive.to_string()), ("21104", &*(passive + 4).to_string())];
        replace(&directory.join("bonus/ftp/vsftpd.conf"), &vsftpd);
        let stack = Self { api, directory, https, ftp };
        stack.set_up();
        stack
    }

    /// `setup.sh`, which makes what is missing and nothing else.
    fn set_up(&self) {
        let run = || {
            let status = Command::new(self.directory.join("setup.sh")).status();
            assert!(status.expect("it is a script").success());
            ["db_password", "db_root_password", "wp_owner_password", "wp_user_password", "ftp_password"]
                .map(|name| self.secret(name))
        };
        let first = run();
        assert!(first.iter().all(|password| password.len() == 32), "{first:?}");
        let one = self.directory.join("secrets/ftp_password.txt");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&one).expect("it is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(one).expect("it was just made");
        let second = run();
        assert_eq!(first[..4], second[..4], "what is there stays");
        assert_ne!(first[4], second[4]);
        assert!(self.data().join("site").is_dir());
    }

    /// `make clean`, on our copy.
    fn make_clean(&self) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut make = Command::new("make");
        make.arg("--directory").arg(repository).arg("clean");
        make.arg(format!("HULL={}", env!("CARGO_BIN_EXE_hull")));
        make.arg(format!("STACK={}", self.directory.display()));
        make.env("HULL_ROOT", self.api.world.data_root()).env("HULL_RUN_ROOT", self.api.world.run_root());
        let output = make.output().expect("make is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn nothing_is_left(&self) {
        let world = &self.api.world;
        assert_eq!(world.hull(["ps", "--all", "--quiet"]).success().text(), "");
        assert_eq!(world.hull(["volume", "ls", "--quiet"]).success().text(), "");
        let networks = world.hull(["network", "ls", "--format", "{{.Name}}"]).success();
        assert!(!networks.stdout.contains("inception"), "{networks}");
    }

    /// The directory of the database and the site's files.
    fn data(&self) -> PathBuf {
        self.api.world.scratch().join("kept")
    }

    fn compose(&self, words: &[&str]) -> Output {
        let directory = self.directory.to_string_lossy();
        self.api
            .world
            .hull([&["compose", "--progress", "plain", "--project-directory", &directory], words].concat())
    }

    /// What a shell in the container of `service` prints.
    #[track_caller]
    fn shell(&self, service: &str, script: &str) -> String {
        self.compose(&["exec", "--no-TTY", service, "sh", "-c", script]).success().text().to_owned()
    }

    fn secret(&self, name: &str) -> String {
        let path = self.directory.join("secrets").join(format!("{name}.txt"));
        fs::read_to_string(path).expect("setup.sh made it").trim().to_owned()
    }

    fn query(&self, statement: &str) -> String {
        self.shell("mariadb", &format!("mariadb --batch --skip-column-names wordpress -e \"{statement}\""))
    }

    /// The page at `path`; an answer other than success is empty.
    fn get(&self, path: &str) -> String {
        curl(&["--fail", "--location", &self.url(path)]).1
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.https)
    }

    fn container_ids(&self) -> Vec<String> {
        let listed = self.compose(&["ps", "--all", "--quiet", "--no-trunc"]).success();
        let mut ids: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
        ids.sort();
        assert_eq!(ids.len(), SERVICES.len());
        ids
    }

    fn the_page_is_served_over_modern_tls(&self) {
        for (lowest, highest) in [("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")] {
            let (status, page) = curl(&["--fail", lowest, "--tls-max", highest, &self.url("/")]);
            assert_eq!(status, Some(0), "TLS {highest}");
            assert!(page.contains("<title>Inception"), "TLS {highest}: {page}");
        }
        let server = format!("127.0.0.1:{}", self.https);
        let mut old = Command::new("openssl");
        old.args(["s_client", "-connect", &server, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]);
        let old = old.stdin(std::process::Stdio::null()).output().expect("openssl is installed");
        let said = String::from_utf8_lossy(&old.stderr);
        assert!(!old.status.success() && said.contains("alert protocol version"), "{said}");
    }

    /// The status of logging in as `user`: 302 leads to the dashboard, 200 shows the form again.
    fn login(&self, user: &str, password: &str) -> String {
        let (log, pwd) = (format!("log={user}"), format!("pwd={password}"));
        let form = ["--data-urlencode", &log, "--data-urlencode", &pwd, "--data", "testcookie=1"];
        let rest = ["--cookie", "wordpress_test_cookie=WP%20Cookie%20check", "--output", "/dev/null"];
        let url = self.url("/wp-login.php");
        curl(&[&form[..], &rest, &["--write-out", "%{http_code}", &url]].concat()).1
    }

    fn daemons_are_first_processes(&self, services: &[(&str, &str)]) {
        for (service, daemon) in services {
            let id = self.compose(&["ps", "--quiet", service]).success();
            let pid = self.api.world.inspect(id.text(), "{{.State.Pid}}");
            let command = fs::read(format!("/proc/{pid}/cmdline")).expect("the container runs");
            let command = String::from_utf8_lossy(&command).into_owned();
            assert!(command.contains(daemon), "{service} runs {command:?} first");
        }
    }

    fn only_nginx_is_published(&self) {
        let ports = self.compose(&["ps", "--format", "{{.Service}} {{.Ports}}"]).success();
        for line in ports.stdout.lines() {
            assert_eq!(line.starts_with("nginx "), line.contains("->"), "{ports}");
        }
        let port = self.compose(&["port", "nginx", "443"]).success();
        assert!(port.text().ends_with(&format!(":{}", self.https)), "{port}");
    }

    fn killed_daemons_come_back(&self) {
        for (service, _) in SERVICES {
            let id = self.compose(&["ps", "--quiet", service]).success().text().to_owned();
            let pid = self.api.world.inspect(&id, "{{.State.Pid}}");
            assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill exists").success());
            eventually(&format!("{service} runs again"), 60, || {
                let state =
                    self.api.world.inspect(&id, "{{.State.Running}} {{.State.Pid}} {{.RestartCount}}");
                let words: Vec<_> = state.split(' ').collect();
                (words[0] == "true" && words[1] != pid && words[2] == "1").then_some(())
            });
            eventually(&format!("the site answers after {service} was killed"), 60, || {
                self.get("/").contains("<title>Inception").then_some(())
            });
        }
    }

    fn no_secret_in_images(&self) {
        let secrets =
            ["db_password", "db_root_password", "wp_owner_password", "wp_user_password", "ftp_password"];
        let secrets = secrets.map(|name| self.secret(name));
        for (service, _) in SERVICES.iter().chain(BONUS) {
            let image = format!("{service}:inception");
            let history = self.api.world.hull(["history", "--no-trunc", &image]).success();
            let config = self.api.world.hull(["image", "inspect", &image]).success();
            let said = history.stdout + &config.stdout;
            assert!(secrets.iter().all(|secret| !said.contains(secret)), "{image} holds a password");
        }
        let list = self.directory.join("secrets.list");
        fs::write(&list, secrets.join("\n")).expect("the scratch directory is ours");
        let mut search = Command::new("grep");
        search.args(["--recursive", "--files-with-matches", "--fixed-strings", "--file"]).arg(&list);
        let found = search.arg(self.api.world.data_root().join("snapshots")).output().expect("grep exists");
        fs::remove_file(list).expect("it was just written");
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(found, "", "layers hold passwords");
    }

    fn bonus_services_are_used(&self) {
        let hits = || {
            let stats = self.shell("redis", "redis-cli info stats");
            let hits = stats.lines().find_map(|line| line.trim().strip_prefix("keyspace_hits:"));
            hits.expect("Redis counts").parse::<u64>().expect("it is a number")
        };
        eventually("WordPress finds its objects in Redis", 30, || {
            self.get("/");
            (hits() > 0).then_some(())
        });

        self.api.world.file("uploaded.txt", "by FTP");
        let upload = self.api.world.scratch().join("uploaded.txt");
        let url = format!("ftp://127.0.0.1:{}/wp-content/uploaded.txt", self.ftp);
        let user = format!("ftpuser:{}", self.secret("ftp_password"));
        eventually("an upload by FTP", 20, || {
            (curl(&["--user", &user, "--upload-file", &upload.to_string_lossy(), &url]).0 == Some(0))
                .then_some(())
        });
        assert_eq!(self.get("/wp-content/uploaded.txt"), "by FTP");

        // Adminer shows its login page with the status 403.
        eventually("Adminer answers", 20, || {
            curl(&["--location", &self.url("/adminer")]).1.contains("Adminer").then_some(())
        });
        let page =
            fs::read_to_string(self.directory.join("bonus/static/site/index.html")).expect("it was copied");
        eventually("the static site answers", 20, || (self.get("/static/index.html") == page).then_some(()));

        self.shell("backup", "backup");
        let written = self.shell("backup", "ls /backups; zcat /backups/database-*.sql.gz");
        assert!(written.contains("site-") && written.contains("Kept over down and up"));
    }
}
