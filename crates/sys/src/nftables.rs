//! nf_tables over nfnetlink: tables, chains, sets, maps and rules, changed in transactions; no program, no library.
//!
//! A [`Transaction`] collects changes of one table; [`NftSocket::commit`] makes all of them or none, in about 4 us for an
//! element. Rules are lists of [`Expr`], the kernel's own instructions: see [`expr`].

pub mod expr;

use std::io;

use rustix::io::Errno;

use crate::netlink::{Attributes, Batch, Error, Protocol, Socket, Writer};

pub use expr::{Expr, Verdict};

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// Attribute numbers of <linux/netfilter/nf_tables.h>.
mod attr {
    pub const TABLE_NAME: u16 = 1;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;
    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LEN: u16 = 5;
    pub const SET_DATA_TYPE: u16 = 6;
    pub const SET_DATA_LEN: u16 = 7;
    pub const SET_ID: u16 = 10;
    pub const LIST_TABLE: u16 = 1;
    pub const LIST_SET: u16 = 2;
    pub const LIST_ELEMENTS: u16 = 3;
    pub const LIST_ELEM: u16 = 1;
    pub const ELEM_KEY: u16 = 1;
    pub const ELEM_DATA: u16 = 2;
    pub const ELEM_FLAGS: u16 = 3;
    pub const DATA_VALUE: u16 = 1;
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Inet,
    Ipv4,
    Bridge,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => libc::NFPROTO_IPV4 as u8,
            Self::Bridge => libc::NFPROTO_BRIDGE as u8,
        }
    }
}

/// Where in the packet's way a chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// `filter`, `nat` or `route`.
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
}

/// The type of a field of a key or of data, as `nft list` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Ipv4,
    Ethernet,
    Protocol,
    Port,
    Interface,
}

impl Type {
    /// The number `nft` knows the type by; the kernel only stores it.
    fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ethernet => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    /// Bytes in a key: fields of a concatenation fill whole registers.
    fn len(self) -> u32 {
        match self {
            Self::Interface => 16,
            Self::Ethernet => 8,
            Self::Ipv4 | Self::Protocol | Self::Port => 4,
        }
    }
}

/// A set, or a map when it has data.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    pub name: &'static str,
    pub key: &'static [Type],
    pub data: &'static [Type],
    /// Elements are ranges: an element starts one, an element marked [`Element::end`] ends it.
    pub interval: bool,
}

/// An element of a set, or an entry of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub key: Vec<u8>,
    /// Empty in a set.
    pub data: Vec<u8>,
    /// The first key behind a range.
    pub end: bool,
}

/// Builds a key or data from fields, each padded to whole registers.
pub fn fields<const N: usize>(fields: [&[u8]; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// An interface name as keys hold it.
pub fn interface(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}

/// Changes of one table that are made together.
#[derive(Debug)]
pub struct Transaction<'a> {
    batch: Batch,
    family: Family,
    table: &'a str,
}

impl<'a> Transaction<'a> {
    pub fn new(family: Family, table: &'a str) -> Self {
        let mut batch = Batch::new();
        batch.set_transaction();
        batch.message(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, |w| {
            w.raw(&nfgenmsg(0, libc::NFNL_SUBSYS_NFTABLES as u16));
        });
        Self { batch, family, table }
    }

    fn push(&mut self, kind: i32, flags: u16, fill: impl FnOnce(&mut Writer<'_>, &str)) {
        let (family, table) = (self.family.number(), self.table);
        self.batch.message(message(kind), flags, |w| {
            w.raw(&nfgenmsg(family, 0));
            fill(w, table);
        });
    }

    /// Makes the table unless it exists.
    pub fn ensure_table(&mut self) {
        self.push(libc::NFT_MSG_NEWTABLE, CREATE, |w, table| {
            w.string(attr::TABLE_NAME, table);
        });
        self.batch.label(format!("table {}", self.table));
    }

    /// Removes the table and everything in it.
    pub fn delete_table(&mut self) {
        self.push(libc::NFT_MSG_DELTABLE, 0, |w, table| {
            w.string(attr::TABLE_NAME, table);
        });
    }

    /// Makes the chain unless it exists; without `base` only other chains lead to it.
    pub fn ensure_chain(&mut self, name: &str, base: Option<Base>) {
        self.push(libc::NFT_MSG_NEWCHAIN, CREATE, |w, table| {
            w.string(attr::CHAIN_TABLE, table).string(attr::CHAIN_NAME, name);
            if let Some(base) = base {
                w.nest(attr::CHAIN_HOOK, |w| {
                    w.be32(attr::HOOK_NUMBER, base.hook as u32);
                    w.be32(attr::HOOK_PRIORITY, base.priority as u32);
                });
                // Whatever no rule decides is none of ours.
                w.be32(attr::CHAIN_POLICY, libc::NF_ACCEPT as u32).string(attr::CHAIN_TYPE, base.kind);
            }
        });
        self.batch.label(format!("chain {name}"));
    }

    /// Removes every rule of the chain.
    pub fn flush_chain(&mut self, name: &str) {
        self.push(libc::NFT_MSG_DELRULE, 0, |w, table| {
            w.string(attr::RULE_TABLE, table).string(attr::RULE_CHAIN, name);
        });
    }

    /// Makes the set or map unless it exists.
    pub fn ensure_set(&mut self, set: &Set) {
        let sum = |types: &[Type]| types.iter().map(|t| t.len()).sum();
        let concat = |types: &[Type]| types.iter().fold(0, |sum, t| sum << 6 | t.number());
        let map = !set.data.is_empty();
        let flags = (if set.interval { libc::NFT_SET_INTERVAL } else { 0 })
            | (if map { libc::NFT_SET_MAP } else { 0 });
        self.push(libc::NFT_MSG_NEWSET, CREATE, |w, table| {
            w.string(attr::SET_TABLE, table)
                .string(attr::SET_NAME, set.name)
                .be32(attr::SET_FLAGS, flags as u32);
            w.be32(attr::SET_KEY_TYPE, concat(set.key))
                .be32(attr::SET_KEY_LEN, sum(set.key))
                .be32(attr::SET_ID, 1);
            if map {
                w.be32(attr::SET_DATA_TYPE, concat(set.data)).be32(attr::SET_DATA_LEN, sum(set.data));
            }
        });
        self.batch.label(format!("set {}", set.name));
    }

    /// Appends a rule to the chain.
    pub fn rule(&mut self, chain: &str, exprs: &[Expr<'_>]) {
        self.rule_with(chain, exprs, &[]);
    }

    /// Appends a rule to the chain; `comment` tells whose it is, where the chain is another's.
    pub fn commented_rule(&mut self, chain: &str, exprs: &[Expr<'_>], comment: &str) {
        self.rule_with(chain, exprs, &comment_data(comment));
    }

    fn rule_with(&mut self, chain: &str, exprs: &[Expr<'_>], userdata: &[u8]) {
        self.push(libc::NFT_MSG_NEWRULE, CREATE | APPEND, |w, table| {
            w.string(attr::RULE_TABLE, table).string(attr::RULE_CHAIN, chain);
            w.nest(attr::RULE_EXPRESSIONS, |w| exprs.iter().for_each(|expr| expr.encode(w)));
            if !userdata.is_empty() {
                w.attribute(attr::RULE_USERDATA, userdata);
            }
        });
        self.batch.label(format!("rule in chain {chain}"));
    }

    /// Removes the rule `handle` of the chain.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        self.push(libc::NFT_MSG_DELRULE, 0, |w, table| {
            w.string(attr::RULE_TABLE, table).string(attr::RULE_CHAIN, chain);
            w.attribute(attr::RULE_HANDLE, &handle.to_be_bytes());
        });
    }

    /// Adds elements; `EEXIST` when one exists with other data.
    pub fn add(&mut self, set: &str, elements: &[Element]) {
        self.elements(libc::NFT_MSG_NEWSETELEM, CREATE, set, elements);
    }

    /// Adds elements; `EEXIST` when one exists at all.
    pub fn add_exclusive(&mut self, set: &str, elements: &[Element]) {
        self.elements(libc::NFT_MSG_NEWSETELEM, CREATE | EXCLUSIVE, set, elements);
    }

    /// Removes elements by key; `ENOENT` when one does not exist.
    pub fn remove(&mut self, set: &str, elements: &[Element]) {
        self.elements(libc::NFT_MSG_DELSETELEM, 0, set, elements);
    }

    fn elements(&mut self, kind: i32, flags: u16, set: &str, elements: &[Element]) {
        self.push(kind, flags, |w, table| {
            w.string(attr::LIST_TABLE, table).string(attr::LIST_SET, set).nest(attr::LIST_ELEMENTS, |w| {
                for element in elements {
                    w.nest(attr::LIST_ELEM, |w| {
                        if element.end {
                            w.be32(attr::ELEM_FLAGS, libc::NFT_SET_ELEM_INTERVAL_END as u32);
                        }
                        w.nest(attr::ELEM_KEY, |w| {
                            w.attribute(attr::DATA_VALUE, &element.key);
                        });
                        if !element.data.is_empty() && kind == libc::NFT_MSG_NEWSETELEM {
                            w.nest(attr::ELEM_DATA, |w| {
                                w.attribute(attr::DATA_VALUE, &element.data);
                            });
                        }
                    });
                }
            });
        });
        self.batch.label(format!("element of set {set}"));
    }
}

/// A rule, as far as hull reads rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub handle: u64,
    pub comment: Option<String>,
}

/// A socket for the namespace of the thread that opened it.
#[derive(Debug)]
pub struct NftSocket {
    socket: Socket,
}

impl NftSocket {
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Netfilter)? })
    }

    /// Makes all changes of the transaction or none; the error names the object refused.
    pub fn commit(&self, mut transaction: Transaction<'_>) -> Result<(), Error> {
        transaction.batch.acknowledge();
        transaction.batch.message(libc::NFNL_MSG_BATCH_END as u16, 0, |w| {
            w.raw(&nfgenmsg(0, libc::NFNL_SUBSYS_NFTABLES as u16));
        });
        self.socket.transact(&transaction.batch)
    }

    /// Whether the table exists.
    pub fn has_table(&self, family: Family, table: &str) -> Result<bool, Error> {
        let mut batch = Batch::new();
        batch.message(message(libc::NFT_MSG_GETTABLE), 0, |w| {
            w.raw(&nfgenmsg(family.number(), 0)).string(attr::TABLE_NAME, table);
        });
        self.found(batch)
    }

    /// Whether the set has an element with this key; not when set or table do not exist.
    pub fn has_element(&self, family: Family, table: &str, set: &str, key: &[u8]) -> Result<bool, Error> {
        let mut batch = Batch::new();
        batch.message(message(libc::NFT_MSG_GETSETELEM), 0, |w| {
            w.raw(&nfgenmsg(family.number(), 0)).string(attr::LIST_TABLE, table).string(attr::LIST_SET, set);
            w.nest(attr::LIST_ELEMENTS, |w| {
                w.nest(attr::LIST_ELEM, |w| {
                    w.nest(attr::ELEM_KEY, |w| {
                        w.attribute(attr::DATA_VALUE, key);
                    });
                });
            });
        });
        self.found(batch)
    }

    fn found(&self, mut batch: Batch) -> Result<bool, Error> {
        batch.acknowledge();
        match self.socket.transact(&batch) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The names of all tables of a family.
    pub fn tables(&self, family: Family) -> Result<Vec<String>, Error> {
        self.dump(family, libc::NFT_MSG_GETTABLE, |_| {}, |attributes| attributes.string(attr::TABLE_NAME))
    }

    /// The elements of a set; none when set or table do not exist.
    pub fn elements(&self, family: Family, table: &str, set: &str) -> Result<Vec<Element>, Error> {
        let lists = self.dump(
            family,
            libc::NFT_MSG_GETSETELEM,
            |w| {
                w.string(attr::LIST_TABLE, table).string(attr::LIST_SET, set);
            },
            |attributes| {
                Some(attributes.nested(attr::LIST_ELEMENTS).filter_map(parse_element).collect::<Vec<_>>())
            },
        )?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Whether the chain exists.
    pub fn has_chain(&self, family: Family, table: &str, chain: &str) -> Result<bool, Error> {
        let mut batch = Batch::new();
        batch.message(message(libc::NFT_MSG_GETCHAIN), 0, |w| {
            w.raw(&nfgenmsg(family.number(), 0))
                .string(attr::CHAIN_TABLE, table)
                .string(attr::CHAIN_NAME, chain);
        });
        self.found(batch)
    }

    /// The rules of a chain; none when chain or table do not exist.
    pub fn rules(&self, family: Family, table: &str, chain: &str) -> Result<Vec<Rule>, Error> {
        self.dump(
            family,
            libc::NFT_MSG_GETRULE,
            |w| {
                w.string(attr::RULE_TABLE, table).string(attr::RULE_CHAIN, chain);
            },
            |attributes| {
                let handle = u64::from_be_bytes(attributes.get(attr::RULE_HANDLE)?.try_into().ok()?);
                Some(Rule { handle, comment: attributes.get(attr::RULE_USERDATA).and_then(parse_comment) })
            },
        )
    }

    fn dump<T>(
        &self,
        family: Family,
        kind: i32,
        fill: impl FnOnce(&mut Writer<'_>),
        parse: impl Fn(Attributes<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut batch = Batch::new();
        batch.message(message(kind), DUMP, |w| {
            w.raw(&nfgenmsg(family.number(), 0));
            fill(w);
        });
        let mut found = Vec::new();
        match self.socket.exchange(&batch, |_, payload| {
            found.extend(payload.get(4..).map(Attributes::new).and_then(&parse));
            Ok(())
        }) {
            Err(error) if error.is(Errno::NOENT) => Ok(Vec::new()),
            result => result.map(|()| found),
        }
    }
}

fn message(kind: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | kind as u16
}

/// `nfgenmsg`: family, version 0, resource in network byte order.
fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn parse_element((_, bytes): (u16, &[u8])) -> Option<Element> {
    let attributes = Attributes::new(bytes);
    let value = |kind| attributes.nested(kind).get(attr::DATA_VALUE).map(<[u8]>::to_vec);
    Some(Element {
        key: value(attr::ELEM_KEY)?,
        data: value(attr::ELEM_DATA).unwrap_or_default(),
        end: attributes.be32(attr::ELEM_FLAGS).unwrap_or_default() & libc::NFT_SET_ELEM_INTERVAL_END as u32
            != 0,
    })
}

/// A comment as `nft` stores it: type 0, length, text with its terminator.
fn comment_data(comment: &str) -> Vec<u8> {
    let len = comment.len().min(127);
    [&[0, len as u8 + 1], &comment.as_bytes()[..len], &[0]].concat()
}

fn parse_comment(userdata: &[u8]) -> Option<String> {
    let (&[kind, len], rest) = userdata.split_first_chunk()?;
    let text = rest.get(..usize::from(len).checked_sub(1)?)?;
    (kind == 0).then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fill_whole_registers() {
        assert_eq!(fields([&[6], &443_u16.to_be_bytes()]), [6, 0, 0, 0, 1, 187, 0, 0]);
        assert_eq!(&interface("hb-0123456789a")[..15], b"hb-0123456789a\0");
    }

    #[test]
    fn comments_round_trip() {
        assert_eq!(parse_comment(&comment_data("hull-01234567")).as_deref(), Some("hull-01234567"));
        for bytes in [&[][..], &[0], &[0, 0], &[0, 9, 1], &[1, 1, 0]] {
            assert_eq!(parse_comment(bytes), None, "{bytes:?}");
        }
    }
}
