//! The Debian packages that the tests and the examples need.

use std::path::Path;
use std::process::Command;

use crate::run;

/// What each is for: building ISA-L, fixtures, base images, looking at the host from outside hull, speaking to the example stack,
/// engines that drive hull's runtime, what clones contexts of builds, and languages whose libraries speak to its API.
const PACKAGES: &[&str] = &[
    "apache2-utils",
    "autoconf",
    "automake",
    "busybox-static",
    "ca-certificates",
    "containerd",
    "curl",
    "docker-registry",
    "docker.io",
    "gcc",
    "git",
    "iproute2",
    "libc6-dev",
    "libtool",
    "make",
    "mmdebstrap",
    "nasm",
    "nftables",
    "nodejs",
    "npm",
    "openssl",
    "podman",
    "python3",
    "python3-venv",
    "skopeo",
    "slirp4netns",
    "uidmap",
];

/// Installs what is missing of [`PACKAGES`].
pub fn packages() -> Result<(), String> {
    // Whoever has Node.js from its makers has npm with it, and Debian's would not go beside.
    let has_npm = Path::new("/usr/bin/npm").exists();
    let wanted: Vec<&str> =
        PACKAGES.iter().copied().filter(|package| *package != "npm" || !has_npm).collect();
    install(&wanted)
}

/// Installs what is missing of `packages`.
pub fn install(packages: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "--quiet", "--quiet"]))?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether dpkg has `package` installed.
pub fn installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}
