//! Where the registry of a domain is to be asked, and whom to trust there.
//!
//! For each host a directory may say so, in a file `hosts.toml` as containerd has it or with certificates as Docker has them:
//!
//! ```text
//! certs.d/<host>[:<port>]/hosts.toml
//! certs.d/<host>[:<port>]/*.crt                 authorities to trust for it, besides the system's
//! certs.d/<host>[:<port>]/*.cert, *.key         who we are to it
//! certs.d/_default/hosts.toml                   for hosts without a directory
//! ```
//!
//! What is named there comes first, the host itself last. A registry on this host is asked without TLS, one that
//! `HULL_INSECURE_REGISTRIES` names is asked with whatever it speaks and without knowing who it is.

mod certificates;
mod toml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diag::{Class, Diagnose};
use reqwest::Url;
use reqwest::header::HeaderMap;

pub use certificates::{Identity, Trust, identity, read as read_certificates};

const HUB: &str = "docker.io";
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// Where to look for what is said of hosts.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Directories named `certs.d`; the first that speaks of a host decides.
    pub directories: Vec<PathBuf>,
    /// Hosts, hosts with ports, and networks (`10.0.0.0/8`) whose registries need not prove who they are.
    pub insecure: Vec<String>,
}

/// One place to ask.
#[derive(Clone, Debug)]
pub struct Host {
    /// Host and port, for messages and credentials.
    pub name: String,
    /// `https://registry-1.docker.io/v2/`.
    pub base: Url,
    pub scheme: Scheme,
    pub can: Abilities,
    pub trust: Trust,
    pub headers: HeaderMap,
    pub connect_limit: Option<Duration>,
    /// The domain a mirror answers for; `None` for the registry itself.
    pub mirrors: Option<String>,
}

/// How it was decided whether to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Settled,
    /// Without TLS, unless it turns out to speak that.
    PlainFirst,
    /// With TLS, unless it turns out not to speak that.
    TlsFirst,
}

/// What a place may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Give what a digest names.
    pub pull: bool,
    /// Say what a tag names.
    pub resolve: bool,
    pub push: bool,
}

impl Abilities {
    pub const ALL: Self = Self { pull: true, resolve: true, push: true };
}

/// What is said of a host cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is malformed: {why}")]
    Malformed { path: PathBuf, why: String },
    #[error("{0} is no address of a registry")]
    Address(String),
}

impl Diagnose for HostsError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } => Class::of_io(source),
            Self::Malformed { .. } | Self::Address(_) => Class::Invalid,
        }
    }
}

impl Hosts {
    /// `HULL_CERTS_D`, directories with colons between them, or else the usual ones; and `HULL_INSECURE_REGISTRIES`.
    pub fn from_environment() -> Self {
        let directories = match std::env::var_os("HULL_CERTS_D") {
            Some(list) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
            None => usual_directories(),
        };
        let insecure = std::env::var("HULL_INSECURE_REGISTRIES").unwrap_or_default();
        let insecure = insecure.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self { directories, insecure: insecure.map(str::to_owned).collect() }
    }

    /// The places to ask for `domain`, best first and the registry itself last.
    ///
    /// # Errors
    /// [`HostsError`].
    pub fn of(&self, domain: &str) -> Result<Vec<Host>, HostsError> {
        let file = self.file("hosts.toml", domain);
        let mut hosts = match file {
            Some(path) => toml::read(&path, domain)?,
            None => vec![Host::itself(domain)?],
        };
        for directory in self.candidates(domain) {
            let (trust, found) = certificates::in_directory(&directory)?;
            if let Some(itself) = hosts.iter_mut().find(|host| found && host.mirrors.is_none()) {
                itself.trust.merge(trust);
                break;
            }
        }
        for host in &mut hosts {
            self.relax(host);
        }
        Ok(hosts)
    }

    /// The directories that may speak of `domain`.
    fn candidates(&self, domain: &str) -> impl Iterator<Item = PathBuf> {
        // A colon is not to be had in file names everywhere, hence the other spelling.
        let spelled = domain.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        let names: Vec<String> = spelled.into_iter().chain([domain.to_owned()]).collect();
        self.directories.iter().flat_map(move |root| names.clone().into_iter().map(|name| root.join(name)))
    }

    fn file(&self, name: &str, domain: &str) -> Option<PathBuf> {
        let defaults = self.directories.iter().map(|root| root.join("_default"));
        self.candidates(domain)
            .chain(defaults)
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
    }

    /// Lets a registry be that need not prove who it is.
    fn relax(&self, host: &mut Host) {
        let named = self.insecure.iter().any(|entry| names(entry, &host.name));
        if !named && (host.scheme == Scheme::Settled || !host.trust.authorities.is_empty()) {
            return;
        }
        host.trust.verify = false;
        if named && host.scheme == Scheme::Settled && host.base.scheme() == "https" {
            host.scheme = Scheme::TlsFirst;
        }
    }
}

impl Host {
    /// The registry of `domain` when nothing is said of it.
    pub(crate) fn itself(domain: &str) -> Result<Self, HostsError> {
        let host = if domain == HUB { HUB_REGISTRY } else { domain };
        let (scheme, decided) =
            if is_loopback(host) { ("http", Scheme::PlainFirst) } else { ("https", Scheme::Settled) };
        let base = Url::parse(&format!("{scheme}://{host}/v2/"));
        Ok(Self {
            name: domain.to_owned(),
            base: base.map_err(|_| HostsError::Address(domain.to_owned()))?,
            scheme: decided,
            can: Abilities::ALL,
            trust: Trust::default(),
            headers: HeaderMap::new(),
            connect_limit: None,
            mirrors: None,
        })
    }
}

fn usual_directories() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
    // What an ordinary user says concerns him alone; root has the system's directories.
    let is_root = sys::user::effective_uid() == 0 && !sys::user::is_in_subordinate_namespace();
    let own = own.filter(|_| !is_root).map(|directory| directory.join("hull/certs.d"));
    own.into_iter().chain(["/etc/hull/certs.d", "/etc/docker/certs.d"].map(PathBuf::from)).collect()
}

/// Host and port apart; a host of IPv6 keeps its brackets.
fn split_port(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (name, None),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether `host`, perhaps with a port, is this one.
pub fn is_loopback(host: &str) -> bool {
    let (name, _) = split_port(host);
    name == "localhost" || address(name).is_some_and(|ip| ip.is_loopback())
}

/// Whether an entry of the insecure registries means the registry `name`.
fn names(entry: &str, name: &str) -> bool {
    let (host, _) = split_port(name);
    if let Some((network, bits)) = entry.split_once('/') {
        return match (address(network), bits.parse(), address(host)) {
            (Some(network), Ok(bits), Some(ip)) => contains(network, bits, ip),
            _ => false,
        };
    }
    entry == name || split_port(entry).1.is_none() && entry == host
}

fn contains(network: IpAddr, bits: u32, ip: IpAddr) -> bool {
    let prefix = |value: u128, width: u32| value.checked_shr(width.saturating_sub(bits)).unwrap_or(0);
    match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            prefix(u128::from(a.to_bits()), 32) == prefix(u128::from(b.to_bits()), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => prefix(a.to_bits(), 128) == prefix(b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_goes_without_tls() {
        let check = |domain, expected: &str| {
            let hosts = Hosts::default().of(domain).unwrap();
            assert_eq!(hosts.iter().map(|host| host.base.as_str()).collect::<Vec<_>>(), [expected]);
        };
        check("docker.io", "https://registry-1.docker.io/v2/");
        check("localhost:5000", "http://localhost:5000/v2/");
        check("127.0.0.9", "http://127.0.0.9/v2/");
        check("[::1]:5000", "http://[::1]:5000/v2/");
        check("localhost.example:5000", "https://localhost.example:5000/v2/");
        check("10.0.0.1:5000", "https://10.0.0.1:5000/v2/");
    }

    #[test]
    fn insecure_registries_are_those_that_are_named() {
        let check = |entry, name, expected| assert_eq!(names(entry, name), expected, "{entry} for {name}");
        check("r.example:5000", "r.example:5000", true);
        check("r.example", "r.example:5000", true);
        check("r.example:5000", "r.example", false);
        check("example", "r.example", false);
        check("10.0.0.0/8", "10.9.8.7:5000", true);
        check("10.0.0.0/8", "11.9.8.7:5000", false);
        check("10.0.0.0/8", "r.example", false);
        check("0.0.0.0/0", "11.9.8.7", true);
        check("fd00::/8", "[fd12::1]:5000", true);
        check("fd00::/8", "[fe80::1]:5000", false);
        check("10.0.0.0/x", "10.9.8.7", false);
    }

    #[test]
    fn who_is_named_is_not_verified_and_nobody_else() {
        let hosts = Hosts { insecure: vec!["r.example".to_owned()], ..Hosts::default() };
        let host = |domain| hosts.of(domain).unwrap().remove(0);
        assert_eq!((host("r.example").scheme, host("r.example").trust.verify), (Scheme::TlsFirst, false));
        assert_eq!((host("s.example").scheme, host("s.example").trust.verify), (Scheme::Settled, true));
        assert_eq!(
            (host("localhost:1").scheme, host("localhost:1").trust.verify),
            (Scheme::PlainFirst, false)
        );
    }
}
