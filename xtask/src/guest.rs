//! `cargo xtask guest`: the tests that depend on the kernel, on another kernel.
//!
//! A machine has either cgroup v1 or v2 and one kernel; hull runs on both and on all of them since Debian 12's. The guest is
//! QEMU's emulated PC with Debian's own kernel (6.1 on Debian 12) and pure cgroup v2, set up as systemd would leave it. Its disk is made
//! here from the machine's own packages and test programs, each at the path it has here. NVMe and ext4 are built into that
//! kernel, so there is no initramfs. Nothing outside `target/guest` is written, and KVM is not needed.

mod console;
mod disk;
mod kernel;
mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{as_a_user, run, setup};

/// What the emulator and the disk need here.
const PACKAGES: &[&str] =
    &["binutils", "busybox-static", "e2fsprogs", "mount", "procps", "qemu-system-x86", "systemd", "zstd"];

/// Crates whose tests ask something of the kernel.
const CRATES: &[&str] = &["cgroup", "cli", "engine", "image", "monitor", "net", "runtime", "store", "sys"];
/// What cannot run in the guest, and why.
const IMPOSSIBLE: &[(&str, &str)] = &[
    ("cli/api", "its clients come from another release of Debian, and the guest has no network"),
    ("cli/clients", "it installs libraries, and the guest has no network"),
    ("cli/inception", "it makes its images from Debian's packages, and the guest has no network"),
];

/// What is mostly about registries and their content, and is left to whole runs of the guest for the time it takes.
const ALIKE: &[&str] =
    &["cli/integrity", "cli/pull", "cli/push", "cli/registry", "cli/remote", "cli/signatures"];

/// The programs whose subject is another one on another kernel.
pub fn check() -> Result<(), String> {
    run_there(&[], &[], ALIKE)
}

/// All programs, or those whose names have one of the arguments in them (`net/`, `runtime/container`); what follows `--` goes to
/// each of them.
pub fn main(arguments: &[String]) -> Result<(), String> {
    let mut parts = arguments.split(|argument| argument == "--");
    run_there(parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), &[])
}

/// Builds the tests, boots the guest and runs them there. `HULL_GUEST_SHOW=1` prints what passing programs said, too.
fn run_there(names: &[String], filters: &[String], alike: &[&str]) -> Result<(), String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!("the guest is an x86_64 PC, and this is {}", std::env::consts::ARCH));
    }
    setup::install(PACKAGES)?;
    let began = Instant::now();
    let cache = cache()?;
    let kernel = kernel::Kernel::obtain(&cache.join("kernel"))?;
    let programs = programs::build(CRATES)?;
    let (tests, left_out): (Vec<_>, Vec<_>) = programs
        .iter()
        .filter(|program| program.is_test)
        .partition(|program| is_chosen(&program.name, names) && !alike.contains(&program.name.as_str()));
    for name in left_out.iter().map(|program| program.name.as_str()) {
        let other =
            if alike.contains(&name) { "it is left to `cargo xtask guest`" } else { "it was not named" };
        println!("left out: {name}: {}", impossible(name).unwrap_or(other));
    }
    if tests.is_empty() {
        return Err(format!("no test program is called {}", names.join(" or ")));
    }
    let image = cache.join("disk.ext4");
    disk::make(&image, &cache.join("root"), &kernel, &programs, &tests, filters)?;
    let prepared = began.elapsed();
    let report = console::boot(&kernel, &image, tests.len())?;
    println!(
        "guest: Linux {}, prepared in {:.0} s, ran {:.0} s",
        report.release,
        prepared.as_secs_f32(),
        (began.elapsed() - prepared).as_secs_f32()
    );
    report.verdict()
}

/// Whether a run of `names` includes the program called `name`.
fn is_chosen(name: &str, names: &[String]) -> bool {
    let is_wanted = names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    is_wanted && impossible(name).is_none()
}

fn impossible(name: &str) -> Option<&'static str> {
    IMPOSSIBLE.iter().find(|(program, _)| *program == name).map(|(_, why)| *why)
}

/// `target/guest`, made if missing.
fn cache() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let cache = target.join("guest");
    make_directory(&cache)?;
    std::fs::canonicalize(&cache).map_err(|error| format!("{}: {error}", cache.display()))
}

fn make_directory(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What `command` prints.
fn output(command: &mut Command) -> Result<String, String> {
    let line = format!("{command:?}");
    let output = as_a_user(command).output().map_err(|error| format!("{line}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}
