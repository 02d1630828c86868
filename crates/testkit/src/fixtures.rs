//! Root filesystems to run: BusyBox, and Debian made by mmdebstrap.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Output;

/// The applets tests use, each a link to BusyBox.
const APPLETS: &[&str] = &[
    "[", "adduser", "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname",
    "du", "echo", "env", "expr", "false", "find", "free", "grep", "head", "hostname", "httpd", "id",
    "ifconfig", "ip", "kill", "ls", "md5sum", "mkdir", "mknod", "mkfifo", "mount", "mv", "nc", "nslookup",
    "ping", "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "route", "sed", "seq", "sh", "sleep", "sort",
    "stat", "stty", "sync", "tail", "tar", "tee", "test", "timeout", "top", "touch", "tr", "trap", "true",
    "tty", "ulimit", "umount", "uname", "uniq", "unlink", "wc", "wget", "which", "whoami", "xargs", "yes",
];

/// Fills `root` with a small system around BusyBox (Debian's `busybox-static`).
pub fn busybox_rootfs(root: &Path) {
    for directory in ["bin", "etc", "home", "proc", "sys", "dev", "tmp", "var/www", "root"] {
        fs::create_dir_all(root.join(directory)).expect("a fresh directory takes directories");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("our own directory");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    let busybox = busybox.expect("busybox-static is installed (`cargo xtask setup`)");
    fs::copy(busybox, root.join("bin/busybox")).expect("the file system has room");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("names differ");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("the file system has room");
    fs::write(root.join("etc/group"), "root:x:0:\nwww-data:x:33:\naudio:x:29:user\nuser:x:1000:\n")
        .expect("the file system has room");
}

/// A tar archive of [`busybox_rootfs`], made once per build directory.
pub fn busybox_tar() -> PathBuf {
    cached("busybox.tar", |path| {
        let root = path.with_extension("root");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("the build directory is writable");
        busybox_rootfs(&root);
        let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(path).arg(".").status();
        assert!(status.expect("tar is part of Debian").success());
        fs::remove_dir_all(&root).expect("our own directory");
    })
}

/// A tar archive of Debian's smallest system, made by mmdebstrap once per build directory.
pub fn debian_tar() -> PathBuf {
    cached("debian-bookworm.tar", |path| {
        let output =
            Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", "bookworm"]).arg(path).output();
        let output = output.expect("mmdebstrap is installed (`cargo xtask setup`)");
        assert!(output.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// Debian trixie's root directory with Docker's newer programs in it: dockerd 26, and the plugins of its command line.
pub fn docker_root() -> PathBuf {
    cached("docker-root", |path| {
        let include = "--include=docker.io,docker-buildx,docker-compose,iptables,procps";
        let output = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=extract", include, "trixie"])
            .arg(path)
            .output();
        let output = output.expect("mmdebstrap is installed (`cargo xtask setup`)");
        assert!(output.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// A directory with the plugins of the `docker` command line, `docker-buildx` and `docker-compose`.
pub fn docker_plugins() -> PathBuf {
    docker_root().join("usr/libexec/docker/cli-plugins")
}

/// `name` in the build directory, made by `make` when missing; tests in other processes wait for the one that makes it.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = build_dir().join("fixtures");
    fs::create_dir_all(&directory).expect("the build directory is writable");
    let path = directory.join(name);
    let lock =
        fs::File::create(directory.join(format!("{name}.lock"))).expect("the build directory is writable");
    lock.lock().expect("locks work on the build directory's file system");
    if !path.exists() {
        let fresh = directory.join(format!("new-{name}"));
        let _ = fs::remove_file(&fresh);
        let _ = fs::remove_dir_all(&fresh);
        make(&fresh);
        fs::rename(&fresh, &path).expect("same directory");
    }
    path
}

/// A directory in the build directory for what `version` describes, filled by `fill` once. It does not move afterwards: virtual
/// environments contain their own path.
pub fn cached_directory(name: &str, version: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let name = format!("{name}-{:016x}", fingerprint(version));
    let directory = build_dir().join("fixtures").join(&name);
    cached(&format!("{name}.done"), |mark| {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("the build directory is writable");
        fill(&directory);
        fs::write(mark, version).expect("the build directory is writable");
    });
    directory
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(text, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// Where cargo builds: two levels above this test's binary.
fn build_dir() -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    let deps = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release"));
    deps.expect("tests are run by cargo").to_owned()
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Output::of(Command::new("openssl").args(arguments.split(' ')).current_dir(directory));
    output.success();
}

/// Makes an authority in `directory` and certificates of it, `server` and `client` for 127.0.0.1, and those of a stranger, `other`.
pub fn certificates(directory: &Path) {
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("our own directory");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for authority in ["ca", "stranger"] {
        openssl(
            directory,
            &format!(
                "req -x509 {key} -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ),
        );
    }
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("other", "stranger")] {
        openssl(directory, &format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign =
            format!("x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
        openssl(directory, &format!("{sign} -days 2 -extfile names -out {name}.pem"));
    }
}
