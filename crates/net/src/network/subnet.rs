//! What the host's routes say: which subnets are free, and how large packets may be.

use std::net::Ipv4Addr;

use sys::netlink::Error;
use sys::netlink::route::{Route, RouteSocket};

use crate::addr::Ipv4Net;
use crate::error::NetworkError;

/// Docker's default pools, in its order: 172.17/16 to 172.31/16, then 192.168/16 in steps of /20.
fn pools() -> impl Iterator<Item = Ipv4Net> {
    let large = (17..32).map(|n| (Ipv4Addr::new(172, n, 0, 0), 16));
    let small = (0..16).map(|n| (Ipv4Addr::new(192, 168, n * 16, 0), 20));
    large.chain(small).filter_map(|(address, prefix)| Ipv4Net::containing(address, prefix))
}

/// A subnet that overlaps neither `taken` nor any route of the host.
///
/// Until its bridge exists another data root may choose the same; [`super::create_network`] does both in one step.
pub fn choose_subnet(taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let routes = RouteSocket::open().map_err(Error::from).and_then(|socket| socket.routes());
    let routes = routes.map_err(|e| NetworkError::Host { what: "routes", source: e.into() })?;
    choose(taken, &routes).ok_or(NetworkError::Exhausted)
}

fn choose(taken: &[Ipv4Net], routes: &[Route]) -> Option<Ipv4Net> {
    let routed: Vec<_> = routes.iter().filter_map(destination).collect();
    pools().find(|pool| !taken.iter().chain(&routed).any(|net| net.overlaps(pool)))
}

/// Where a route leads, unless it is a default route in disguise: VPNs halve 0.0.0.0/0 to take precedence.
fn destination(route: &Route) -> Option<Ipv4Net> {
    Ipv4Net::containing(route.destination, route.prefix).filter(|net| net.prefix() >= 8)
}

/// The MTU of the interface the default route uses, or 1500.
pub fn uplink_mtu() -> u32 {
    let find = || -> Result<Option<u32>, Error> {
        let socket = RouteSocket::open()?;
        let routes = socket.routes()?;
        let Some(index) = uplink(&routes) else { return Ok(None) };
        Ok(socket.links()?.into_iter().find(|link| link.index == index).map(|link| link.mtu))
    };
    // An uplink such as a loopback-like tunnel may claim 65536; Ethernet's frame is what a bridge is expected to have.
    find().ok().flatten().filter(|mtu| (68..=65535).contains(mtu)).unwrap_or(1500)
}

fn uplink(routes: &[Route]) -> Option<u32> {
    let defaults = routes.iter().filter(|route| route.prefix == 0 && route.table == u32::from(MAIN));
    defaults.min_by_key(|route| route.metric).and_then(|route| route.interface)
}

/// `RT_TABLE_MAIN`.
const MAIN: u8 = 254;

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str, interface: u32, metric: u32) -> Route {
        let net: Ipv4Net = text.parse().unwrap();
        Route {
            destination: net.network(),
            prefix: net.prefix(),
            interface: Some(interface),
            gateway: None,
            metric,
            table: 254,
            kind: 1,
        }
    }

    #[test]
    fn the_first_free_pool_is_chosen() {
        let check = |taken: &[&str], routes: &[&str], expected: Option<&str>| {
            let taken: Vec<Ipv4Net> = taken.iter().map(|net| net.parse().unwrap()).collect();
            let routes: Vec<_> = routes.iter().map(|net| route(net, 1, 0)).collect();
            assert_eq!(choose(&taken, &routes).map(|net| net.to_string()).as_deref(), expected);
        };
        check(&[], &[], Some("172.17.0.0/16"));
        check(
            &["172.17.0.0/24"],
            &["172.18.5.0/24", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"],
            Some("172.19.0.0/16"),
        );
        check(&["172.16.0.0/12"], &["192.168.1.0/24"], Some("192.168.16.0/20"));
        check(&["172.16.0.0/12"], &["192.168.0.0/16"], None);
    }

    #[test]
    fn the_uplink_is_the_default_route_that_wins() {
        let routes = [route("0.0.0.0/0", 3, 600), route("0.0.0.0/0", 2, 100), route("10.0.0.0/8", 1, 0)];
        assert_eq!(uplink(&routes), Some(2));
        assert_eq!(uplink(&routes[2..]), None);
    }
}
