//! The Debian packages that the tests and the examples need.

use std::process::Command;

use crate::run;

/// What each is for: fixtures, base images, looking at the host from outside hull, speaking to the example stack, engines that
/// drive hull's runtime.
const PACKAGES: &[&str] = &[
    "apache2-utils",
    "busybox-static",
    "ca-certificates",
    "containerd",
    "curl",
    "docker-registry",
    "docker.io",
    "gcc",
    "iproute2",
    "libc6-dev",
    "make",
    "mmdebstrap",
    "nftables",
    "openssl",
    "podman",
    "python3",
    "skopeo",
    "slirp4netns",
    "uidmap",
];

/// Installs what is missing of [`PACKAGES`].
pub fn packages() -> Result<(), String> {
    install(PACKAGES)
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
