//! The instructions rules are made of. A rule goes on while its comparisons hold and ends at a verdict.
//!
//! Registers are numbered from 0 and hold four bytes; longer values fill the ones that follow.

use crate::netlink::Writer;

/// Numbers of <linux/netfilter/nf_tables.h>.
mod attr {
    pub const LIST_ELEM: u16 = 1;
    pub const EXPR_NAME: u16 = 1;
    pub const EXPR_DATA: u16 = 2;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    pub const NF_DROP: u32 = 0;
    pub const NF_ACCEPT: u32 = 1;
    pub const FIB_DADDR: u32 = 2;
    pub const FIB_ADDRTYPE: u32 = 3;
    pub const NAT_DNAT: u32 = 1;
    pub const LOOKUP_INVERT: u32 = 1;
    pub const PAYLOAD_CSUM_INET: u32 = 1;
    pub const CMP_EQ: u32 = 0;
    pub const CMP_NEQ: u32 = 1;
}

/// What is known about a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Meta {
    Oif = 5,
    IifName = 6,
    OifName = 7,
    NfProto = 15,
    L4Proto = 16,
    IifGroup = 21,
}

/// What connection tracking knows about a packet.
#[derive(Clone, Copy, Debug)]
pub enum Ct {
    State = 0,
    Status = 2,
}

/// `ct state established,related` as a mask of [`Ct::State`].
pub const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// `ct status dnat` as a mask of [`Ct::Status`].
pub const DNATED: u32 = 1 << 5;

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug)]
pub enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// How a rule ends.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    Accept,
    Drop,
    Return,
    Jump(&'a str),
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub enum Expr<'a> {
    /// Loads a property of the packet.
    Meta { key: Meta, to: u32 },
    /// Loads a property of its connection.
    Ct { key: Ct, to: u32 },
    /// Loads bytes of the packet.
    Load { header: Header, offset: u32, len: u32, to: u32 },
    /// Writes bytes into the packet and mends the checksum at `checksum` of the same header.
    Store { from: u32, header: Header, offset: u32, len: u32, checksum: u32 },
    /// Loads a constant.
    Constant { to: u32, value: &'a [u8] },
    /// Keeps the bits of a register that `mask` has.
    Mask { register: u32, mask: &'a [u8] },
    /// Goes on when the register holds `value`.
    Equal { register: u32, value: &'a [u8] },
    /// Goes on when the register does not hold `value`.
    NotEqual { register: u32, value: &'a [u8] },
    /// Goes on when the key is in the set; `to` receives the data of a map.
    Lookup { set: &'a str, key: u32, to: Option<u32> },
    /// Goes on when the key is not in the set.
    NotIn { set: &'a str, key: u32 },
    /// Loads the type of the destination address (`RTN_LOCAL`, ...).
    DestinationType { to: u32 },
    /// Sends the connection to the IPv4 address and port in these registers.
    Dnat { address: u32, port: u32 },
    /// Sends the connection out under the address of the interface it leaves by.
    Masquerade,
    /// Ends the rule.
    Verdict(Verdict<'a>),
}

impl Expr<'_> {
    pub(super) fn encode(&self, w: &mut Writer<'_>) {
        match *self {
            Self::Meta { key, to } => expr(w, "meta", |w| {
                w.be32(2, key as u32).be32(1, register(to));
            }),
            Self::Ct { key, to } => expr(w, "ct", |w| {
                w.be32(2, key as u32).be32(1, register(to));
            }),
            Self::Load { header, offset, len, to } => expr(w, "payload", |w| {
                w.be32(1, register(to)).be32(2, header as u32).be32(3, offset).be32(4, len);
            }),
            Self::Store { from, header, offset, len, checksum } => expr(w, "payload", |w| {
                w.be32(5, register(from)).be32(2, header as u32).be32(3, offset).be32(4, len);
                w.be32(6, attr::PAYLOAD_CSUM_INET).be32(7, checksum);
            }),
            Self::Constant { to, value } => expr(w, "immediate", |w| {
                w.be32(1, register(to)).nest(2, |w| {
                    w.attribute(attr::DATA_VALUE, value);
                });
            }),
            Self::Mask { register: r, mask } => expr(w, "bitwise", |w| {
                w.be32(1, register(r)).be32(2, register(r)).be32(3, mask.len() as u32);
                data(w, 4, mask);
                data(w, 5, &vec![0; mask.len()]);
            }),
            Self::Equal { register: r, value } => compare(w, r, attr::CMP_EQ, value),
            Self::NotEqual { register: r, value } => compare(w, r, attr::CMP_NEQ, value),
            Self::Lookup { set, key, to } => expr(w, "lookup", |w| {
                w.string(1, set).be32(2, register(key));
                if let Some(to) = to {
                    w.be32(3, register(to));
                }
            }),
            Self::NotIn { set, key } => expr(w, "lookup", |w| {
                w.string(1, set).be32(2, register(key)).be32(5, attr::LOOKUP_INVERT);
            }),
            Self::DestinationType { to } => expr(w, "fib", |w| {
                w.be32(1, register(to)).be32(2, attr::FIB_ADDRTYPE).be32(3, attr::FIB_DADDR);
            }),
            Self::Dnat { address, port } => expr(w, "nat", |w| {
                w.be32(1, attr::NAT_DNAT).be32(2, libc::NFPROTO_IPV4 as u32);
                w.be32(3, register(address)).be32(5, register(port));
            }),
            Self::Masquerade => expr(w, "masq", |_| {}),
            Self::Verdict(verdict) => expr(w, "immediate", |w| {
                w.be32(1, libc::NFT_REG_VERDICT as u32).nest(2, |w| {
                    w.nest(attr::DATA_VERDICT, |w| {
                        let (code, chain) = match verdict {
                            Verdict::Drop => (attr::NF_DROP, None),
                            Verdict::Accept => (attr::NF_ACCEPT, None),
                            Verdict::Return => (libc::NFT_RETURN as u32, None),
                            Verdict::Jump(chain) => (libc::NFT_JUMP as u32, Some(chain)),
                        };
                        w.be32(attr::VERDICT_CODE, code);
                        if let Some(chain) = chain {
                            w.string(attr::VERDICT_CHAIN, chain);
                        }
                    });
                });
            }),
        }
    }
}

fn compare(w: &mut Writer<'_>, r: u32, operator: u32, value: &[u8]) {
    expr(w, "cmp", |w| {
        w.be32(1, register(r)).be32(2, operator);
        data(w, 3, value);
    });
}

fn data(w: &mut Writer<'_>, kind: u16, value: &[u8]) {
    w.nest(kind, |w| {
        w.attribute(attr::DATA_VALUE, value);
    });
}

fn expr(w: &mut Writer<'_>, name: &str, fill: impl FnOnce(&mut Writer<'_>)) {
    w.nest(attr::LIST_ELEM, |w| {
        w.string(attr::EXPR_NAME, name).nest(attr::EXPR_DATA, fill);
    });
}

fn register(number: u32) -> u32 {
    libc::NFT_REG32_00 as u32 + number
}
