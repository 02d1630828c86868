//! Debian's registry, the distribution project's own, on a port of 127.0.0.1 that nobody else has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{World, eventually};

/// A running registry; dropping it ends it and removes what it stored.
pub struct Registry {
    directory: PathBuf,
    process: Child,
    address: String,
}

/// `alice` with the password `secret`.
const HTPASSWD: &str = "alice:$2y$05$EmtwNQwJ2Bi80I7DYhe/0OE05hOxX7u1Tp4hwpHErbauupVb35IV6\n";

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Registry {
    /// An empty registry without authentication.
    pub fn start() -> Self {
        Self::configured(&[])
    }

    /// An empty registry that lets in `alice` with the password `secret`, and nobody else.
    pub fn with_password(world: &World) -> Self {
        let file = world.file("htpasswd", HTPASSWD);
        Self::configured(&[
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "here"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", &file.to_string_lossy()),
        ])
    }

    /// An empty registry with settings: `REGISTRY_AUTH_HTPASSWD_REALM` is `auth.htpasswd.realm` of its configuration.
    pub fn configured(settings: &[(&str, &str)]) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory =
            Path::new("/var/tmp").join(format!("hull-registry-{}-{number:04}", std::process::id()));
        fs::create_dir_all(&directory).expect("/var/tmp is writable");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}/content'}}, delete: {{enabled: true}}}}\n",
            directory.display()
        );
        fs::write(directory.join("config.yml"), config).expect("our own directory");
        let log = fs::File::create(directory.join("log")).expect("our own directory");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(directory.join("config.yml"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is to be had"))
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed (`cargo xtask setup`)");
        let mut registry = Self { directory, process, address: String::new() };
        registry.address = eventually("the registry listens", 30, || {
            let log = registry.log();
            let after = log.split("listening on ").nth(1)?;
            Some(after.split(['"', ',']).next()?.to_owned())
        });
        registry
    }

    /// `127.0.0.1:port`: the domain of references to it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps what it has, as `content`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `name` in this registry.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// What it answered, in order: `HEAD /v2/app/manifests/latest 404`.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        let request = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, rest) = rest.split_once(" HTTP/1.1\" ")?;
            Some(format!("{request} {}", rest.split(' ').next()?))
        };
        log.lines().filter_map(request).collect()
    }

    /// Where it keeps its content.
    pub fn content(&self) -> PathBuf {
        self.directory.join("content/docker/registry/v2")
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
