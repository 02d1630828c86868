//! What a container uses while it runs and others may want to know of, as events tell of it.

use serde::{Deserialize, Serialize};

use crate::events::{self, Event};
use crate::plan::LaunchPlan;

/// A volume that a container mounts, or a network that it is on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    Volume {
        name: String,
        /// Where it is mounted.
        target: String,
        read_only: bool,
    },
    Network {
        id: String,
        name: String,
        driver: String,
    },
}

/// Tells what has become of everything that the container of `plan` uses, of whose networks `endpoints` tell.
pub(crate) fn tell(
    plan: &LaunchPlan,
    endpoints: &[net::EndpointPlan],
    event: impl Fn(&Usage, &str) -> Event,
) {
    for usage in endpoints.iter().map(Usage::of_endpoint).chain(plan.uses.iter().cloned()) {
        let _ = events::append(&plan.events, &event(&usage, &plan.id));
    }
}

impl Usage {
    /// Being on the network of `endpoint`.
    fn of_endpoint(endpoint: &net::EndpointPlan) -> Self {
        let (id, name) = (endpoint.network.id.clone(), endpoint.network.name.clone());
        Self::Network { id, name, driver: "bridge".to_owned() }
    }

    /// Tells that `container` begins with it.
    pub(crate) fn begins(&self, container: &str) -> Event {
        match self {
            Self::Network { .. } => self.event("connect", container),
            Self::Volume { target, read_only, .. } => self
                .event("mount", container)
                .with("destination", target)
                .with("read/write", (!read_only).to_string())
                .with("propagation", ""),
        }
    }

    /// Tells that `container` ends with it.
    pub(crate) fn ends(&self, container: &str) -> Event {
        match self {
            Self::Network { .. } => self.event("disconnect", container),
            Self::Volume { .. } => self.event("unmount", container),
        }
    }

    fn event(&self, action: &str, container: &str) -> Event {
        let event = match self {
            Self::Network { id, name, driver } => {
                Event::new("network", action, id).with("name", name).with("type", driver)
            }
            Self::Volume { name, .. } => Event::new("volume", action, name).with("driver", "local"),
        };
        event.with("container", container)
    }
}
