//! Leads port 53 of 127.0.0.11 to where the server really listens.
//!
//! The server could bind port 53 itself, but then a container that is itself a name server could not bind 0.0.0.0:53: the
//! kernel gives a UDP port to one socket. Docker binds a random port and redirects with NAT, which makes the kernel track
//! every connection of the container. Both ends of this traffic are in one namespace, so rewriting ports as packets leave
//! is enough: two rules for each protocol, no connection tracking, and one comparison for packets that leave the container.

use sys::netlink::Error;
use sys::nftables::expr::{Header, Meta};
use sys::nftables::{Base, Expr, Family, Hook, NftSocket, Transaction, Verdict};

use super::ADDRESS;
use crate::plan::Protocol;

const TABLE: &str = "hull-dns";
const CHAIN: &str = "output";
/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;
/// Offsets in the IPv4, TCP and UDP headers.
const SADDR: u32 = 12;
const DADDR: u32 = 16;
const SPORT: u32 = 0;
const DPORT: u32 = 2;

/// Installs the rules in this thread's namespace, in place of earlier ones.
pub(super) fn install(udp: u16, tcp: u16) -> Result<(), Error> {
    let mut change = Transaction::new(Family::Ipv4, TABLE);
    change.ensure_table();
    // Before connection tracking, should the container use it.
    change.ensure_chain(CHAIN, Some(Base { kind: "filter", hook: Hook::Output, priority: -400 }));
    change.flush_chain(CHAIN);
    change.rule(
        CHAIN,
        &[
            Expr::Meta { key: Meta::Oif, to: 0 },
            Expr::NotEqual { register: 0, value: &LOOPBACK.to_ne_bytes() },
            Expr::Verdict(Verdict::Accept),
        ],
    );
    for (protocol, port, checksum) in [(Protocol::Udp, udp, 6), (Protocol::Tcp, tcp, 16)] {
        rewrite(&mut change, (protocol, checksum), (DADDR, DPORT), 53, port);
        rewrite(&mut change, (protocol, checksum), (SADDR, SPORT), port, 53);
    }
    NftSocket::open()?.commit(change)
}

fn rewrite(
    change: &mut Transaction<'_>,
    (protocol, checksum): (Protocol, u32),
    (address, port): (u32, u32),
    from: u16,
    to: u16,
) {
    let load = |header, offset, len| Expr::Load { header, offset, len, to: 0 };
    change.rule(
        CHAIN,
        &[
            load(Header::Network, address, 4),
            Expr::Equal { register: 0, value: &ADDRESS.octets() },
            Expr::Meta { key: Meta::L4Proto, to: 0 },
            Expr::Equal { register: 0, value: &[protocol.number()] },
            load(Header::Transport, port, 2),
            Expr::Equal { register: 0, value: &from.to_be_bytes() },
            Expr::Constant { to: 0, value: &to.to_be_bytes() },
            Expr::Store { from: 0, header: Header::Transport, offset: port, len: 2, checksum },
        ],
    );
}
