//! An ordinary user of the system, made up for one test.
//!
//! Its commands run in a mount namespace in which the system knows this user: `/etc/passwd` and the files of subordinate ids are
//! copies of the test's own, and nothing of the host is changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::{Output, Terminal, busybox_tar, eventually};

pub struct User {
    directory: PathBuf,
    run: PathBuf,
    pub uid: u32,
    /// The first of its subordinate ids.
    pub first: u32,
    /// More commands to prepare the mount namespace.
    pub system: String,
    /// What the keeper and everything else is started with, such as `nsenter`.
    pub on: String,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl User {
    /// A user with a home directory, 65,536 subordinate ids and a run directory.
    pub fn new() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("hull-user-{}-{number}", std::process::id());
        // No two users of tests that run at the same time are likely to be the same.
        let index = (std::process::id() * 16 + number) % 3000;
        let user = Self {
            directory: Path::new("/var/tmp").join(&unique),
            run: Path::new("/run").join(&unique),
            uid: 700_000 + index,
            first: 900_000_000 + index * 65_536,
            system: String::new(),
            on: String::new(),
        };
        for (path, mode) in [(user.directory.clone(), 0o755), (user.home(), 0o755), (user.run.clone(), 0o700)]
        {
            fs::create_dir_all(&path).expect("/var/tmp and /run are writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our own directory");
        }
        for path in [&user.home(), &user.run] {
            chown(path, Some(user.uid), Some(user.uid)).expect("tests run as root");
        }
        // The build directory may be out of the user's reach.
        fs::copy(env!("CARGO_BIN_EXE_hull"), user.directory.join("hull")).expect("the binary was built");
        let uid = user.uid;
        let line = format!("tester:x:{uid}:{uid}::{}:/bin/sh\n", user.home().display());
        user.write("passwd", &(fs::read_to_string("/etc/passwd").expect("every system has it") + &line));
        user.write("ids", &format!("tester:{}:65536\n", user.first));
        user.write("empty", "");
        user
    }

    /// The same, with the image `busybox`.
    pub fn with_busybox() -> Self {
        Self::new().import_busybox()
    }

    pub fn import_busybox(self) -> Self {
        self.import(&busybox_tar(), "busybox:latest");
        self
    }

    /// Imports `archive`, which may be out of the user's reach, as `image`.
    pub fn import(&self, archive: &Path, image: &str) {
        let copy = self.directory.join("image.tar");
        fs::copy(archive, &copy).expect("it was made");
        self.hull(["import", &copy.to_string_lossy(), image]).success();
        fs::remove_file(copy).expect("our own directory");
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).expect("our own directory");
    }

    pub fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Writes a file of the user's beneath its home directory.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home().join(name);
        let parent = path.parent().expect("it has a name");
        fs::create_dir_all(parent).expect("our own directory");
        fs::write(&path, content).expect("our own directory");
        for path in [parent, &path] {
            chown(path, Some(self.uid), Some(self.uid)).expect("tests run as root");
        }
        path
    }

    /// `hull` with `args` as this user, not started yet.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let (directory, uid) = (self.directory.display(), self.uid);
        let (system, on) = (&self.system, &self.on);
        // A node of its own, because the host's may be for root alone; udev makes it everybody's.
        let script = format!(
            "for file in passwd:passwd ids:subuid ids:subgid; do \
               touch /etc/${{file#*:}} && mount --bind {directory}/${{file%:*}} /etc/${{file#*:}} || exit 99; \
             done; \
             mount -t tmpfs tmpfs {directory}/dev && mknod -m 666 {directory}/dev/tun c 10 200 \
               && mount --bind {directory}/dev/tun /dev/net/tun || exit 99; {system} \
             exec {on} setpriv --reuid {uid} --regid {uid} --clear-groups -- {directory}/hull \"$@\""
        );
        fs::create_dir_all(self.directory.join("dev")).expect("our own directory");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-c", &script, "sh"]).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", &self.run);
        command.current_dir(self.home()).stdin(Stdio::null());
        command
    }

    pub fn hull<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        let mut command = self.command(args);
        let line = format!("{:?}", command.get_args().skip(6).collect::<Vec<_>>());
        Output::new(line, command.output().expect("unshare is part of Debian"))
    }

    pub fn terminal<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Terminal {
        Terminal::start(&self.command(args))
    }

    /// Runs `hull` with `args`, which must succeed and print `text`.
    #[track_caller]
    pub fn prints<const N: usize>(&self, args: [&str; N], text: &str) {
        let output = self.hull(args).success();
        assert!(output.stdout.contains(text), "standard output lacks {text:?}\n{output}");
    }

    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.hull(["inspect", "-f", template, name]).success().text().to_owned()
    }

    /// The processes of this user and of its subordinate ids, each with its command line; not those that have ended.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("it is mounted").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
            let uid = uid.and_then(|uid| uid.parse().ok()).unwrap_or(metadata.uid());
            let ended = status.lines().any(|line| line.starts_with("State:\tZ"));
            let own = uid == self.uid || (self.first..self.first + 65_536).contains(&uid);
            if own && !ended {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()));
            }
        }
        found
    }

    /// The pids of the processes whose command line contains `words`.
    pub fn pids(&self, words: &str) -> Vec<i32> {
        self.processes().into_iter().filter(|(_, line)| line.contains(words)).map(|(pid, _)| pid).collect()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let reset = self.hull(["system", "reset", "--force"]);
        if std::thread::panicking() {
            for (pid, _) in self.processes() {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
        } else {
            // The home is ended soon after the last container.
            eventually("no process of the user is left", 40, || self.processes().is_empty().then_some(()));
            let left: Vec<_> = fs::read_dir(self.run.join("hull-home"))
                .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
                .unwrap_or_default();
            assert!(left.iter().all(|name| name == "lock"), "left in the run directory: {left:?}");
            assert!(matches!(reset.status, Some(0) | Some(125) | Some(1)), "{reset}");
        }
        for directory in [&self.directory, &self.run] {
            let removed = fs::remove_dir_all(directory);
            if !std::thread::panicking() {
                removed.expect("nothing is mounted or busy there");
            }
        }
    }
}
