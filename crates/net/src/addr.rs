//! IPv4 networks and hardware addresses, as they are typed, stored and sent to the kernel.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network in CIDR notation; the host bits are always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Net {
    address: Ipv4Addr,
    prefix: u8,
}

/// Text that is not an IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {text}")]
pub struct ParseNetError {
    text: String,
}

impl Ipv4Net {
    /// The network `address` lies in when `prefix` bits count; `None` when `prefix` exceeds 32.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32)
            .then(|| Self { address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// The first address, which names the network.
    pub fn network(&self) -> Ipv4Addr {
        self.address
    }

    /// The last address: broadcast.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// How many leading bits name the network.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in this network, network and broadcast address included.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether the two networks share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        self.address.to_bits() & mask(prefix) == other.address.to_bits() & mask(prefix)
    }

    /// The `n`-th address of the network, counted from the network address.
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.address.to_bits().checked_add(n)?);
        self.contains(address).then_some(address)
    }

    /// The address the bridge takes when the user names none: the first one that a host can have.
    pub fn first_host(&self) -> Ipv4Addr {
        self.nth(u32::from(self.prefix < 31)).unwrap_or(self.address)
    }

    /// Every address a host can have, in order: all but the network and broadcast addresses, except in a /31 and a /32.
    pub fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let edge = u32::from(self.prefix < 31);
        let (first, last) = (self.address.to_bits() + edge, self.broadcast().to_bits() - edge);
        (first..=last).map(Ipv4Addr::from_bits)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Ipv4Net {
    type Err = ParseNetError;

    fn from_str(text: &str) -> Result<Self, ParseNetError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let digits =
                !prefix.is_empty() && prefix.len() <= 2 && prefix.bytes().all(|b| b.is_ascii_digit());
            Self::containing(address.parse().ok()?, digits.then(|| prefix.parse().ok())??)
        };
        parse().ok_or_else(|| ParseNetError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Ipv4Net {
    type Error = ParseNetError;

    fn try_from(text: String) -> Result<Self, ParseNetError> {
        text.parse()
    }
}

impl From<Ipv4Net> for String {
    fn from(net: Ipv4Net) -> Self {
        net.to_string()
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Text that is not an Ethernet address of one station.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address: {text}")]
pub struct ParseMacError {
    text: String,
}

impl Mac {
    /// The address of the endpoint that holds `address`: locally administered and made from it.
    ///
    /// Being a function of the IP address, it keeps every neighbour's ARP entry right when the address changes hands.
    pub fn for_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let parse = || {
            let mut bytes = [0; 6];
            let mut parts = text.split([':', '-']);
            for byte in &mut bytes {
                let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'))?;
                *byte = u8::from_str_radix(part, 16).ok()?;
            }
            // The lowest bit of the first byte marks a group; no interface can have such an address.
            (parts.next().is_none() && bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
        };
        parse().ok_or_else(|| ParseMacError { text: text.to_owned() })
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    #[test]
    fn parsing_clears_host_bits_and_refuses_nonsense() {
        assert_eq!(net("172.18.5.9/16").to_string(), "172.18.0.0/16");
        assert_eq!(net("0.0.0.0/0").broadcast(), Ipv4Addr::BROADCAST);
        for text in ["", "1.2.3.4", "1.2.3.4/33", "1.2.3.4/", "1.2.3/8", "1.2.3.4/+8", "a/8", "::/0"] {
            assert!(text.parse::<Ipv4Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_containment_either_way() {
        let check = |a, b, expected| {
            assert_eq!(net(a).overlaps(&net(b)), expected, "{a} {b}");
            assert_eq!(net(b).overlaps(&net(a)), expected, "{b} {a}");
        };
        check("172.16.0.0/12", "172.17.0.0/16", true);
        check("172.17.0.0/16", "172.18.0.0/16", false);
        check("0.0.0.0/0", "10.0.0.0/8", true);
        check("10.1.1.1/32", "10.1.1.0/31", true);
    }

    #[test]
    fn hosts_leave_out_the_edges() {
        let hosts = |text| net(text).hosts().map(|a| a.octets()[3]).collect::<Vec<_>>();
        assert_eq!(hosts("10.0.0.0/30"), [1, 2]);
        assert_eq!(hosts("10.0.0.2/31"), [2, 3]);
        assert_eq!(hosts("10.0.0.7/32"), [7]);
        assert_eq!(net("10.0.0.0/24").first_host(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(net("0.0.0.0/0").hosts().next(), Some(Ipv4Addr::new(0, 0, 0, 1)));
    }

    #[test]
    fn macs_round_trip_and_groups_are_refused() {
        assert_eq!("02:42:ac:11:00:02".parse(), Ok(Mac::for_address(Ipv4Addr::new(172, 17, 0, 2))));
        assert_eq!("02-42-AC-11-00-02".parse::<Mac>().map(|m| m.to_string()), Ok("02:42:ac:11:00:02".into()));
        for text in [
            "01:00:00:00:00:00",
            "00:00:00:00:00:00",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "+2:42:ac:11:00:02",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
