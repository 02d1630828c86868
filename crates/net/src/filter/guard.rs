//! Keeps a container from sending under anybody else's address, in a table of its own on the bridges.
//!
//! ```text
//! bridge prerouting  arriving  a veth of ours, its group in `known`                            jump checked
//!                    checked   IPv4, (group, source MAC, source) in `owners`                   return
//!                              ARP, (group, source MAC, sender) and (…, sender's MAC, …) in it return
//!                              anything else: other addresses, VLANs, other protocols          drop
//! ```
//! A veth's group is its endpoint's address, so that the elements say nothing about interfaces: they are the same at the
//! endpoint's next start, and one that nobody has is without effect. Endpoints that may forge are of group 0.
//!
//! Where somebody else flushed the table, endpoints are unguarded until they are attached again; they are never cut off.

use std::io;
use std::net::Ipv4Addr;

use rustix::io::Errno;
use sys::netlink::Error;
use sys::nftables::expr::{Header, Meta};
use sys::nftables::{Base, Element, Expr, Family, Hook, NftSocket, Set, Transaction, Type, Verdict};

use super::{gone, key, set};
use crate::addr::Ipv4Net;
use crate::plan::EndpointPlan;

const FAMILY: Family = Family::Bridge;
const KNOWN: Set = set("known", &[Type::Ipv4]);
const OWNERS: Set = set("owners", &[Type::Ipv4, Type::Ethernet, Type::Ipv4]);

/// Offsets in the Ethernet header, the ARP packet and the IPv4 header.
const SOURCE_MAC: u32 = 6;
const ETHER_TYPE: u32 = 12;
const ARP_SENDER_MAC: u32 = 8;
const ARP_SENDER: u32 = 14;
const IPV4_SOURCE: u32 = 12;

/// The group of the veth of the endpoint with this address. In memory it is the address as packets carry it.
pub(crate) fn group(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Makes the table unless the kernel cannot filter on bridges, which [`is_possible`] tells.
pub(super) fn ensure(socket: &NftSocket, table: &str) -> Result<(), Error> {
    let mut change = Transaction::new(FAMILY, table);
    rules(&mut change);
    without_support(socket.commit(change))
}

/// Binds the endpoint's veth to its addresses.
pub(super) fn bind(socket: &NftSocket, table: &str, endpoint: &EndpointPlan) -> Result<(), Error> {
    if endpoint.may_forge {
        return Ok(());
    }
    let (address, mac) = (endpoint.address.octets(), endpoint.mac.0);
    let add = || {
        let mut change = Transaction::new(FAMILY, table);
        change.add(KNOWN.name, &[key([&address])]);
        change.add(OWNERS.name, &[key([&address, &mac, &address])]);
        socket.commit(change)
    };
    match add() {
        Err(error) if error.is(Errno::NOENT) => {
            ensure(socket, table)?;
            without_support(add())
        }
        result => without_support(result),
    }
}

/// Removes the elements of a network's addresses.
pub(super) fn forget(socket: &NftSocket, table: &str, subnet: Ipv4Net) -> Result<(), Error> {
    for set in [KNOWN, OWNERS] {
        let mut elements = match socket.elements(FAMILY, table, set.name) {
            Err(error) if unsupported(&error) => return Ok(()),
            elements => elements?,
        };
        elements.retain(|element| address(element).is_some_and(|address| subnet.contains(address)));
        if !elements.is_empty() {
            let mut change = Transaction::new(FAMILY, table);
            change.remove(set.name, &elements);
            gone(socket.commit(change))?;
        }
    }
    Ok(())
}

/// Removes the table.
pub(super) fn remove(socket: &NftSocket, table: &str) -> Result<(), Error> {
    let mut change = Transaction::new(FAMILY, table);
    change.delete_table();
    without_support(gone(socket.commit(change)))
}

/// Whether the kernel can do this.
pub(super) fn is_possible() -> io::Result<bool> {
    match NftSocket::open()?.tables(FAMILY) {
        Ok(_) => Ok(true),
        Err(error) if unsupported(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn address(element: &Element) -> Option<Ipv4Addr> {
    element.key.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

fn unsupported(error: &Error) -> bool {
    error.is(Errno::AFNOSUPPORT) || error.is(Errno::OPNOTSUPP)
}

/// A kernel without filters on bridges runs containers all the same; `info` tells.
fn without_support(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if unsupported(&error) => Ok(()),
        result => result,
    }
}

fn rules(change: &mut Transaction<'_>) {
    change.ensure_table();
    [KNOWN, OWNERS].iter().for_each(|set| change.ensure_set(set));
    let base = Base { kind: "filter", hook: Hook::Prerouting, priority: -300 };
    let chains = [("arriving", Some(base)), ("checked", None)];
    chains.iter().for_each(|(name, base)| change.ensure_chain(name, *base));
    chains.iter().for_each(|(name, _)| change.flush_chain(name));

    let group = Expr::Meta { key: Meta::IifGroup, to: 0 };
    // An Ethernet address fills two registers.
    let mac = |header, offset| Expr::Load { header, offset, len: 6, to: 1 };
    let ip = |offset| Expr::Load { header: Header::Network, offset, len: 4, to: 3 };
    let is_owner = Expr::Lookup { set: OWNERS.name, key: 0, to: None };
    let protocol = |value| {
        [
            Expr::Load { header: Header::Link, offset: ETHER_TYPE, len: 2, to: 8 },
            Expr::Equal { register: 8, value },
        ]
    };
    let verdict = |verdict| [Expr::Verdict(verdict)];
    let mut rule = |chain, parts: &[&[Expr<'_>]]| change.rule(chain, &parts.concat());

    rule(
        "arriving",
        &[
            &[
                Expr::Meta { key: Meta::IifName, to: 4 },
                Expr::Equal { register: 4, value: b"hv-" },
                group,
                Expr::Lookup { set: KNOWN.name, key: 0, to: None },
            ],
            &verdict(Verdict::Jump("checked")),
        ],
    );
    rule(
        "checked",
        &[
            &protocol(&[0x08, 0x00]),
            &[group, mac(Header::Link, SOURCE_MAC), ip(IPV4_SOURCE), is_owner],
            &verdict(Verdict::Return),
        ],
    );
    rule(
        "checked",
        &[
            &protocol(&[0x08, 0x06]),
            &[group, mac(Header::Link, SOURCE_MAC), ip(ARP_SENDER), is_owner],
            &[mac(Header::Network, ARP_SENDER_MAC), is_owner],
            &verdict(Verdict::Return),
        ],
    );
    rule("checked", &[&verdict(Verdict::Drop)]);
}
