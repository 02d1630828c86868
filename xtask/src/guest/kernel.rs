//! Debian's kernel for virtual machines, unpacked but not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{make_directory, output, run};

/// The package that depends on the current kernel's.
const META: &str = "linux-image-cloud-amd64";

/// A kernel with its modules.
pub struct Kernel {
    /// The image QEMU boots.
    pub image: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
    /// As `uname -r` says.
    pub release: String,
}

impl Kernel {
    /// The kernel kept in `cache`, or the one apt has now; removing `cache` gets a newer one.
    pub fn obtain(cache: &Path) -> Result<Self, String> {
        if !cache.exists() {
            let part = cache.with_extension("part");
            let _ = std::fs::remove_dir_all(&part);
            make_directory(&part)?;
            download(&part)?;
            std::fs::rename(&part, cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        }
        let modules = only_entry(&cache.join("lib/modules"))?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { image: cache.join("boot").join(format!("vmlinuz-{release}")), modules, release })
    }
}

fn download(directory: &Path) -> Result<(), String> {
    let package = match dependency() {
        Ok(package) => package,
        // A fresh system has no lists yet.
        Err(_) => {
            run(Command::new("apt-get").args(["update", "--quiet", "--quiet"]))?;
            dependency()?
        }
    };
    // apt drops its rights for downloads and may not enter our directory then.
    let download = ["--quiet", "--option", "APT::Sandbox::User=root", "download", &package];
    let fetch = || run(Command::new("apt-get").args(download).current_dir(directory));
    if fetch().is_err() {
        // The lists are older than the mirror.
        run(Command::new("apt-get").args(["update", "--quiet", "--quiet"]))?;
        fetch()?;
    }
    let archive = only_entry(directory)?;
    run(Command::new("dpkg-deb").arg("--extract").args([&archive, directory]))?;
    std::fs::remove_file(&archive).map_err(|error| format!("{}: {error}", archive.display()))
}

/// The package of the kernel itself, such as `linux-image-6.1.0-56-cloud-amd64`.
fn dependency() -> Result<String, String> {
    let depends = output(Command::new("apt-cache").args(["depends", META]))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| format!("{META} names no kernel"))
}

fn only_entry(directory: &Path) -> Result<PathBuf, String> {
    let wrong = |reason: String| format!("{}: {reason}", directory.display());
    let mut entries = std::fs::read_dir(directory).map_err(|error| wrong(error.to_string()))?;
    let entry = entries.next().ok_or_else(|| wrong("is empty".into()))?;
    entry.map(|entry| entry.path()).map_err(|error| wrong(error.to_string()))
}
