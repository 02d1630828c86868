//! Gets our packets past the firewall that iptables keeps.
//!
//! A packet must be accepted by every table it meets, and Docker, ufw and others set the policy of iptables' FORWARD chain
//! to drop. So where that chain exists, as iptables-nft makes it, rules at its end accept what our bridges forward: after the
//! administrator's own rules, which keep the last word, and before the policy. What our own table drops stays dropped.

use rustix::io::Errno;
use sys::netlink::Error;
use sys::nftables::expr::Meta;
use sys::nftables::{Expr, Family, NftSocket, Transaction, Verdict, interface};

const FAMILY: Family = Family::Ipv4;
const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";
/// All bridges but those the user named: one pair of rules serves them all.
const PREFIX: &str = "hb-";

/// Accepts what comes from and goes to `bridge`, unless that was done before or there is no such firewall.
pub(super) fn admit(socket: &NftSocket, owner: &str, bridge: &str) -> Result<(), Error> {
    if !socket.has_chain(FAMILY, TABLE, CHAIN)? {
        return Ok(());
    }
    let comment = comment(owner, bridge);
    if socket.rules(FAMILY, TABLE, CHAIN)?.iter().any(|rule| rule.comment.as_ref() == Some(&comment)) {
        return Ok(());
    }
    let name = interface(bridge);
    let name = if bridge.starts_with(PREFIX) { PREFIX.as_bytes() } else { &name };
    let mut change = Transaction::new(FAMILY, TABLE);
    for key in [Meta::IifName, Meta::OifName] {
        let exprs = [
            Expr::Meta { key, to: 0 },
            Expr::Equal { register: 0, value: name },
            Expr::Verdict(Verdict::Accept),
        ];
        change.commented_rule(CHAIN, &exprs, &comment);
    }
    tolerate(socket.commit(change))
}

/// Takes back the rules for the bridge named by the user, or, without `bridge`, all rules of `owner`.
pub(super) fn forget(socket: &NftSocket, owner: &str, bridge: Option<&str>) -> Result<(), Error> {
    let ours = |found: &str| match bridge {
        Some(bridge) => !bridge.starts_with(PREFIX) && found == comment(owner, bridge),
        None => found.strip_prefix(owner).is_some_and(|rest| rest.starts_with(' ')),
    };
    let mut change = Transaction::new(FAMILY, TABLE);
    let mut found = false;
    for rule in socket.rules(FAMILY, TABLE, CHAIN)? {
        if rule.comment.as_deref().is_some_and(ours) {
            change.delete_rule(CHAIN, rule.handle);
            found = true;
        }
    }
    if found { tolerate(socket.commit(change)) } else { Ok(()) }
}

fn comment(owner: &str, bridge: &str) -> String {
    format!("{owner} {}", if bridge.starts_with(PREFIX) { PREFIX } else { bridge })
}

/// The firewall may be reloaded at any moment, or be kept by a program that lets nobody in: nothing to be done here.
fn tolerate(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::PERM) => Ok(()),
        result => result,
    }
}
