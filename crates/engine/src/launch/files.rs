//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! They are in the run directory, on tmpfs, and made anew for every start: addresses of joined networks and the host's name servers
//! may have changed since. Mounted as files, they are rewritten in place and never replaced.

use crate::engine::Engine;
use crate::model::NetworkMode;
use crate::record::Container;
use net::NetworkPlan;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The container's host name; the host's own when it shares the host's network or UTS namespace and none was given.
pub(crate) fn hostname(container: &Container) -> String {
    let spec = &container.doc.spec;
    if let Some(name) = &spec.isolation.hostname {
        return name.clone();
    }
    let shares = spec.network.mode == NetworkMode::Host || !super::has_own_hostname(container);
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    match shares.then(host) {
        Some(Ok(name)) => name,
        _ => container.id.short().to_owned(),
    }
}

/// Writes the three files into the run directory, which exists.
pub(crate) fn write(run_dir: &Path, container: &Container, networks: &[NetworkPlan]) -> io::Result<()> {
    if matches!(container.doc.spec.network.mode, NetworkMode::Container(_)) {
        // Those of the container whose network it shares are mounted.
        return Ok(());
    }
    write_file(&run_dir.join("hostname"), &format!("{}\n", hostname(container)))?;
    write_file(&run_dir.join("hosts"), &hosts(container, networks))?;
    write_file(&run_dir.join("resolv.conf"), &resolv_conf(container, networks))
}

/// Makes the name server of a running container the embedded one, or back, after its networks have changed.
pub(crate) fn rewrite_resolv_conf(engine: &Engine, container: &Container) -> io::Result<()> {
    let networks = engine.network_plans(container).map_err(io::Error::other)?;
    write_file(&engine.run_dir(&container.id).join("resolv.conf"), &resolv_conf(container, &networks))
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // World-readable whatever our umask: processes of any user resolve names.
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(PermissionsExt::from_mode(0o644))
}

fn hosts(container: &Container, networks: &[NetworkPlan]) -> String {
    let spec = &container.doc.spec;
    let mut text = match spec.network.mode {
        NetworkMode::Host => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
              ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in &spec.network.extra_hosts {
        let gateway = networks.first().map(|network| network.gateway.to_string());
        let address = match address.as_str() {
            "host-gateway" => gateway.unwrap_or_else(|| "127.0.0.1".into()),
            address => address.to_owned(),
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    let hostname = hostname(container);
    for endpoint in &container.doc.endpoints {
        let _ = match &spec.isolation.domainname {
            Some(domain) => writeln!(text, "{}\t{hostname}.{domain} {hostname}", endpoint.address),
            None => writeln!(text, "{}\t{hostname}", endpoint.address),
        };
    }
    text
}

fn resolv_conf(container: &Container, networks: &[NetworkPlan]) -> String {
    let network = &container.doc.spec.network;
    let host = net::dns::host_resolvers();
    let own_mode = network.mode == NetworkMode::Host;
    if own_mode && network.dns.is_empty() && network.dns_search.is_empty() && network.dns_options.is_empty() {
        return std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let embedded = networks.iter().any(|network| network.dns);
    let servers: Vec<String> = if embedded {
        vec!["127.0.0.11".into()]
    } else if !network.dns.is_empty() {
        network.dns.iter().map(ToString::to_string).collect()
    } else {
        host.servers.iter().map(ToString::to_string).collect()
    };
    let search = if network.dns_search.is_empty() { &host.search } else { &network.dns_search };
    let mut options = if network.dns_options.is_empty() { host.options } else { network.dns_options.clone() };
    if embedded && !options.iter().any(|option| option.starts_with("ndots:")) {
        // The embedded server knows single labels; without this, search domains would be tried first.
        options.push("ndots:0".into());
    }
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    // `--dns-search .` means none.
    let search: Vec<&str> = search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}
