//! Endpoints for build steps, on the default bridge.

use super::{DEFAULT_NETWORK, NetworkError, find_row, plan};
use crate::engine::Engine;
use crate::model::{ContainerId, EndpointSpec};
use crate::record::NetworkDoc;
use crate::{create, ids};
use diag::Failure;
use net::{EndpointPlan, EndpointSource};
use store::db::leases;
use store::{DatabaseError, Durability};

/// Leases addresses for build steps; see [`Engine::build_endpoints`].
pub struct BuildEndpoints<'a> {
    engine: &'a Engine,
}

/// Holders of leases that are no containers begin with this.
const HOLDER: &str = "build-";

impl Engine {
    /// Where build steps get their network from.
    pub fn build_endpoints(&self) -> BuildEndpoints<'_> {
        BuildEndpoints { engine: self }
    }

    fn build_endpoint(&self) -> Result<EndpointPlan, NetworkError> {
        self.ensure_default_network()?;
        let id = ids::random().map_err(NetworkError::Random)?;
        let holder = ContainerId::from_string(format!("{HOLDER}{}-{id}", std::process::id()));
        let spec = EndpointSpec { network: DEFAULT_NETWORK.into(), ..Default::default() };
        let (network, endpoint) = self.store().database().write(Durability::Relaxed, |writer| {
            forget_dead_builds(writer)?;
            let row = find_row(writer, DEFAULT_NETWORK)?;
            let doc = NetworkDoc::from_json(&row.name, &row.record)?;
            let endpoint = create::lease(writer, &holder, &spec, &row.id, &row.name, &doc, "eth0".into())?;
            Ok::<_, NetworkError>((plan(&row.id, &row.name, &doc), endpoint))
        })?;
        // The holder is found again by the id, which is the end of its name.
        Ok(EndpointPlan {
            network,
            id,
            address: endpoint.address,
            mac: endpoint.mac,
            interface: endpoint.interface,
            names: Vec::new(),
            links: Default::default(),
            default_route: true,
            may_forge: false,
        })
    }
}

/// Leases of builders that were killed; a builder's pid is in the holder's name.
fn forget_dead_builds(writer: &store::db::Writer<'_>) -> Result<(), NetworkError> {
    for lease in leases::list(writer)? {
        let Some((pid, _)) = lease.container.strip_prefix(HOLDER).and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !std::path::Path::new("/proc").join(pid).exists() {
            leases::release_all(writer, &lease.container)?;
        }
    }
    Ok(())
}

impl EndpointSource for BuildEndpoints<'_> {
    fn acquire(&self) -> Result<EndpointPlan, Failure> {
        Ok(self.engine.build_endpoint()?)
    }

    fn release(&self, endpoint: &EndpointPlan) {
        // By the id alone: the builder that acquired it may have been another process, killed since. What fails here is done by
        // the next build.
        let _ = self.engine.store().database().write(Durability::Relaxed, |writer| {
            for lease in leases::of_network(writer, &endpoint.network.id)? {
                if lease.container.starts_with(HOLDER) && lease.container.ends_with(&endpoint.id) {
                    leases::release_all(writer, &lease.container)?;
                }
            }
            Ok::<_, DatabaseError>(())
        });
    }
}
