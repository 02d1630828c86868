//! rtnetlink: links, addresses and routes of the namespace the socket was opened in; see rtnetlink(7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::{Attributes, Batch, Error, Protocol, Socket, Writer};

const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const UP: u32 = libc::IFF_UP as u32;
/// Bytes of `ifinfomsg`, `ifaddrmsg` and `rtmsg`.
const IFINFO: usize = 16;
const IFADDR: usize = 8;
const RTMSG: usize = 12;

/// Attribute numbers of <linux/if_link.h> and <linux/veth.h> that libc lacks.
mod attr {
    pub const IFLA_NUM_TX_QUEUES: u16 = 31;
    pub const IFLA_NUM_RX_QUEUES: u16 = 32;
    pub const IFLA_INFO_SLAVE_KIND: u16 = 4;
    pub const IFLA_INFO_SLAVE_DATA: u16 = 5;
    pub const IFLA_BR_MCAST_SNOOPING: u16 = 23;
    pub const IFLA_BRPORT_MODE: u16 = 4;
    pub const IFLA_BRPORT_LEARNING: u16 = 8;
    pub const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
    pub const IFLA_BRPORT_FLUSH: u16 = 24;
    pub const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
    pub const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
    pub const IFLA_BRPORT_ISOLATED: u16 = 33;
    pub const VETH_INFO_PEER: u16 = 1;
    pub const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
}

/// One change to the namespace's links, addresses and routes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Makes a bridge, which is down at first. A fixed `mac` keeps it from changing with every port.
    CreateBridge { name: &'a str, mac: [u8; 6], mtu: u32 },
    /// Sets the free text an interface carries; not possible while making it.
    Alias { name: &'a str, alias: &'a str },
    /// Makes a pair: `name` here, up, as a port of `bridge`; `peer` in `netns`, down.
    ///
    /// Making the peer where it stays avoids a move between namespaces, which waits for RCU. One queue is what one
    /// container can use, and 0.15 ms cheaper than one per CPU. `group` is a number of the caller's choice that packet filters
    /// can tell the interface by; 0 is everybody's.
    CreateVeth {
        name: &'a str,
        bridge: u32,
        group: u32,
        mtu: u32,
        peer: &'a str,
        peer_mac: [u8; 6],
        netns: BorrowedFd<'a>,
    },
    /// Forbids a bridge port to talk to other isolated ports, or lets frames leave by the port they came from.
    Port { name: &'a str, isolated: bool, hairpin: bool },
    /// Lets nothing reach a bridge port any more: what is behind it is forgotten, and nothing is flooded there. Unlike taking it
    /// off the bridge it waits for nobody, and unlike its state the bridge does not change it back.
    ClosePort { name: &'a str },
    /// Brings an interface up.
    Up { index: u32 },
    /// Moves an interface, which is down then and without addresses, to another namespace and names it there; a `%d` in the
    /// name is filled with the first number that is free.
    Move { index: u32, netns: BorrowedFd<'a>, name: &'a str },
    /// Sets an interface's MTU.
    Mtu { name: &'a str, mtu: u32 },
    /// Gives an interface an address; no failure when it has it already.
    AddAddress { index: u32, address: Ipv4Addr, prefix: u8, broadcast: Ipv4Addr },
    /// Takes an address away.
    DeleteAddress { index: u32, address: Ipv4Addr, prefix: u8 },
    /// Adds the default route; replaces the one there is.
    DefaultRoute { gateway: Ipv4Addr },
    /// Adds an onlink route to a network without a gateway.
    LinkRoute { index: u32, network: Ipv4Addr, prefix: u8 },
    /// Removes an interface. Waits about 15 ms for RCU: never while somebody waits for a container.
    DeleteLink { name: &'a str },
}

/// An interface, as dumps describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `bridge`, `veth`, ...; empty for hardware.
    pub kind: String,
    /// The bridge this is a port of.
    pub master: Option<u32>,
    pub up: bool,
    pub mtu: u32,
    pub alias: Option<String>,
    pub mac: Option<[u8; 6]>,
}

/// An IPv4 route of any table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: Ipv4Addr,
    pub prefix: u8,
    pub interface: Option<u32>,
    pub gateway: Option<Ipv4Addr>,
    pub metric: u32,
    pub table: u32,
    /// `RTN_UNICAST`, `RTN_LOCAL`, ...
    pub kind: u8,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub interface: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

/// An address of an interface with all that belongs to it, to be given to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastingAddress {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket for the namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Route)? })
    }

    /// Makes all `changes` with one system call, in order; the index of the error is that of the first change refused.
    pub fn apply(&self, changes: &[Change<'_>]) -> Result<(), Error> {
        let mut batch = Batch::new();
        for change in changes {
            change.encode(&mut batch);
        }
        batch.acknowledge();
        self.socket.transact(&batch)
    }

    /// The index of the interface `name`.
    pub fn index(&self, name: &str) -> Result<Option<u32>, Error> {
        match rustix::net::netdevice::name_to_index(&self.socket, name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The interface `name`.
    pub fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_GETLINK, 0, |w| {
            w.raw(&ifinfo(0, 0, 0)).u32(libc::IFLA_EXT_MASK, attr::RTEXT_FILTER_SKIP_STATS);
            w.string(libc::IFLA_IFNAME, name);
        });
        batch.acknowledge();
        let mut found = None;
        match self.socket.exchange(&batch, |_, payload| {
            found = parse_link(payload);
            Ok(())
        }) {
            Err(error) if error.is(Errno::NODEV) => Ok(None),
            result => result.map(|()| found),
        }
    }

    /// Every interface of the namespace.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        let header = ifinfo(0, 0, 0);
        self.dump(libc::RTM_GETLINK, &header, parse_link)
    }

    /// Every IPv4 route of every table, the local one included.
    pub fn routes(&self) -> Result<Vec<Route>, Error> {
        let mut header = [0; RTMSG];
        header[0] = libc::AF_INET as u8;
        self.dump(libc::RTM_GETROUTE, &header, parse_route)
    }

    /// Every address of `family` (`AF_INET` or `AF_INET6`; 0 for both).
    pub fn addresses(&self, family: u8) -> Result<Vec<Address>, Error> {
        let mut header = [0; IFADDR];
        header[0] = family;
        self.dump(libc::RTM_GETADDR, &header, parse_address)
    }

    /// Those addresses of an interface that would still mean something elsewhere: of global scope, and not for a time only.
    pub fn lasting_addresses(&self, index: u32) -> Result<Vec<LastingAddress>, Error> {
        let all = self.dump(libc::RTM_GETADDR, &[0; IFADDR], parse_lasting)?;
        Ok(all.into_iter().filter(|(interface, _)| *interface == index).map(|(_, address)| address).collect())
    }

    /// Gives an interface addresses that another one had.
    pub fn add_addresses(&self, index: u32, addresses: &[LastingAddress]) -> Result<(), Error> {
        let mut batch = Batch::new();
        for LastingAddress { family, prefix, flags, attributes } in addresses {
            let [a, b, c, d] = index.to_ne_bytes();
            batch.message(libc::RTM_NEWADDR, CREATE, |w| {
                w.raw(&[*family, *prefix, 0, libc::RT_SCOPE_UNIVERSE, a, b, c, d]);
                w.u32(libc::IFA_FLAGS, *flags);
                for (kind, value) in attributes {
                    w.attribute(*kind, value);
                }
            });
            batch.acknowledge();
        }
        self.socket.transact(&batch)
    }

    fn dump<T>(&self, kind: u16, header: &[u8], parse: fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
        let mut batch = Batch::new();
        batch.message(kind, DUMP, |w| {
            w.raw(header);
        });
        let mut found = Vec::new();
        self.socket.exchange(&batch, |_, payload| {
            found.extend(parse(payload));
            Ok(())
        })?;
        Ok(found)
    }
}

impl AsFd for RouteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Change<'_> {
    fn encode(&self, batch: &mut Batch) {
        match *self {
            Self::CreateBridge { name, mac, mtu } => batch.message(libc::RTM_NEWLINK, CREATE, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name).u32(libc::IFLA_MTU, mtu);
                w.attribute(libc::IFLA_ADDRESS, &mac);
                w.nest(libc::IFLA_LINKINFO, |w| {
                    w.string(libc::IFLA_INFO_KIND, "bridge");
                    w.nest(libc::IFLA_INFO_DATA, |w| {
                        // Without a querier on the link snooping forgets members; containers are few enough to flood.
                        w.attribute(attr::IFLA_BR_MCAST_SNOOPING, &[0]);
                    });
                });
            }),
            Self::CreateVeth { name, bridge, group, mtu, peer, peer_mac, netns } => {
                batch.message(libc::RTM_NEWLINK, CREATE, |w| {
                    w.raw(&ifinfo(0, UP, UP)).string(libc::IFLA_IFNAME, name).u32(libc::IFLA_MASTER, bridge);
                    w.u32(libc::IFLA_GROUP, group);
                    end(w, mtu);
                    w.nest(libc::IFLA_LINKINFO, |w| {
                        w.string(libc::IFLA_INFO_KIND, "veth");
                        w.nest(libc::IFLA_INFO_DATA, |w| {
                            w.nest(attr::VETH_INFO_PEER, |w| {
                                // The peer cannot be brought up before the pair exists.
                                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, peer);
                                w.u32(libc::IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
                                w.attribute(libc::IFLA_ADDRESS, &peer_mac);
                                end(w, mtu);
                            });
                        });
                    });
                });
            }
            Self::Port { name, isolated, hairpin } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name).nest(libc::IFLA_LINKINFO, |w| {
                    w.string(attr::IFLA_INFO_SLAVE_KIND, "bridge").nest(attr::IFLA_INFO_SLAVE_DATA, |w| {
                        w.attribute(attr::IFLA_BRPORT_MODE, &[u8::from(hairpin)]);
                        w.attribute(attr::IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]);
                    });
                });
            }),
            Self::ClosePort { name } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name).nest(libc::IFLA_LINKINFO, |w| {
                    w.string(attr::IFLA_INFO_SLAVE_KIND, "bridge").nest(attr::IFLA_INFO_SLAVE_DATA, |w| {
                        for flag in [
                            attr::IFLA_BRPORT_LEARNING,
                            attr::IFLA_BRPORT_UNICAST_FLOOD,
                            attr::IFLA_BRPORT_MCAST_FLOOD,
                            attr::IFLA_BRPORT_BCAST_FLOOD,
                        ] {
                            w.attribute(flag, &[0]);
                        }
                        w.attribute(attr::IFLA_BRPORT_FLUSH, &[]);
                    });
                });
            }),
            Self::Up { index } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(index, UP, UP));
            }),
            Self::Move { index, netns, name } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(index, 0, 0)).u32(libc::IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
                w.string(libc::IFLA_IFNAME, name);
            }),
            Self::Alias { name, alias } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name);
                w.attribute(libc::IFLA_IFALIAS, alias.as_bytes());
            }),
            Self::Mtu { name, mtu } => batch.message(libc::RTM_NEWLINK, 0, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name).u32(libc::IFLA_MTU, mtu);
            }),
            Self::AddAddress { index, address, prefix, broadcast } => {
                let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
                batch.message(libc::RTM_NEWADDR, flags, |w| {
                    w.raw(&ifaddr(index, prefix)).attribute(libc::IFA_LOCAL, &address.octets());
                    w.attribute(libc::IFA_ADDRESS, &address.octets());
                    if broadcast != address {
                        w.attribute(libc::IFA_BROADCAST, &broadcast.octets());
                    }
                })
            }
            Self::DeleteAddress { index, address, prefix } => batch.message(libc::RTM_DELADDR, 0, |w| {
                w.raw(&ifaddr(index, prefix)).attribute(libc::IFA_LOCAL, &address.octets());
            }),
            Self::DefaultRoute { gateway } => {
                let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
                batch.message(libc::RTM_NEWROUTE, flags, |w| {
                    w.raw(&rtmsg(0, libc::RT_SCOPE_UNIVERSE)).attribute(libc::RTA_GATEWAY, &gateway.octets());
                })
            }
            Self::LinkRoute { index, network, prefix } => batch.message(libc::RTM_NEWROUTE, CREATE, |w| {
                w.raw(&rtmsg(prefix, libc::RT_SCOPE_LINK)).attribute(libc::RTA_DST, &network.octets());
                w.u32(libc::RTA_OIF, index);
            }),
            Self::DeleteLink { name } => batch.message(libc::RTM_DELLINK, 0, |w| {
                w.raw(&ifinfo(0, 0, 0)).string(libc::IFLA_IFNAME, name);
            }),
        }
    }
}

/// What both ends of a veth have in common.
fn end(w: &mut Writer<'_>, mtu: u32) {
    w.u32(libc::IFLA_MTU, mtu).u32(attr::IFLA_NUM_TX_QUEUES, 1).u32(attr::IFLA_NUM_RX_QUEUES, 1);
}

fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; IFINFO] {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn ifaddr(index: u32, prefix: u8) -> [u8; IFADDR] {
    let mut header = [libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

fn rtmsg(prefix: u8, scope: u8) -> [u8; RTMSG] {
    let family = libc::AF_INET as u8;
    [family, prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, libc::RTN_UNICAST, 0, 0, 0, 0]
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    let word = |at: usize| Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let attributes = Attributes::new(payload.get(IFINFO..)?);
    Some(Link {
        index: word(4)?,
        name: attributes.string(libc::IFLA_IFNAME)?,
        kind: attributes.nested(libc::IFLA_LINKINFO).string(libc::IFLA_INFO_KIND).unwrap_or_default(),
        master: attributes.u32(libc::IFLA_MASTER),
        up: word(8)? & UP != 0,
        mtu: attributes.u32(libc::IFLA_MTU).unwrap_or_default(),
        alias: attributes.string(libc::IFLA_IFALIAS),
        mac: attributes.get(libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()),
    })
}

fn parse_route(payload: &[u8]) -> Option<Route> {
    let attributes = Attributes::new(payload.get(RTMSG..)?);
    let address = |kind| attributes.get(kind).and_then(ipv4);
    Some(Route {
        destination: address(libc::RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED),
        prefix: payload[1],
        interface: attributes.u32(libc::RTA_OIF),
        gateway: address(libc::RTA_GATEWAY),
        metric: attributes.u32(libc::RTA_PRIORITY).unwrap_or_default(),
        table: attributes.u32(libc::RTA_TABLE).unwrap_or_else(|| payload[4].into()),
        kind: payload[7],
    })
}

fn parse_address(payload: &[u8]) -> Option<Address> {
    let attributes = Attributes::new(payload.get(IFADDR..)?);
    let bytes = attributes.get(libc::IFA_LOCAL).or_else(|| attributes.get(libc::IFA_ADDRESS))?;
    let address = match ipv4(bytes) {
        Some(address) => address.into(),
        None => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    let interface = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    Some(Address { interface, address, prefix: payload[1] })
}

fn parse_lasting(payload: &[u8]) -> Option<(u32, LastingAddress)> {
    let header: &[u8; IFADDR] = payload.first_chunk()?;
    let attributes = Attributes::new(&payload[IFADDR..]);
    let flags = attributes.u32(libc::IFA_FLAGS).unwrap_or_else(|| header[2].into());
    if flags & libc::IFA_F_PERMANENT == 0 || header[3] != libc::RT_SCOPE_UNIVERSE {
        return None;
    }
    let kept = |kind: u16| matches!(kind, libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST);
    let attributes = attributes.filter(|(kind, _)| kept(*kind)).map(|(kind, value)| (kind, value.to_vec()));
    let address = LastingAddress {
        family: header[0],
        prefix: header[1],
        flags: flags & (libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_NODAD),
        attributes: attributes.collect(),
    };
    Some((u32::from_ne_bytes(header[4..].try_into().ok()?), address))
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(bytes).ok()?.into())
}
