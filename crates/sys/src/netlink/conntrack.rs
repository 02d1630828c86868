//! Connection tracking entries, as far as somebody has to be made to forget one.

use super::{Attributes, Batch, Error, Protocol, Socket};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// `nfgenmsg` of an IPv4 request.
const IPV4: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];
const UDP: u8 = libc::IPPROTO_UDP as u8;

/// Attribute numbers of <linux/netfilter/nfnetlink_conntrack.h>.
mod attr {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_DST_PORT: u16 = 3;
    pub const ID: u16 = 12;
    pub const FILTER: u16 = 25;
    pub const FILTER_ORIG_FLAGS: u16 = 1;
    pub const FILTER_REPLY_FLAGS: u16 = 2;
    pub const FILTER_PROTO_NUM: u32 = 1 << 3;
    pub const FILTER_PROTO_DST_PORT: u32 = 1 << 5;
}

/// Makes the kernel forget UDP flows that were first sent to `port`, and returns how many there were.
///
/// UDP has no end: a client that keeps sending keeps its flow, and the flow keeps the translation (or the lack of one) that was
/// right when it began.
pub fn forget_udp_flows(port: u16) -> Result<usize, Error> {
    let socket = Socket::open(Protocol::Netfilter)?;
    let mut dump = Batch::new();
    dump.message(GET, DUMP, |w| {
        // Kernels before 5.8 ignore the filter, so what comes is filtered again.
        w.raw(&IPV4).nest(attr::TUPLE_ORIG, |w| {
            w.nest(attr::TUPLE_PROTO, |w| {
                w.attribute(attr::PROTO_NUM, &[UDP]).attribute(attr::PROTO_DST_PORT, &port.to_be_bytes());
            });
        });
        w.nest(attr::FILTER, |w| {
            w.u32(attr::FILTER_ORIG_FLAGS, attr::FILTER_PROTO_NUM | attr::FILTER_PROTO_DST_PORT);
            w.u32(attr::FILTER_REPLY_FLAGS, 0);
        });
    });
    let mut flows = Batch::new();
    let mut count = 0;
    socket.exchange(&dump, |_, payload| {
        let attributes = Attributes::new(payload.get(IPV4.len()..).unwrap_or_default());
        let proto = attributes.nested(attr::TUPLE_ORIG).nested(attr::TUPLE_PROTO);
        let matches = proto.get(attr::PROTO_NUM) == Some(&[UDP])
            && proto.get(attr::PROTO_DST_PORT) == Some(&port.to_be_bytes());
        if let (true, Some(tuple), Some(id)) =
            (matches, attributes.get(attr::TUPLE_ORIG), attributes.get(attr::ID))
        {
            count += 1;
            flows.message(DELETE, 0, |w| {
                w.raw(&IPV4)
                    .attribute(attr::TUPLE_ORIG | libc::NLA_F_NESTED as u16, tuple)
                    .attribute(attr::ID, id);
            });
        }
        Ok(())
    })?;
    flows.acknowledge();
    match socket.transact(&flows) {
        // It timed out by itself meanwhile.
        Err(error) if error.is(rustix::io::Errno::NOENT) => Ok(count),
        result => result.map(|()| count),
    }
}
