//! The image that travels, and the engines that have it.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{timed, wrapped};

pub const ADDRESS: &str = "127.0.0.1:5055";
pub const NAME: &str = "127.0.0.1:5055/bench/app:latest";
const SIZE: u64 = 1 << 30;
const LAYERS: u64 = 6;

/// An image of this host's own programs and documents.
pub struct Image<'a> {
    bench: &'a Bench,
    pub directory: PathBuf,
    loaded: OnceCell<()>,
}

type Make<'a> = Box<dyn Fn(&[&str]) -> Command + 'a>;

/// An engine that takes docker's commands.
pub struct Engine<'a> {
    pub name: &'static str,
    make: Make<'a>,
    /// What it has to be told of a registry without TLS.
    insecure: &'static [&'static str],
}

impl Engine<'_> {
    pub fn command(&self, args: &[&str]) -> Command {
        (self.make)(args)
    }

    /// Removes the image and everything in it.
    pub fn forget(&self) -> Command {
        // An engine that does not have it fails.
        let remove = self.command(&["rmi", "-f", NAME]);
        let mut anyhow = Command::new("sh");
        anyhow.args(["-c", "\"$@\" || true", "sh"]);
        wrapped(anyhow, &remove)
    }

    pub fn push(&self) -> Command {
        self.command(&[&["push"], self.insecure, &[NAME]].concat())
    }

    pub fn pull(&self) -> Command {
        self.command(&[&["pull"], self.insecure, &[NAME]].concat())
    }
}

impl<'a> Image<'a> {
    /// Makes the image, unless an earlier row has; the roots it is made in are not those that are measured.
    pub fn prepare(bench: &'a Bench) -> Result<Self, String> {
        let image = Self { bench, directory: bench.directory.join("images"), loaded: OnceCell::new() };
        if !Path::new(&image.path("image.tar")).exists() {
            image.make()?;
        }
        Ok(image)
    }

    fn make(&self) -> Result<(), String> {
        let context = self.directory.join("context");
        for path in [&context, &self.directory.join("tmp")] {
            fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let mut dockerfile = "FROM busybox\n".to_owned();
        for (number, paths) in layers()?.into_iter().enumerate() {
            let archive = context.join(format!("{number}.tar"));
            timed(Command::new("tar").args(["-C", "/", "-cf"]).arg(&archive).args(paths))?;
            dockerfile.push_str(&format!("ADD {number}.tar /\n"));
        }
        fs::write(context.join("Dockerfile"), dockerfile).map_err(|e| e.to_string())?;
        let busybox = self.path("busybox.tar");
        timed(&mut self.bench.hull(["save", "-o", &busybox, "busybox"]))?;
        timed(&mut self.maker(&["load", "-q", "-i", &busybox]))?;
        timed(&mut self.maker(&["build", "-q", "-t", NAME, &context.to_string_lossy()]))?;
        timed(&mut self.maker(&["save", "-o", &self.path("image.tar"), NAME]))?;
        fs::remove_dir_all(&context).map_err(|e| e.to_string())
    }

    /// A path in the rows' directory.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    pub fn archive_mb(&self) -> Result<u64, String> {
        fs::metadata(self.path("image.tar")).map(|m| m.len() / 1_000_000).map_err(|e| e.to_string())
    }

    /// `hull` with the roots the image was made in.
    pub fn maker(&self, args: &[&str]) -> Command {
        let mut command = self.bench.hull([]);
        command.args(args).env("HULL_ROOT", self.directory.join("maker"));
        command.env("HULL_RUN_ROOT", self.bench.run_root.join("maker"));
        command
    }

    /// The engine that is measured.
    pub fn hull(&self) -> Engine<'_> {
        let make = |args: &[&str]| {
            let mut command = self.bench.hull([]);
            command.args(args);
            command
        };
        Engine { name: "hull", make: Box::new(make), insecure: &[] }
    }

    /// hull first, and whoever else runs here.
    pub fn engines(&self) -> Vec<Engine<'_>> {
        let mut engines = vec![self.hull()];
        if let Some(docker) = able("docker", &self.bench.docker) {
            let make = |args: &[&str]| {
                let mut command = docker.docker([]);
                command.args(args);
                command
            };
            engines.push(Engine { name: "docker", make: Box::new(make), insecure: &[] });
        }
        if let Some(podman) = able("podman", &self.bench.podman) {
            let make = |args: &[&str]| {
                let mut command = podman.podman([]);
                command.args(args);
                command
            };
            engines.push(Engine { name: "podman", make: Box::new(make), insecure: &["--tls-verify=false"] });
        }
        engines
    }

    /// Sees to it that every engine has the image.
    pub fn load_everywhere(&self) -> Result<(), String> {
        if self.loaded.get().is_none() {
            for engine in self.engines() {
                timed(&mut engine.command(&["load", "-i", &self.path("image.tar")]))?;
            }
            let _ = self.loaded.set(());
        }
        Ok(())
    }

    /// The most memory a pull takes, as `time` saw it.
    pub fn peak_of_pull_kib(&self) -> Result<u64, String> {
        let hull = self.hull();
        timed(&mut hull.forget())?;
        let mut time = Command::new("/usr/bin/time");
        time.args(["-f", "%M"]);
        let output = wrapped(time, &hull.pull()).output().map_err(|e| format!("time: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().last().and_then(|line| line.trim().parse().ok()).ok_or(said)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let _ = timed(&mut self.hull().forget());
    }
}

/// Paths of about [`SIZE`] bytes in all, in as many lists as there are layers.
fn layers() -> Result<Vec<Vec<String>>, String> {
    let listing = "cd /; du -xsb usr/bin/* usr/include usr/share/* 2>/dev/null; true";
    let output = Command::new("sh").args(["-c", listing]).output().map_err(|e| format!("du: {e}"))?;
    let mut layers = vec![Vec::new()];
    let (mut layer_size, mut size) = (0, 0);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((bytes, path)) = line.split_once('\t') else { continue };
        let bytes: u64 = bytes.parse().map_err(|_| format!("du: {line}"))?;
        if size + bytes > SIZE {
            continue;
        }
        if layer_size > SIZE / LAYERS {
            layers.push(Vec::new());
            layer_size = 0;
        }
        layers.last_mut().expect("never empty").push(path.to_owned());
        (layer_size, size) = (layer_size + bytes, size + bytes);
    }
    Ok(layers)
}
