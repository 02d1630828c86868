//! Decides who answers: the directories of the container's networks, or a server outside.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use super::resolv::{self, RESOLV_CONF};
use super::wire::{Code, Query, Record, TYPE_A, TYPE_ANY, TYPE_PTR};
use super::{Config, Upstream};

/// How many servers are asked at most, as glibc does.
const SERVERS: usize = 3;
const PORT: u16 = 53;

#[derive(Debug)]
pub(super) struct Resolver {
    config: Config,
    /// The host's servers, and which state of resolv.conf they are from.
    host: (Option<[u64; 4]>, Vec<SocketAddr>),
    /// Keyed by the kernel's randomness, so what it makes of a counter cannot be guessed.
    ids: RandomState,
    count: u64,
}

impl Resolver {
    pub(super) fn new(config: Config) -> Self {
        Self { config, host: (None, Vec::new()), ids: RandomState::new(), count: 0 }
    }

    pub(super) fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// The answer to a question about the container's networks; `None` when it is about something else.
    pub(super) fn answer(&mut self, query: &Query, datagram: bool) -> Option<Vec<u8>> {
        let name = query.name.as_deref().filter(|_| query.is_internet())?;
        let records = match query.reverse() {
            Some(address) => {
                let name = self.config.networks.iter().find_map(|network| network.name_of(address))?;
                if matches!(query.kind, TYPE_PTR | TYPE_ANY) { vec![Record::Ptr(name)] } else { Vec::new() }
            }
            None => {
                let addresses = self.addresses(name)?;
                // A name we know has no other records, and to say so is quicker than to ask around.
                let known = matches!(query.kind, TYPE_A | TYPE_ANY);
                if known { addresses.into_iter().map(Record::A).collect() } else { Vec::new() }
            }
        };
        Some(query.answer(Code::NoError, &records, datagram))
    }

    /// The addresses of a name, another one first each time.
    fn addresses(&mut self, name: &str) -> Option<Vec<Ipv4Addr>> {
        let mut found = self
            .config
            .networks
            .iter()
            .map(|network| network.addresses(name))
            .find(|found| !found.is_empty())?;
        found.sort_unstable();
        self.count = self.count.wrapping_add(1);
        let first = self.count % found.len() as u64;
        found.rotate_left(first as usize);
        Some(found)
    }

    /// Whom to ask about everything else, in order; nobody when the container has only internal networks.
    pub(super) fn servers(&mut self) -> Vec<SocketAddr> {
        match &self.config.upstream {
            Upstream::None => Vec::new(),
            Upstream::Fixed(servers) => servers.iter().copied().take(SERVERS).collect(),
            Upstream::Host => {
                let state = fs::metadata(RESOLV_CONF)
                    .ok()
                    .map(|m| [m.ino(), m.size(), m.mtime() as u64, m.mtime_nsec() as u64]);
                if state.is_none() || state != self.host.0 {
                    let servers = resolv::forwarders().into_iter().take(SERVERS);
                    self.host = (state, servers.map(|ip: IpAddr| SocketAddr::new(ip, PORT)).collect());
                }
                self.host.1.clone()
            }
        }
    }

    /// An id that nobody can guess.
    pub(super) fn random_id(&mut self) -> u16 {
        self.count = self.count.wrapping_add(1);
        self.ids.hash_one(self.count) as u16
    }
}
