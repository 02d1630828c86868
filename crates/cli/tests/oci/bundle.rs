//! A bundle with BusyBox in it, and the runtime that is called for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use testkit::{Output, eventually};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A bundle, and a root for the state of its containers; dropping it deletes them all and looks whether anything is left.
pub struct Bundle {
    pub directory: PathBuf,
    /// What `config.json` is when the runtime is called next.
    pub config: Value,
}

impl Bundle {
    /// A container that runs `script`.
    pub fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    pub fn new(args: &[&str]) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(format!("/var/tmp/hull-oci-test-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("rootfs")).expect("/var/tmp is writable");
        testkit::busybox_rootfs(&directory.join("rootfs"));
        // The name by which engines call it.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), directory.join("hull-oci"))
            .expect("a fresh directory");
        let mut bundle = Self { directory, config: Value::Null };
        bundle.oci(["spec"]).success();
        let config = fs::read(bundle.path("config.json")).expect("`spec` wrote it");
        bundle.config = serde_json::from_slice(&config).expect("`spec` writes JSON");
        bundle.config["process"]["terminal"] = false.into();
        bundle.config["process"]["args"] = json!(args);
        bundle.config["root"]["readonly"] = false.into();
        bundle
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A file of the container's root.
    pub fn inside(&self, name: &str) -> PathBuf {
        self.path("rootfs").join(name)
    }

    /// The text of a file, once it is there and not empty.
    #[track_caller]
    pub fn wait_for(&self, path: impl AsRef<Path>) -> String {
        let read = || fs::read_to_string(path.as_ref()).ok().filter(|text| !text.is_empty());
        eventually(&path.as_ref().display().to_string(), 20, read)
    }

    /// The runtime with `args`, not started yet.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        self.write_config();
        let mut command = Command::new(self.path("hull-oci"));
        command
            .arg("--root")
            .arg(self.path("state"))
            .args(args)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    pub fn write_config(&self) {
        if !self.config.is_null() {
            fs::write(self.path("config.json"), self.config.to_string()).expect("our own directory");
        }
    }

    /// Runs the runtime to its end. Its output goes to files, which a container that stays may keep open.
    pub fn oci<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let [out, err] = ["out", "err"].map(|name| self.path(&format!("{name}-{number}")));
        let mut command = self.command(args);
        let file = |path: &Path| File::create(path).expect("our own directory");
        let status = command.stdout(file(&out)).stderr(file(&err)).status().expect("the binary was built");
        let read = |path: &Path| fs::read_to_string(path).expect("it was written");
        Output {
            command: format!("{command:?}"),
            stdout: read(&out),
            stderr: read(&err),
            status: status.code(),
        }
    }

    /// Creates and starts the container `id`, which stays.
    #[track_caller]
    pub fn start(&self, id: &str) -> &Self {
        self.oci(["create", id]).success();
        self.oci(["start", id]).success();
        self
    }

    /// What `state` says of the container `id`.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.oci(["state", id]).success().stdout).expect("it is JSON")
    }

    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().expect("a string").to_owned()
    }

    #[track_caller]
    pub fn wait_until(&self, id: &str, status: &str) {
        eventually(status, 20, || (self.status(id) == status).then_some(()));
    }

    /// Gives the container a user namespace of its own, whose root owns the root filesystem.
    pub fn with_users(&mut self) -> &mut Self {
        let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        let linux = &mut self.config["linux"];
        linux["namespaces"].as_array_mut().expect("`spec` wrote some").push(json!({ "type": "user" }));
        linux["uidMappings"] = maps.clone();
        linux["gidMappings"] = maps;
        self
    }

    /// Names of what is in the root for state: one per container, and what was left unfinished.
    pub fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Processes of the runtime that work in this bundle's root.
    pub fn helpers(&self) -> Vec<String> {
        let root = self.path("state").display().to_string();
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        entries
            .filter_map(|entry| {
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains(&root).then(|| format!("{}: {line}", entry.file_name().display()))
            })
            .collect()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.left() {
            self.oci(["delete", "--force", &id]);
        }
        let left = self.left();
        let helpers = eventually_none(|| self.helpers());
        fs::remove_dir_all(&self.directory).expect("nothing is mounted in there");
        if !std::thread::panicking() {
            assert!(left.is_empty() && helpers.is_empty(), "left: {left:?} {helpers:?}");
        }
    }
}

/// Looks again and again for something to be gone; what is left in the end.
fn eventually_none(look: impl Fn() -> Vec<String>) -> Vec<String> {
    for _ in 0..500 {
        if look().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    look()
}
