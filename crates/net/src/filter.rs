//! The packet filter: one nf_tables table per instance whose rules never change; networks and ports are elements.
//!
//! ```text
//! prerouting  raw     spoof      a bridge brings 127/8                                   drop
//! prerouting  dstnat  incoming   to an address of the host, not 127/8                    jump published
//! output      dstnat  outgoing   to an address of the host, 127/8 too                    jump published
//!                     published  (address,) protocol, port in a map                      dnat
//! forward     filter  forward    out to one of our bridges                               jump entering
//!                                in from an internal network                             drop
//!                     entering   established | same network with icc                     accept
//!                                from or to an internal network                          drop
//!                                dnat'ed (so published)                                  accept
//!                                anything else: unpublished ports, other networks        drop
//! postrouting srcnat  leaving    to a bridge, from 127/8 or (dnat'ed) from our subnets   masquerade
//!                                to elsewhere, from a masquerading subnet                masquerade
//! ```
//! `route_localnet` on the bridges lets the answers to a masqueraded 127.0.0.1 back in; it is why `spoof` exists. Incoming
//! packets to 127/8 are never dnat'ed, so a neighbour cannot reach a port published on 127.0.0.1: the kernel drops them as
//! martians. The second masquerade is the hairpin: without it a container would answer its neighbour directly, under an
//! address the neighbour did not ask. A second table, on the bridges, is described in `guard`.

mod foreign;
mod guard;

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use rustix::io::Errno;
use sys::netlink::Error;
use sys::nftables::expr::{Ct, DNATED, ESTABLISHED_OR_RELATED, Header, Meta};
use sys::nftables::{
    Base, Element, Expr, Family, Hook, NftSocket, Set, Transaction, Type, Verdict, fields, interface,
};

use crate::addr::Ipv4Net;
use crate::plan::{Context, EndpointPlan, NetworkPlan, Protocol, Published};

pub(crate) use guard::group;

/// Whether the kernel can keep containers from sending under each other's addresses.
pub fn can_guard() -> io::Result<bool> {
    guard::is_possible()
}

/// A change of the rules needs a new name for this set: its elements are what tells that a network's rules are in place.
const BRIDGES: Set = set("bridges", &[Type::Interface]);
const INTERNAL: Set = set("internal", &[Type::Interface]);
const ICC: Set = set("icc", &[Type::Interface, Type::Interface]);
const SUBNETS: Set = Set { interval: true, ..set("subnets", &[Type::Ipv4]) };
const MASQUERADE: Set = Set { interval: true, ..set("masquerade", &[Type::Ipv4]) };
const TARGET: &[Type] = &[Type::Ipv4, Type::Port];
const PUBLISHED: Set = Set { data: TARGET, ..set("published", &[Type::Protocol, Type::Port]) };
const PUBLISHED_AT: Set =
    Set { data: TARGET, ..set("published_at", &[Type::Ipv4, Type::Protocol, Type::Port]) };
const SETS: [Set; 7] = [BRIDGES, INTERNAL, ICC, SUBNETS, MASQUERADE, PUBLISHED, PUBLISHED_AT];

const fn set(name: &'static str, key: &'static [Type]) -> Set {
    Set { name, key, data: &[], interval: false }
}

/// Offsets in the IPv4 header, and of the destination port in TCP and UDP alike.
const SADDR: u32 = 12;
const DADDR: u32 = 16;
const DPORT: u32 = 2;

/// The table of one instance.
#[derive(Debug)]
pub(crate) struct Filter {
    socket: Rc<NftSocket>,
    table: String,
}

thread_local! {
    /// Kept open until the thread ends: closing such a socket waits for the kernel to dispose of what any transaction of
    /// the namespace has just removed, some 10 ms, and nobody should wait for that while a container stops. A thread that
    /// gets here is in the host's namespace, and leaves it only within [`crate::netns::inside`].
    static SOCKET: RefCell<Option<Rc<NftSocket>>> = const { RefCell::new(None) };
}

fn socket() -> io::Result<Rc<NftSocket>> {
    SOCKET.with_borrow_mut(|kept| match kept {
        Some(socket) => Ok(socket.clone()),
        None => Ok(kept.insert(Rc::new(NftSocket::open()?)).clone()),
    })
}

impl Filter {
    pub(crate) fn open(context: &Context) -> io::Result<Self> {
        Ok(Self { socket: socket()?, table: context.owner() })
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn exists(&self) -> Result<bool, Error> {
        self.socket.has_table(Family::Inet, &self.table)
    }

    /// Whether the rules and the network's elements are in place.
    pub(crate) fn knows(&self, plan: &NetworkPlan) -> Result<bool, Error> {
        self.socket.has_element(Family::Inet, &self.table, BRIDGES.name, &interface(&plan.bridge))
    }

    /// Makes the table where needed and adds the network's elements.
    pub(crate) fn ensure(&self, plan: &NetworkPlan) -> Result<(), Error> {
        let mut stale = Vec::new();
        for set in [SUBNETS, MASQUERADE] {
            let elements = self.socket.elements(Family::Inet, &self.table, set.name)?;
            stale.push((set, overlapping(&elements, plan.subnet)));
        }
        let mut change = self.transaction();
        rules(&mut change);
        for (set, elements) in stale.iter().filter(|(_, elements)| !elements.is_empty()) {
            change.remove(set.name, elements);
        }
        for (set, elements) in network_elements(plan) {
            change.add(set.name, &elements);
        }
        self.socket.commit(change)?;
        guard::ensure(&self.socket, &self.table)?;
        foreign::admit(&self.socket, &self.table, &plan.bridge)
    }

    /// Keeps the endpoint from sending under anybody else's address.
    pub(crate) fn bind(&self, endpoint: &EndpointPlan) -> Result<(), Error> {
        guard::bind(&self.socket, &self.table, endpoint)
    }

    /// Removes the network's elements, as many as there are.
    pub(crate) fn forget(&self, plan: &NetworkPlan) -> Result<(), Error> {
        for (set, elements) in network_elements(plan) {
            self.remove_each(set, &elements)?;
        }
        guard::forget(&self.socket, &self.table, plan.subnet)?;
        foreign::forget(&self.socket, &self.table, Some(&plan.bridge))
    }

    /// Removes the table and all that is in it.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let mut change = self.transaction();
        change.delete_table();
        gone(self.socket.commit(change))?;
        guard::remove(&self.socket, &self.table)?;
        foreign::forget(&self.socket, &self.table, None)
    }

    /// Sends each port to `address`. Whoever owned an element before has lost its socket, or we would not be here: replaced.
    pub(crate) fn add_ports(&self, address: Ipv4Addr, ports: &[Published]) -> Result<(), Error> {
        let mut change = self.transaction();
        for port in ports {
            let (set, element) = port_element(port, address);
            change.add_exclusive(set.name, &[element]);
        }
        match self.socket.commit(change) {
            Err(error) if error.is(Errno::EXIST) => {
                self.remove_ports(ports)?;
                let mut change = self.transaction();
                for port in ports {
                    let (set, element) = port_element(port, address);
                    change.add(set.name, &[element]);
                }
                self.socket.commit(change)
            }
            result => result,
        }
    }

    /// Removes the ports' elements; none of them missing is a failure.
    pub(crate) fn remove_ports(&self, ports: &[Published]) -> Result<(), Error> {
        let elements = |port| port_element(port, Ipv4Addr::UNSPECIFIED);
        let mut change = self.transaction();
        for port in ports {
            let (set, element) = elements(port);
            change.remove(set.name, &[element]);
        }
        match self.socket.commit(change) {
            Err(error) if error.is(Errno::NOENT) => {
                ports.iter().map(elements).try_for_each(|(set, element)| self.remove_each(set, &[element]))
            }
            result => result,
        }
    }

    /// Every published port and where it leads.
    pub(crate) fn ports(&self) -> Result<Vec<(Published, Ipv4Addr)>, Error> {
        let mut ports = Vec::new();
        for set in [PUBLISHED, PUBLISHED_AT] {
            let elements = self.socket.elements(Family::Inet, &self.table, set.name)?;
            ports.extend(elements.iter().filter_map(parse_port));
        }
        Ok(ports)
    }

    fn remove_each(&self, set: Set, elements: &[Element]) -> Result<(), Error> {
        let mut change = self.transaction();
        change.remove(set.name, elements);
        gone(self.socket.commit(change))
    }

    fn transaction(&self) -> Transaction<'_> {
        Transaction::new(Family::Inet, &self.table)
    }
}

/// What is gone already need not be removed.
fn gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn network_elements(plan: &NetworkPlan) -> Vec<(Set, Vec<Element>)> {
    let bridge = interface(&plan.bridge);
    let mut sets = vec![(BRIDGES, vec![key([&bridge])]), (SUBNETS, range(plan.subnet))];
    if plan.icc {
        sets.push((ICC, vec![key([&bridge, &bridge])]));
    }
    if plan.internal {
        sets.push((INTERNAL, vec![key([&bridge])]));
    } else if plan.masquerade {
        sets.push((MASQUERADE, range(plan.subnet)));
    }
    sets
}

fn key<const N: usize>(parts: [&[u8]; N]) -> Element {
    Element { key: fields(parts), ..Element::default() }
}

/// First address, and the first one behind.
fn range(subnet: Ipv4Net) -> Vec<Element> {
    let behind = subnet.broadcast().to_bits().checked_add(1).map(|bits| bits.to_be_bytes());
    let first = key([&subnet.network().octets()]);
    // A range up to the last address there is has no end element.
    std::iter::once(first).chain(behind.map(|end| Element { end: true, ..key([&end]) })).collect()
}

/// The elements of ranges in a set that overlap `subnet` and are not exactly it: left by a network that was not removed.
fn overlapping(elements: &[Element], subnet: Ipv4Net) -> Vec<Element> {
    let bits = |element: &Element| <[u8; 4]>::try_from(&element.key[..]).map_or(0, u32::from_be_bytes);
    let mut sorted: Vec<&Element> = elements.iter().collect();
    // Where one range ends and the next begins there are two elements with the same key.
    sorted.sort_by_key(|element| (bits(element), !element.end));
    let (first, last) = (subnet.network().to_bits(), subnet.broadcast().to_bits());
    let mut found = Vec::new();
    for (i, start) in sorted.iter().enumerate().filter(|(_, element)| !element.end) {
        let end = sorted.get(i + 1).filter(|element| element.end);
        let until = end.map_or(u32::MAX, |end| bits(end).wrapping_sub(1));
        if bits(start) <= last && first <= until && (bits(start), until) != (first, last) {
            found.push((*start).clone());
            found.extend(end.map(|end| (*end).clone()));
        }
    }
    found
}

fn port_element(port: &Published, address: Ipv4Addr) -> (Set, Element) {
    let (protocol, number) = ([port.protocol.number()], port.host_port.to_be_bytes());
    let data = fields([&address.octets()[..], &port.container_port.to_be_bytes()]);
    match port.host_ip {
        None => (PUBLISHED, Element { data, ..key([&protocol, &number]) }),
        Some(ip) => (PUBLISHED_AT, Element { data, ..key([&ip.octets(), &protocol, &number]) }),
    }
}

fn parse_port(element: &Element) -> Option<(Published, Ipv4Addr)> {
    let word = |bytes: &[u8], i: usize| <[u8; 4]>::try_from(bytes.get(4 * i..4 * i + 4)?).ok();
    let port = |bytes: &[u8], i: usize| word(bytes, i).map(|[high, low, ..]| u16::from_be_bytes([high, low]));
    let at = element.key.len().checked_sub(8)? / 4;
    let published = Published {
        host_ip: (at > 0).then(|| word(&element.key, 0).map(Ipv4Addr::from)).flatten(),
        host_port: port(&element.key, at + 1)?,
        container_port: port(&element.data, 1)?,
        protocol: if word(&element.key, at)?[0] == 17 { Protocol::Udp } else { Protocol::Tcp },
    };
    Some((published, word(&element.data, 0)?.into()))
}

/// The whole ruleset, as the module's header draws it. Flushing first makes it the same whatever was there.
fn rules(change: &mut Transaction<'_>) {
    change.ensure_table();
    SETS.iter().for_each(|set| change.ensure_set(set));
    let base = |kind, hook, priority| Some(Base { kind, hook, priority });
    let chains = [
        ("spoof", base("filter", Hook::Prerouting, -300)),
        ("incoming", base("nat", Hook::Prerouting, -100)),
        ("outgoing", base("nat", Hook::Output, -100)),
        ("published", None),
        ("forward", base("filter", Hook::Forward, 0)),
        ("entering", None),
        ("leaving", base("nat", Hook::Postrouting, 100)),
    ];
    chains.iter().for_each(|(name, base)| change.ensure_chain(name, *base));
    chains.iter().for_each(|(name, _)| change.flush_chain(name));

    let ipv4 = [Expr::Meta { key: Meta::NfProto, to: 0 }, Expr::Equal { register: 0, value: &[2] }];
    let load = |offset| Expr::Load { header: Header::Network, offset, len: 4, to: 4 };
    let class_a = Expr::Mask { register: 4, mask: &[255, 0, 0, 0] };
    let loopback = Expr::Equal { register: 4, value: &[127, 0, 0, 0] };
    let not_loopback = Expr::NotEqual { register: 4, value: &[127, 0, 0, 0] };
    let local = [
        Expr::DestinationType { to: 0 },
        // RTN_LOCAL, in the machine's byte order as the kernel stores it.
        Expr::Equal { register: 0, value: &2_u32.to_ne_bytes() },
    ];
    let iif = Expr::Meta { key: Meta::IifName, to: 0 };
    let oif = Expr::Meta { key: Meta::OifName, to: 0 };
    let is_in = |set: &Set, key| Expr::Lookup { set: set.name, key, to: None };
    let accept = Expr::Verdict(Verdict::Accept);
    let drop = Expr::Verdict(Verdict::Drop);
    let jump = |chain| Expr::Verdict(Verdict::Jump(chain));
    let ct_has = |key, mask: &'static [u8; 4]| {
        [
            Expr::Ct { key, to: 8 },
            Expr::Mask { register: 8, mask },
            Expr::NotEqual { register: 8, value: &[0; 4] },
        ]
    };
    const DNAT_MASK: [u8; 4] = DNATED.to_ne_bytes();
    const ESTABLISHED_MASK: [u8; 4] = ESTABLISHED_OR_RELATED.to_ne_bytes();
    let dnated = ct_has(Ct::Status, &DNAT_MASK);
    let established = ct_has(Ct::State, &ESTABLISHED_MASK);
    let target = Expr::Dnat { address: 8, port: 9 };
    let dport = |to| Expr::Load { header: Header::Transport, offset: DPORT, len: 2, to };
    let l4proto = |to| Expr::Meta { key: Meta::L4Proto, to };
    let mut rule = |chain, parts: &[&[Expr<'_>]]| change.rule(chain, &parts.concat());

    for offset in [DADDR, SADDR] {
        rule("spoof", &[&ipv4, &[load(offset), class_a, loopback, iif, is_in(&BRIDGES, 0), drop]]);
    }
    rule("incoming", &[&ipv4, &[load(DADDR), class_a, not_loopback], &local, &[jump("published")]]);
    rule("outgoing", &[&ipv4, &local, &[jump("published")]]);
    rule(
        "published",
        &[&[
            load(DADDR),
            l4proto(5),
            dport(6),
            Expr::Lookup { set: PUBLISHED_AT.name, key: 4, to: Some(8) },
            target,
        ]],
    );
    rule(
        "published",
        &[&[l4proto(0), dport(1), Expr::Lookup { set: PUBLISHED.name, key: 0, to: Some(8) }, target]],
    );

    rule("forward", &[&[oif, is_in(&BRIDGES, 0), jump("entering")]]);
    rule("forward", &[&[iif, is_in(&INTERNAL, 0), drop]]);
    rule("entering", &[&established, &[accept]]);
    rule("entering", &[&[iif, Expr::Meta { key: Meta::OifName, to: 4 }, is_in(&ICC, 0), accept]]);
    rule("entering", &[&[oif, is_in(&INTERNAL, 0), drop]]);
    rule("entering", &[&[iif, is_in(&INTERNAL, 0), drop]]);
    rule("entering", &[&dnated, &[accept]]);
    rule("entering", &[&[drop]]);

    let to_us = [oif, is_in(&BRIDGES, 0)];
    rule("leaving", &[&ipv4, &to_us, &[load(SADDR), class_a, loopback, Expr::Masquerade]]);
    rule("leaving", &[&ipv4, &to_us, &dnated, &[load(SADDR), is_in(&SUBNETS, 4), Expr::Masquerade]]);
    let elsewhere = [oif, Expr::NotIn { set: BRIDGES.name, key: 0 }];
    rule("leaving", &[&ipv4, &elsewhere, &[load(SADDR), is_in(&MASQUERADE, 4), Expr::Masquerade]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_back_as_they_were_written() {
        for host_ip in [None, Some(Ipv4Addr::LOCALHOST)] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let port = Published { host_ip, host_port: 8080, container_port: 80, protocol };
                let address = Ipv4Addr::new(172, 18, 0, 2);
                assert_eq!(parse_port(&port_element(&port, address).1), Some((port, address)));
            }
        }
    }

    #[test]
    fn only_other_ranges_that_overlap_are_stale() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let all: Vec<_> =
            ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/23", "255.0.0.0/8"].map(net).map(range).concat();
        let check = |subnet, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|text| range(net(text))).collect::<Vec<_>>().concat();
            assert_eq!(overlapping(&all, net(subnet)), expected, "{subnet}");
        };
        check("10.0.1.0/24", &[]);
        check("10.0.4.0/24", &[]);
        check("10.0.0.0/23", &["10.0.0.0/24", "10.0.1.0/24"]);
        check("10.0.3.0/24", &["10.0.2.0/23"]);
        check("255.1.0.0/16", &["255.0.0.0/8"]);
    }
}
