//! The way out of the home's network: slirp4netns, or pasta where that is what is installed.
//!
//! Both give the home an interface and speak for it with ordinary sockets, so no right on the host's network is needed. Neither
//! lets the home reach what listens on the host's 127.0.0.1, nor are ports left to them: see `net::ports`.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::HomeError;
use crate::subids::find;

/// The program of the two that is installed.
#[derive(Debug)]
pub enum Outlet {
    Pasta(PathBuf),
    Slirp(PathBuf),
}

/// How long a first command waits for the way out; it goes on without it then.
const PATIENCE: Duration = Duration::from_secs(3);

impl Outlet {
    pub fn find() -> Result<Self, HomeError> {
        // First: data that pasta 2023_03_09 of Debian 12 gets from behind a bridge is never answered.
        let slirp = find("slirp4netns").map(Self::Slirp);
        let outlet = slirp.or_else(|| find("pasta").map(Self::Pasta));
        outlet.ok_or(HomeError::Program { program: "slirp4netns", package: "slirp4netns" })
    }

    /// Where the program answers for the host's name servers, which themselves may only be reachable on the host.
    fn name_server(&self) -> &'static str {
        match self {
            Self::Pasta(_) => "169.254.1.1",
            Self::Slirp(_) => "10.0.2.3",
        }
    }

    /// Writes the `resolv.conf` of the home into `directory`.
    pub fn write_resolv_conf(&self, directory: &Path) -> io::Result<PathBuf> {
        let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let kept = host.lines().filter(|line| line.starts_with("search ") || line.starts_with("options "));
        let lines = kept.map(|line| format!("{line}\n")).collect::<String>();
        let path = directory.join("resolv.conf");
        fs::write(&path, format!("nameserver {}\n{lines}", self.name_server()))?;
        Ok(path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a whole TCP/IP stack, which is somebody else's to maintain"
    )]
    /// Starts the program for the home of `anchor`; what it has to say goes to a file in `directory`.
    pub fn start(&self, anchor: i32, directory: &Path) -> io::Result<(i32, OwnedFd)> {
        let log = File::create(directory.join("network.log"))?;
        let users = format!("/proc/{anchor}/ns/user");
        let network = format!("/proc/{anchor}/ns/net");
        let mut command = match self {
            Self::Pasta(program) => {
                let mut command = Command::new(program);
                command.args(["--config-net", "--foreground", "--no-map-gw", "--mtu", "1500"]);
                for ports in ["-t", "-u", "-T", "-U"] {
                    command.args([ports, "none"]);
                }
                command.args(["--dns-forward", self.name_server()]);
                command.args(["--userns", &users, "--netns", &network]);
                command
            }
            Self::Slirp(program) => {
                let mut command = Command::new(program);
                command.args(["--configure", "--mtu=1500", "--disable-host-loopback"]);
                command.args(["--userns-path", &users, "--netns-type=path", &network, "tap0"]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok((pid, sys::process::open(pid)?))
    }
}

/// Waits until the home of `anchor` has a default route, or the program has ended, or patience has.
pub fn wait_until_open(anchor: i32, mut ended: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !has_route(anchor) && !ended() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn has_route(anchor: i32) -> bool {
    let routes = fs::read_to_string(format!("/proc/{anchor}/net/route")).unwrap_or_default();
    routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}
