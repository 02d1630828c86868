//! Containers that exist, as Compose's labels describe them.

use std::collections::{BTreeMap, BTreeSet};

use diag::Failure;
use engine::model::{ContainerSummary, Filters, ListOptions, Status};

use super::{Stack, StackError, label};

/// A container of a project.
#[derive(Clone, Debug)]
pub struct Instance {
    pub service: String,
    pub number: u32,
    /// Made by `run`.
    pub oneoff: bool,
    pub container: ContainerSummary,
}

impl Instance {
    pub(crate) fn read(container: ContainerSummary) -> Option<Self> {
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        Some(Self {
            service: label(label::SERVICE)?.to_owned(),
            number: label(label::NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1),
            oneoff: label(label::ONEOFF).is_some_and(|value| value.eq_ignore_ascii_case("true")),
            container,
        })
    }

    pub fn id(&self) -> &str {
        self.container.id.as_str()
    }

    pub fn name(&self) -> &str {
        &self.container.name
    }

    /// The name in front of its log lines: `web-1`, or the container's own name.
    pub fn prefix(&self, project: &str) -> String {
        let name = self.name();
        name.strip_prefix(project).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name).to_owned()
    }

    pub fn is_running(&self) -> bool {
        self.container.state.status.is_running()
    }

    pub fn is_paused(&self) -> bool {
        self.container.state.status == Status::Paused
    }

    pub(crate) fn label(&self, key: &str) -> &str {
        self.container.labels.get(key).map_or("", String::as_str)
    }

    /// The services it was started after, and whether it follows their restarts.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = (&str, bool)> {
        self.label(label::DEPENDS_ON).split(',').filter_map(|item| {
            let mut parts = item.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?;
            Some((name, parts.nth(1) == Some("true")))
        })
    }
}

/// Containers grouped by service.
pub(crate) type ByService = BTreeMap<String, Vec<Instance>>;

impl Stack<'_> {
    /// Every container of the project, stopped ones and one-offs too, ordered by service and number.
    pub fn instances(&self) -> Result<Vec<Instance>, Failure> {
        let mut filters = Filters::default();
        filters.add("label", format!("{}={}", label::PROJECT, self.project.name));
        let list = self.engine.list(&ListOptions { all: true, filters, ..ListOptions::default() })?;
        let mut instances: Vec<_> = list.into_iter().filter_map(Instance::read).collect();
        instances.sort_by(|a, b| (&a.service, a.oneoff, a.number).cmp(&(&b.service, b.oneoff, b.number)));
        Ok(instances)
    }

    /// The containers of `services` (all when empty), without one-offs.
    ///
    /// # Errors
    /// [`StackError::NoSuchService`] for a name that neither the file nor a container knows.
    pub fn instances_of(&self, services: &[String]) -> Result<Vec<Instance>, Failure> {
        let mut instances = self.instances()?;
        for service in services {
            let known = self.project.services.contains_key(service);
            if !known && !instances.iter().any(|instance| instance.service == *service) {
                return Err(StackError::NoSuchService { service: service.clone() }.into());
            }
        }
        let wanted: BTreeSet<&String> = services.iter().collect();
        instances
            .retain(|instance| !instance.oneoff && (wanted.is_empty() || wanted.contains(&instance.service)));
        Ok(instances)
    }

    /// The containers of `service`, running or not: all of them, or number `index`; never none.
    pub fn replicas(&self, service: &str, index: Option<u32>) -> Result<Vec<Instance>, Failure> {
        let mut of_service = self.instances_of(std::slice::from_ref(&service.to_owned()))?;
        of_service.retain(|instance| index.is_none_or(|number| instance.number == number));
        let service = service.to_owned();
        match (of_service.is_empty(), index) {
            (false, _) => Ok(of_service),
            (true, Some(number)) => Err(StackError::NoSuchNumber { service, number }.into()),
            (true, None) => Err(StackError::NoContainer { service }.into()),
        }
    }

    /// The container of `service` a command like `exec` means: its first, or number `index`; running.
    pub fn target(&self, service: &str, index: Option<u32>) -> Result<Instance, Failure> {
        let of_service = self.instances_of(std::slice::from_ref(&service.to_owned()))?;
        let service = service.to_owned();
        match index {
            Some(number) => of_service
                .into_iter()
                .find(|instance| instance.number == number)
                .ok_or_else(|| StackError::NoSuchNumber { service, number }.into()),
            None => match of_service.into_iter().find(Instance::is_running) {
                Some(instance) => Ok(instance),
                None => Err(StackError::NotRunning { service }.into()),
            },
        }
    }
}

pub(crate) fn by_service(instances: Vec<Instance>) -> ByService {
    let mut out = ByService::new();
    for instance in instances {
        out.entry(instance.service.clone()).or_default().push(instance);
    }
    out
}
