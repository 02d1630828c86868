//! The host's resolver configuration, for containers that use it directly and for forwarding.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// What the host's `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostResolvers {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// Where the host says whom to ask.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved lists the servers behind its stub on 127.0.0.53.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The host's resolvers as a process in another network namespace can use them.
///
/// Loopback servers cannot be reached from there: systemd-resolved's stub is replaced by the servers behind it, others are
/// left out, so the list may be empty.
pub fn host_resolvers() -> HostResolvers {
    let read = |path: &Path| fs::read_to_string(path).map(|text| parse(&text)).unwrap_or_default();
    let mut found = read(Path::new(RESOLV_CONF));
    if !found.servers.is_empty() && found.servers.iter().all(IpAddr::is_loopback) {
        found.servers = read(Path::new(RESOLVED)).servers;
    }
    found.servers.retain(|server| !server.is_loopback());
    found
}

/// The resolvers as the host itself uses them, loopback included: where the name server forwards to.
pub(super) fn forwarders() -> Vec<IpAddr> {
    fs::read_to_string(RESOLV_CONF).map(|text| parse(&text).servers).unwrap_or_default()
}

/// Reads resolv.conf(5); of several `search` or `domain` lines the last one counts, as in glibc.
pub fn parse(text: &str) -> HostResolvers {
    let mut found = HostResolvers::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            // A scope (`fe80::1%eth0`) means an interface the container does not have.
            Some("nameserver") => {
                found.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
            }
            Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
            Some("options") => found.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_glibc_does() {
        let found = parse(
            "# comment\nnameserver 10.0.0.1 ; x\nnameserver fe80::1%eth0\nnameserver ::2\ndomain a\n\
             search b c\noptions ndots:2 rotate\nnameserver\n",
        );
        assert_eq!(found.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::2".parse().unwrap()]);
        assert_eq!(found.search, ["b", "c"]);
        assert_eq!(found.options, ["ndots:2", "rotate"]);
    }
}
