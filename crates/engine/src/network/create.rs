//! Making networks: the user's, and the default one at its first use.

use super::{DEFAULT_NETWORK, NetworkError, plan};
use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{NetworkId, NetworkInfo, NetworkSpec, Subnet};
use crate::record::NetworkDoc;
use crate::{events, ids, names, time};
use monitor::state::Status;
use net::NetworkPlan;
use store::Durability;
use store::db::networks::{self, NetworkRecord as Row};
use sys::fs::{FileLock, LockKind};

const MTU: &str = "com.docker.network.driver.mtu";
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const OPTIONS: [&str; 4] = [
    MTU,
    BRIDGE_NAME,
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
];

impl Engine {
    /// Creates a bridge network.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing is left of a network that could not be created.
    pub fn network_create(&self, spec: NetworkSpec) -> Result<NetworkInfo, NetworkError> {
        if matches!(spec.name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(NetworkError::PredefinedCreate { name: spec.name });
        }
        check(&spec)?;
        // Before anything is made; the insertion decides when two create the same name at once.
        if self.store().database().read(|reader| networks::by_name(reader, &spec.name))?.is_some() {
            return Err(networks::NetworkInsertError::Taken(spec.name).into());
        }
        let id = ids::random().map_err(NetworkError::Random)?;
        self.make_network(id, spec)
    }

    /// Makes the default network when these roots have none yet.
    pub(crate) fn ensure_default_network(&self) -> Result<(), NetworkError> {
        let exists = || self.store().database().read(|reader| networks::by_name(reader, DEFAULT_NETWORK));
        if exists()?.is_some() {
            return Ok(());
        }
        // First containers often come in crowds; one of them makes the bridge and the others wait for it.
        let path = self.store().run().join("default-network.lock");
        let _lock = FileLock::acquire(&path, LockKind::Exclusive)
            .map_err(|source| NetworkError::Lock { path, source })?;
        if exists()?.is_some() {
            return Ok(());
        }
        let spec = NetworkSpec { name: DEFAULT_NETWORK.into(), ..Default::default() };
        // The id under which it was listed before it was there.
        let id = self.predefined_id(DEFAULT_NETWORK).to_string();
        self.make_network(id, spec).map(drop)
    }

    fn make_network(&self, id: String, spec: NetworkSpec) -> Result<NetworkInfo, NetworkError> {
        let (doc, plan) = self.realise(&id, spec)?;
        let row = Row {
            id: id.clone(),
            name: doc.spec.name.clone(),
            created_ns: time::now_ns(),
            record: doc.to_json(),
        };
        let inserted =
            self.store().database().write(Durability::Full, |writer| networks::insert(writer, &row));
        if let Err(error) = inserted {
            let _ = net::remove_network(self.net_context(), &plan);
            return Err(error.into());
        }
        self.emit(&events::network(&id, &row.name, "create"));
        super::list::info(&row, &doc)
    }

    /// Makes the bridge, with a free subnet unless one was asked for.
    fn realise(&self, id: &str, spec: NetworkSpec) -> Result<(NetworkDoc, NetworkPlan), NetworkError> {
        let taken = self.subnets()?;
        let mtu = match spec.options.get(MTU) {
            Some(value) => value
                .parse()
                .ok()
                .filter(|mtu| (68..=65535).contains(mtu))
                .ok_or_else(|| NetworkError::OptionValue { option: MTU.into(), value: value.clone() })?,
            None => net::uplink_mtu(),
        };
        let bridge = spec.options.get(BRIDGE_NAME).cloned().unwrap_or_else(|| net::bridge_name(id));
        let document = |subnet: Subnet| NetworkDoc {
            subnet,
            gateway: spec.gateway.unwrap_or_else(|| subnet.first_host()),
            mtu,
            bridge: bridge.clone(),
            spec: spec.clone(),
        };
        let Some(subnet) = spec.subnet else {
            let plan = net::create_network(self.net_context(), &taken, |subnet| {
                plan(id, &spec.name, &document(subnet))
            })?;
            return Ok((document(plan.subnet), plan));
        };
        if let Some(other) = taken.iter().find(|other| other.overlaps(&subnet)) {
            return Err(net::NetworkError::Overlap { subnet, other: *other }.into());
        }
        let doc = document(subnet);
        let plan = plan(id, &spec.name, &doc);
        net::ensure_network(self.net_context(), &plan)?;
        Ok((doc, plan))
    }

    /// The subnets of all networks.
    fn subnets(&self) -> Result<Vec<Subnet>, NetworkError> {
        let rows = self.store().database().read(networks::list)?;
        rows.iter().map(|row| Ok(NetworkDoc::from_json(&row.name, &row.record)?.subnet)).collect()
    }

    /// Removes a network. Containers that have ended lose their place on it; it is found again, by name, when they start.
    ///
    /// # Errors
    /// [`NetworkError::InUse`] while containers run on it or are about to, [`NetworkError::Predefined`].
    pub fn network_remove(&self, name: &str) -> Result<NetworkId, NetworkError> {
        if matches!(name, "bridge" | "host" | "none") {
            return Err(NetworkError::Predefined { name: name.to_owned() });
        }
        let (row, mut members) = self.store().database().read(|reader| {
            let row = super::find_row(reader, name)?;
            let members = super::list::members(reader, &row.id)?;
            Ok::<_, NetworkError>((row, members))
        })?;
        if row.name == DEFAULT_NETWORK {
            return Err(NetworkError::Predefined { name: row.name });
        }
        let in_use = |name: String, holders| NetworkError::InUse { name, holders };
        // Asked before waiting for anybody's lock: a container that is being stopped has its own for as long as that takes.
        let mut holders = Vec::new();
        for container in &members {
            if self.look(container)?.state.status != Status::Exited {
                holders.push(container.name.clone());
            }
        }
        if !holders.is_empty() {
            return Err(in_use(row.name, holders));
        }
        // Nobody can start them from here on. In one order for everybody, so that two removals do not wait for each other.
        members.sort_by(|a, b| a.id.cmp(&b.id));
        let mut ended = Vec::new();
        for container in members {
            match self.find_locked(container.id.as_str()) {
                Ok((container, lock)) if self.look(&container)?.state.status == Status::Exited => {
                    ended.push((container.id, lock));
                }
                Ok((container, _)) => return Err(in_use(row.name, vec![container.name])),
                Err(LookupError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let removed = self.store().database().write_removal(Durability::Full, |writer| {
            let row = super::find_row(writer, &row.id)?;
            let holders =
                self.holders(writer, &row.id, |id| ended.iter().any(|(ended, _)| ended.as_str() == id))?;
            if !holders.is_empty() {
                return Err(in_use(row.name, holders));
            }
            networks::remove(writer, &row.id)?;
            Ok(row)
        })?;
        let doc = NetworkDoc::from_json(&removed.name, &removed.record)?;
        net::remove_network(self.net_context(), &plan(&removed.id, &removed.name, &doc))?;
        self.emit(&events::network(&removed.id, &removed.name, "destroy"));
        Ok(NetworkId::from_string(removed.id))
    }
}

fn check(spec: &NetworkSpec) -> Result<(), NetworkError> {
    if !names::is_valid(&spec.name) && spec.name.len() != 1 {
        return Err(NetworkError::Name { name: spec.name.clone() });
    }
    if let Some(driver) =
        spec.driver.as_deref().filter(|driver| !matches!(*driver, "" | "bridge" | "default"))
    {
        return Err(match driver {
            "host" | "null" => NetworkError::Config {
                problem: format!("only one instance of \"{driver}\" network is allowed"),
            },
            other => NetworkError::Driver { driver: other.to_owned() },
        });
    }
    if let Some(option) = spec.options.keys().find(|option| !OPTIONS.contains(&option.as_str())) {
        return Err(NetworkError::Option { option: option.clone() });
    }
    for (option, value) in spec.options.iter().filter(|(option, _)| option.contains("enable_")) {
        if !matches!(value.as_str(), "true" | "false" | "1" | "0") {
            return Err(NetworkError::OptionValue { option: option.clone(), value: value.clone() });
        }
    }
    let config = |problem: String| Err(NetworkError::Config { problem });
    match spec.subnet {
        None if spec.gateway.is_some() => config("a gateway needs a subnet".into()),
        None if spec.ip_range.is_some() => config("an ip-range needs a subnet".into()),
        None if !spec.aux_addresses.is_empty() => config("an aux-address needs a subnet".into()),
        None => Ok(()),
        Some(subnet) if subnet.prefix() > 30 => config(format!("subnet {subnet} has no room for containers")),
        Some(subnet) => {
            for address in spec.gateway.iter().chain(spec.aux_addresses.values()) {
                if !subnet.contains(*address)
                    || *address == subnet.network()
                    || *address == subnet.broadcast()
                {
                    return config(format!("no matching subnet for gateway or aux-address {address}"));
                }
            }
            match spec.ip_range {
                Some(range) if !subnet.contains(range.network()) || range.prefix() < subnet.prefix() => {
                    config(format!("no matching subnet for range {range}"))
                }
                _ => Ok(()),
            }
        }
    }
}
