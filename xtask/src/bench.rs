//! `cargo xtask bench`: hull beside crun, runc, podman and docker.io from Debian's packages, and youki, on this machine, in this run.
//!
//! Every row runs its commands in turn, A B C A B C, so that a change in the machine's speed meets all of them alike, and prints
//! the minimum and the median of each and the ratio of the medians. Nothing here passes or fails. Caches are warm: every
//! command runs a few times uncounted first.

mod measure;
mod memory;
mod peers;
mod rows;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use crate::run;
use peers::Peer;

/// Packages of the peers; where one cannot be had, the table says so.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "crun",
    "podman",
    "docker.io",
    "runc",
    "time",
    "apache2-utils",
    "docker-registry",
    "skopeo",
];

/// Builds the release binary, prepares every peer that can run here, and prints the table.
pub fn main(only: &[String]) -> Result<(), String> {
    for package in PACKAGES.iter().filter(|package| !crate::setup::installed(package)) {
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--quiet", "--no-install-recommends", package]);
        if let Err(reason) = run(install.env("DEBIAN_FRONTEND", "noninteractive")) {
            eprintln!("bench: {reason}");
        }
    }
    crate::release()?;
    let bench = Bench::new()?;
    println!("{}", measure::machine());
    for (name, row) in rows::ROWS {
        if only.is_empty() || only.iter().any(|wanted| name.contains(wanted.as_str())) {
            println!("\n{name}");
            row(&bench)?;
        }
    }
    Ok(())
}

/// Everything the rows use: hull in roots of its own with a BusyBox image, and the peers that run here.
pub struct Bench {
    directory: PathBuf,
    run_root: PathBuf,
    /// The build directory.
    target: PathBuf,
    hull: PathBuf,
    youki: OnceCell<Peer<PathBuf>>,
    crun: Peer<peers::Crun>,
    podman: Peer<peers::Podman>,
    docker: Peer<peers::Docker>,
}

impl Bench {
    fn new() -> Result<Self, String> {
        let directory = PathBuf::from("/var/tmp").join(format!("hull-bench-{}", std::process::id()));
        let run_root = PathBuf::from("/run").join(format!("hull-bench-{}", std::process::id()));
        for path in [&directory, &run_root] {
            std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let target = std::path::absolute(target).map_err(|error| error.to_string())?;
        let unprepared = "not prepared";
        let mut bench = Self {
            directory,
            run_root,
            hull: target.join("x86_64-unknown-linux-gnu/release/hull"),
            target,
            youki: OnceCell::new(),
            crun: Err(unprepared.to_owned()),
            podman: Err(unprepared.to_owned()),
            docker: Err(unprepared.to_owned()),
        };
        let rootfs = bench.directory.join("rootfs");
        testkit::busybox_rootfs(&rootfs);
        let archive = bench.directory.join("busybox.tar");
        run(Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&archive).arg("."))?;
        run(bench.hull(["import"]).arg(&archive).arg("busybox:latest"))?;
        let namespace = peers::OneHierarchy::new().map(Rc::new);
        bench.crun = peers::Crun::prepare(&namespace, &bench.directory, &rootfs);
        bench.podman = peers::Podman::prepare(&namespace, &bench.directory, &archive);
        bench.docker = peers::Docker::start(&bench.directory, &archive);
        Ok(bench)
    }

    /// youki, built when a row first asks for it.
    pub fn youki(&self) -> &Peer<PathBuf> {
        self.youki.get_or_init(|| peers::youki(&self.target))
    }

    /// `hull` with `args` in the benchmark's own roots.
    pub fn hull<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new(&self.hull);
        command.args(args).env("HULL_ROOT", self.directory.join("data")).env("HULL_RUN_ROOT", &self.run_root);
        command
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.docker = Err("it was stopped".to_owned());
        if let Ok(podman) = &self.podman {
            podman.remove();
        }
        let reset = run(&mut self.hull(["system", "reset", "--force"]));
        let removed = [&self.directory, &self.run_root].map(std::fs::remove_dir_all);
        if reset.is_err() || removed.iter().any(Result::is_err) {
            eprintln!("bench: something is left in {}", self.directory.display());
        }
    }
}
