//! Starting what should run after a reboot.

use crate::engine::Engine;
use crate::list::ListError;
use crate::lookup::LookupError;
use crate::model::{
    HealthStatus, IpcMode, ListOptions, NamespaceMode, NetworkMode, RemoveOptions, RestartPolicy,
};
use crate::record::Container;
use diag::Failure;
use monitor::state::{Observed, Supervision};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a container is waited for whose health others depend on.
const HEALTH_PATIENCE: Duration = Duration::from_secs(120);

/// Another container must be there first.
struct Dependency {
    id: String,
    /// Not only started, but healthy.
    healthy: bool,
}

/// A container's name, and whether it could be started.
pub type Booted = (String, Result<(), Failure>);

impl Engine {
    /// Starts the containers whose restart policy wants them running, each after those it depends on: whose namespaces it
    /// joins, and what its Compose project says. Containers of `run --rm` that do not run are removed. Returns the name and
    /// outcome of each start, in their order.
    ///
    /// # Errors
    /// [`ListError`] when the containers cannot be listed; failed starts are in the result.
    pub fn boot(&self) -> Result<Vec<Booted>, ListError> {
        let mut all = HashMap::new();
        for summary in self.list(&ListOptions { all: true, ..ListOptions::default() })? {
            match self.find(summary.id.as_str()) {
                // It was removed since.
                Err(LookupError::NotFound { .. }) => {}
                found => drop(all.insert(summary.id.to_string(), found?)),
            }
        }
        let mut wanted = Vec::new();
        for container in all.values() {
            // Nobody is left to remove it at its end, which it has met.
            if container.doc.spec.auto_remove {
                let _ = self.remove(container.id.as_str(), &RemoveOptions { force: false, volumes: true });
                continue;
            }
            if should_run(container, &self.observe(container)?) {
                wanted.push(container);
            }
        }
        wanted.sort_by_key(|container| container.created_ns);
        let mut outcomes = Vec::new();
        let mut seen = HashSet::new();
        for container in wanted {
            self.boot_one(container, &all, &mut seen, &mut outcomes);
        }
        Ok(outcomes)
    }

    fn boot_one(
        &self,
        container: &Container,
        all: &HashMap<String, Container>,
        seen: &mut HashSet<String>,
        outcomes: &mut Vec<Booted>,
    ) {
        // A circle of dependencies is broken where it is entered.
        if !seen.insert(container.id.to_string()) {
            return;
        }
        for dependency in dependencies(container, all) {
            let Some(needed) = all.get(&dependency.id) else { continue };
            let due = self.observe(needed).is_ok_and(|observed| should_run(needed, &observed));
            if due {
                self.boot_one(needed, all, seen, outcomes);
            }
            if dependency.healthy {
                self.wait_healthy(&dependency.id);
            }
        }
        let started = self.start(container.id.as_str()).map(drop).map_err(Failure::from);
        outcomes.push((container.name.clone(), started));
    }

    /// Waits until a container is healthy, has stopped, or patience ends: then its dependents are started all the same, as they
    /// would be when it failed later.
    fn wait_healthy(&self, id: &str) {
        let deadline = Instant::now() + HEALTH_PATIENCE;
        while Instant::now() < deadline {
            let waiting = self.inspect(id).is_ok_and(|container| {
                container.state.status.is_running()
                    && container.state.health.is_some_and(|health| health.status == HealthStatus::Starting)
            });
            if !waiting {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Whether the restart policy wants a container running that does not run.
fn should_run(container: &Container, observed: &Observed) -> bool {
    let state = &observed.state;
    if state.status.is_active() || observed.supervision == Supervision::Never {
        return false;
    }
    match container.doc.spec.restart {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !state.stopped_by_user,
        RestartPolicy::OnFailure { .. } => {
            observed.supervision == Supervision::LostAtBoot && !state.stopped_by_user
        }
    }
}

fn dependencies(container: &Container, all: &HashMap<String, Container>) -> Vec<Dependency> {
    let spec = &container.doc.spec;
    let mut found = Vec::new();
    let mut joins = |id: &str| found.push(Dependency { id: id.to_owned(), healthy: false });
    if let NetworkMode::Container(id) = &spec.network.mode {
        joins(id);
    }
    if let NamespaceMode::Container(id) = &spec.isolation.pid {
        joins(id);
    }
    if let IpcMode::Container(id) = &spec.isolation.ipc {
        joins(id);
    }
    found.extend(compose_dependencies(container, all));
    found
}

/// Compose's label `depends_on`: `service:condition:restart`, separated by commas.
fn compose_dependencies(container: &Container, all: &HashMap<String, Container>) -> Vec<Dependency> {
    let labels = &container.doc.spec.labels;
    let (Some(project), Some(text)) =
        (labels.get("com.docker.compose.project"), labels.get("com.docker.compose.depends_on"))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let mut words = entry.split(':');
        let service = words.next().unwrap_or_default();
        let healthy = words.next() == Some("service_healthy");
        for other in all.values() {
            let labels = &other.doc.spec.labels;
            let same_project = labels.get("com.docker.compose.project") == Some(project);
            if same_project && labels.get("com.docker.compose.service").is_some_and(|name| name == service) {
                found.push(Dependency { id: other.id.to_string(), healthy });
            }
        }
    }
    found
}
