//! Addresses lent to containers: at most one holder per network and address.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use diag::{Class, Diagnose};
use rusqlite::{Row, params};

use super::{DatabaseError, Reader, Writer};

/// One address in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub network: String,
    pub address: Ipv4Addr,
    pub container: String,
    pub mac: String,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    pub network: &'a str,
    pub container: &'a str,
    /// The addresses that may be lent, without the network's own, its broadcast address and its gateway.
    pub range: RangeInclusive<Ipv4Addr>,
    /// Addresses within the range that may not be lent, such as the gateway.
    pub reserved: &'a [Ipv4Addr],
    /// Lend exactly this one, which may also lie outside the range.
    pub wanted: Option<Ipv4Addr>,
    /// `None` derives it from the address as Docker does: `02:42` and the four bytes.
    pub mac: Option<&'a str>,
}

/// Why no address could be lent.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("no available IPv4 addresses on this network's address pools: {network}")]
    Exhausted { network: String },
    #[error("Address already in use: {address} by container {holder}")]
    Taken { address: Ipv4Addr, holder: String },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for LeaseError {
    fn class(&self) -> Class {
        match self {
            Self::Exhausted { .. } => Class::Unavailable,
            Self::Taken { .. } => Class::Conflict,
            Self::Database(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exhausted { .. } => {
                Some("remove containers, or create a network with a larger --subnet".to_owned())
            }
            _ => None,
        }
    }
}

const TABLE: &str = "leases";
const COLUMNS: &str = "network, address, container, mac";

fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    let address: u32 = row.get(1)?;
    Ok(Lease { network: row.get(0)?, address: address.into(), container: row.get(2)?, mac: row.get(3)? })
}

/// Lends the lowest free address, or the wanted one; a container that has one on this network keeps it.
///
/// # Errors
/// [`LeaseError::Exhausted`], or [`LeaseError::Taken`] for a wanted address.
pub fn allocate(writer: &Writer<'_>, request: &LeaseRequest<'_>) -> Result<Lease, LeaseError> {
    if let Some(held) = held(writer, request.network, request.container)? {
        if request.wanted.is_none_or(|wanted| wanted == held.address) {
            return Ok(held);
        }
        release(writer, request.network, request.container)?;
    }
    let address = match request.wanted {
        Some(address) => address,
        None => lowest_free(writer, request)?,
    };
    let sql = format!("SELECT {COLUMNS} FROM leases WHERE network = ? AND address = ?");
    let holder = writer.one(TABLE, &sql, params![request.network, u32::from(address)], lease)?;
    if let Some(holder) = holder {
        return Err(LeaseError::Taken { address, holder: holder.container });
    }
    let mac = request.mac.map_or_else(|| mac_of(address), str::to_owned);
    let granted =
        Lease { network: request.network.to_owned(), address, container: request.container.to_owned(), mac };
    let sql = "INSERT INTO leases(network, address, container, mac) VALUES(?,?,?,?)";
    let values = params![granted.network, u32::from(address), granted.container, granted.mac];
    writer.execute(TABLE, sql, values)?;
    Ok(granted)
}

fn lowest_free(reader: &Reader<'_>, request: &LeaseRequest<'_>) -> Result<Ipv4Addr, LeaseError> {
    let (first, last) = (u32::from(*request.range.start()), u32::from(*request.range.end()));
    let sql = "SELECT address FROM leases WHERE network = ? AND address BETWEEN ? AND ? ORDER BY address";
    let taken: Vec<u32> = reader.all(TABLE, sql, params![request.network, first, last], |row| row.get(0))?;
    let mut taken = taken.into_iter().peekable();
    for candidate in first..=last {
        if taken.next_if_eq(&candidate).is_none() && !request.reserved.contains(&candidate.into()) {
            return Ok(candidate.into());
        }
    }
    Err(LeaseError::Exhausted { network: request.network.to_owned() })
}

fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The address a container holds on a network.
pub fn held(reader: &Reader<'_>, network: &str, container: &str) -> Result<Option<Lease>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM leases WHERE container = ? AND network = ?");
    reader.one(TABLE, &sql, [container, network], lease)
}

/// Gives back a container's address on one network.
pub fn release(writer: &Writer<'_>, network: &str, container: &str) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM leases WHERE container = ? AND network = ?";
    writer.execute(TABLE, sql, [container, network]).map(drop)
}

/// Gives back everything a container holds.
pub fn release_all(writer: &Writer<'_>, container: &str) -> Result<(), DatabaseError> {
    writer.execute(TABLE, "DELETE FROM leases WHERE container = ?", [container]).map(drop)
}

/// The addresses in use on a network.
pub fn of_network(reader: &Reader<'_>, network: &str) -> Result<Vec<Lease>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM leases WHERE network = ? ORDER BY address");
    reader.all(TABLE, &sql, [network], lease)
}

/// Every lease, for finding those whose holder is gone.
pub fn list(reader: &Reader<'_>) -> Result<Vec<Lease>, DatabaseError> {
    reader.all(TABLE, &format!("SELECT {COLUMNS} FROM leases ORDER BY network, address"), [], lease)
}
