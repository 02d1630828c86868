//! The guest's only disk: an ext4 image with Debian's tools, the kernel's modules, the tests and our init.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::kernel::Kernel;
use super::programs::Program;
use super::{make_directory, output};

/// The tools that tests use; they come with all they depend on, as installed here.
const TOOLS: &[&str] = &[
    "apache2-utils",
    "bash",
    "bsdutils",
    "busybox-static",
    "coreutils",
    "dash",
    "docker-registry",
    "docker.io",
    "findutils",
    "grep",
    "gzip",
    "iproute2",
    "mawk",
    "mount",
    "nftables",
    "openssl",
    "perl-base",
    "podman",
    "procps",
    "python3",
    "sed",
    "skopeo",
    "slirp4netns",
    "systemd",
    "tar",
    "uidmap",
    "util-linux",
    "zstd",
];

/// Of the kernel's modules, those for hardware the guest lacks are left out; tests open loop-control.
const MODULES: &[&str] = &["arch", "crypto", "drivers/block/loop.ko", "drivers/net", "fs", "lib", "net"];

/// Links of the merged /usr, and what Debian's maintainer scripts would have made.
const LINKS: &[(&str, &str)] = &[
    ("usr/bin", "bin"),
    ("usr/sbin", "sbin"),
    ("usr/lib", "lib"),
    ("usr/lib64", "lib64"),
    ("dash", "usr/bin/sh"),
    // The kernel calls /sbin/modprobe for what it lacks.
    ("../bin/busybox", "usr/sbin/modprobe"),
    ("../bin/busybox", "usr/sbin/poweroff"),
    ("/proc/self/mounts", "etc/mtab"),
];

const INIT: &str = include_str!("init.sh");
/// Room for what the tests write; the file is sparse.
const SIZE: &str = "3G";

/// Makes `image` from scratch; `root` is where its content is collected.
pub fn make(
    image: &Path,
    root: &Path,
    kernel: &Kernel,
    programs: &[Program],
    tests: &[&Program],
    filters: &[String],
) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(root);
    for directory in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc"] {
        make_directory(&root.join(directory))?;
    }
    for directory in ["dev", "proc", "sys", "run", "tmp", "var/tmp", "var/lib", "root", "guest"] {
        make_directory(&root.join(directory))?;
    }
    for (target, link) in LINKS {
        symlink(target, root.join(link)).map_err(|error| format!("{link}: {error}"))?;
    }
    install_packages(root)?;
    install_client(root)?;
    install_alternatives(root)?;
    install_sources(root)?;
    install_modules(root, kernel)?;
    for program in programs {
        let to = inside(root, &program.path);
        make_directory(to.parent().unwrap_or(root))?;
        make_directory(&inside(root, &program.directory))?;
        run_quietly(Command::new("strip").arg("-o").args([&to, &program.path]))?;
    }
    let lines: Vec<String> = tests
        .iter()
        .map(|test| format!("{} {} {}\n", test.name, test.directory.display(), test.path.display()))
        .collect();
    write(&root.join("guest/tests"), &lines.concat())?;
    write(&root.join("guest/filters"), &filters.join(" "))?;
    write(&root.join("guest/init"), INIT)?;
    set_mode(&root.join("guest/init"), 0o755)?;
    // Attackers look for it; the host's is nobody's business.
    write(&root.join("etc/shadow"), "root:*:::::::\n")?;
    set_mode(&root.join("etc/shadow"), 0o640)?;
    write(&root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    for file in ["passwd", "group", "protocols", "services"] {
        let _ = std::fs::copy(Path::new("/etc").join(file), root.join("etc").join(file));
    }
    let _ = std::fs::remove_file(image);
    let make = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"];
    run_quietly(Command::new("mke2fs").args(make).arg(root).arg(image).arg(SIZE))
}

/// Copies the files of the tools' packages and of what these depend on, without documentation.
fn install_packages(root: &Path) -> Result<(), String> {
    let packages = closure(TOOLS)?;
    let files = output(Command::new("dpkg-query").arg("--listfiles").args(&packages))?;
    let mut list = String::new();
    for file in files.lines().filter(|file| wanted(file)) {
        let kind = Path::new(file).symlink_metadata().map(|data| data.file_type());
        if kind.is_ok_and(|kind| kind.is_file() || kind.is_symlink()) {
            list.push_str(file);
            list.push('\n');
        }
    }
    let names = root.join("guest/files");
    write(&names, &list)?;
    let archive = root.join("guest/files.tar");
    let mut pack = Command::new("tar");
    pack.args(["--create", "--no-recursion", "--directory", "/", "--file"]).arg(&archive);
    // Packages built before the merge of /usr still list /bin/cat: it shall go where /bin leads.
    pack.args([
        r"--transform=flags=r;s,^/*\(bin\|sbin\|lib\|lib64\)/,usr/\1/,",
        "--absolute-names",
        "--files-from",
    ]);
    run_quietly(pack.arg(&names))?;
    run_quietly(
        Command::new("tar").arg("--extract").arg("--directory").arg(root).arg("--file").arg(&archive),
    )?;
    [names, archive].iter().try_for_each(|path| std::fs::remove_file(path).map_err(|error| error.to_string()))
}

fn wanted(file: &str) -> bool {
    let left_out = ["/usr/share/", "/usr/lib/x86_64-linux-gnu/gconv/", "/var/"];
    !left_out.iter().any(|prefix| file.starts_with(prefix)) && file != "/usr/bin/sh" && file != "/bin/sh"
}

/// `names` and every installed package that they depend on.
fn closure(names: &[&str]) -> Result<BTreeSet<String>, String> {
    let format = "--showformat=${Package}\t${Pre-Depends}, ${Depends}\n";
    let all = output(Command::new("dpkg-query").args(["--show", format]))?;
    let depends: BTreeMap<&str, &str> = all.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&str> = names.to_vec();
    while let Some(name) = waiting.pop() {
        let Some(list) = depends.get(name) else { continue };
        if found.insert(name.to_owned()) {
            let words = list.split([',', '|']).filter_map(|word| word.split_whitespace().next());
            waiting.extend(words.map(|word| word.split(':').next().unwrap_or(word)));
        }
    }
    match names.iter().find(|name| !found.contains(**name)) {
        Some(missing) => Err(format!("package {missing} is not installed")),
        None => Ok(found),
    }
}

/// Puts the `docker` that this machine finds first in the place of its package's: what it prints is compared with.
fn install_client(root: &Path) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let client =
        std::env::split_paths(&path).map(|directory| directory.join("docker")).find(|path| path.is_file());
    let Some(client) = client else { return Ok(()) };
    let to = root.join("usr/bin/docker");
    std::fs::copy(&client, &to)
        .map(drop)
        .map_err(|error| format!("{} to {}: {error}", client.display(), to.display()))
}

/// Copies what tests read of the repository, to where their crates lay when they were built.
fn install_sources(root: &Path) -> Result<(), String> {
    let repository = std::fs::canonicalize(".").map_err(|error| format!("the repository: {error}"))?;
    let place = inside(root, &repository);
    make_directory(&place)?;
    run_quietly(Command::new("cp").args(["--archive", "crates", "docs"]).arg(place))
}

/// Copies the links that update-alternatives made: `awk`, `iptables`.
fn install_alternatives(root: &Path) -> Result<(), String> {
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--parents", "/etc/alternatives"]);
    for directory in ["/usr/bin", "/usr/sbin"] {
        let entries = std::fs::read_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
        let links = entries.flatten().map(|entry| entry.path());
        let is_alternative =
            |path: &Path| std::fs::read_link(path).is_ok_and(|to| to.starts_with("/etc/alternatives"));
        copy.args(links.filter(|path| is_alternative(path)));
    }
    run_quietly(copy.arg(root))
}

fn install_modules(root: &Path, kernel: &Kernel) -> Result<(), String> {
    let to = root.join("usr/lib/modules").join(&kernel.release);
    make_directory(&to)?;
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--parents"]).args(MODULES.iter().map(|part| format!("kernel/{part}")));
    copy.args(["modules.builtin", "modules.builtin.modinfo", "modules.order"]).arg(&to);
    run_quietly(copy.current_dir(&kernel.modules))?;
    run_quietly(Command::new("busybox").args(["depmod", "-b"]).arg(root).arg(&kernel.release))
}

/// Where the guest will see the host's `path`.
fn inside(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn run_quietly(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}
