//! The same stack in the hands of Docker Compose, on the API's socket.

use serde_json::Value;
use testkit::{Output, eventually};

use super::{SERVICES, Stack};

impl Stack {
    fn docker_compose(&self, words: &[&str]) -> Output {
        let directory = self.directory.to_string_lossy();
        self.api
            .docker([&["compose", "--progress", "plain", "--project-directory", &directory], words].concat())
    }

    /// `hull compose` by somebody who has no file.
    fn compose_elsewhere(&self, words: &[&str]) -> Output {
        let mut command = self.api.world.command([&["compose", "-p", "inception"], words].concat());
        Output::of(command.current_dir("/"))
    }

    /// Docker Compose handles what hull brought up; it runs before and after.
    pub fn docker_compose_takes_over(&self) {
        let made = self.container_ids();
        let up = self.docker_compose(&["up", "--detach", "--wait"]).success();
        assert_eq!(self.container_ids(), made, "Docker Compose changes nothing\n{up}");
        let listed = self.docker_compose(&["ps", "--format", "json"]).success();
        let listed: Vec<Value> =
            listed.stdout.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
        assert_eq!(listed.len(), SERVICES.len());
        for container in &listed {
            assert_eq!((&container["State"], &container["Health"]), (&"running".into(), &"healthy".into()));
        }
        let logs = self.docker_compose(&["logs", "--no-color", "--tail", "1", "mariadb"]).success();
        assert!(logs.stdout.contains("mariadb-1  | "), "{logs}");
        let id =
            self.docker_compose(&["exec", "-T", "--user", "www-data", "wordpress", "id", "-un"]).success();
        assert_eq!(id.text(), "www-data");

        self.docker_compose(&["restart", "nginx"]).success();
        self.the_site_answers();
        self.docker_compose(&["stop"]).success();
        assert_eq!(self.docker_compose(&["ps", "--quiet"]).success().text(), "");
        self.docker_compose(&["start"]).success();
        self.the_site_answers();
        assert_eq!(self.container_ids(), made);
        self.docker_compose(&["down", "-v"]).success();
        self.nothing_is_left();
    }

    /// Docker Compose brings the stack up, and hull handles it to its end.
    pub fn hull_takes_over(&self) {
        self.docker_compose(&["up", "--detach", "--wait"]).success();
        self.the_page_is_served_over_modern_tls();
        self.daemons_are_first_processes(SERVICES);
        self.only_nginx_is_published();
        let made = self.container_ids();
        self.compose(&["up", "--detach", "--wait"]).success();
        assert_eq!(self.container_ids(), made, "hull changes nothing");
        let services = self.compose_elsewhere(&["ps", "--services"]).success();
        assert_eq!(services.text(), "mariadb\nnginx\nwordpress");
        let listed = self.compose_elsewhere(&["ls", "--format", "{{.Name}} {{.Status}}"]).success();
        assert_eq!(listed.text(), "inception running(3)");
        let logs = self.compose_elsewhere(&["logs", "--tail", "1", "mariadb"]).success();
        assert!(logs.stdout.starts_with("mariadb-1  | "), "{logs}");
        self.compose_elsewhere(&["down", "-v"]).success();
        self.nothing_is_left();
    }

    fn the_site_answers(&self) {
        eventually("the site answers", 60, || self.get("/").contains("Kept over down and up").then_some(()));
    }
}
