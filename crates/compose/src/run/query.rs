//! Commands that only look: logs, top, images, port, ls.

use std::collections::BTreeMap;

use diag::{Class, Failure};
use engine::Engine;
use engine::model::{Filters, ListOptions, LogOptions, Protocol, PublishedPort, Top, VolumeInfo};

use super::follow::sources;
use super::{Instance, Stack, StackError, label, walk};

/// `logs`.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    pub services: Vec<String>,
    /// Only container number `index` of each.
    pub index: Option<u32>,
    pub options: LogOptions,
}

/// The image of one container.
#[derive(Clone, Debug)]
pub struct ServiceImage {
    pub container: String,
    pub service: String,
    /// The image as the container names it.
    pub image: String,
    pub image_id: String,
    pub size_bytes: u64,
    pub created_ns: i64,
}

/// A project as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectStatus {
    pub name: String,
    /// `running(2), exited(1)`.
    pub status: String,
    /// Comma-separated, as the containers were made with.
    pub config_files: String,
}

impl Stack<'_> {
    /// Hands log lines to the reporter: in the order they were written, or as they come when following.
    pub fn logs(&self, options: &LogsOptions) -> Result<(), Failure> {
        let mut instances = self.instances_of(&options.services)?;
        instances.retain(|instance| options.index.is_none_or(|index| index == instance.number));
        let sources = sources(&instances, &self.project.name);
        if options.options.follow {
            return walk::first(walk::each(&sources, |source| {
                self.pump(source, &options.options).map(drop).or_else(|failure| self.without_log(failure))
            }));
        }
        let mut readers = Vec::new();
        for source in &sources {
            match self.engine.logs(&source.id, &options.options) {
                Ok(reader) => readers.push((source, reader.peekable())),
                Err(error) => self.without_log(error.into())?,
            }
        }
        loop {
            let mut oldest: Option<(usize, i64)> = None;
            for (index, (_, reader)) in readers.iter_mut().enumerate() {
                let time = match reader.peek() {
                    None => continue,
                    Some(Ok(line)) => line.time_ns,
                    Some(Err(_)) => i64::MIN,
                };
                if oldest.is_none_or(|(_, oldest)| time < oldest) {
                    oldest = Some((index, time));
                }
            }
            let Some((index, _)) = oldest else { return Ok(()) };
            let (source, reader) = &mut readers[index];
            let line = reader.next().transpose();
            let unreadable = |error| StackError::Log { container: source.prefix.clone(), source: error };
            if let Some(line) = line.map_err(unreadable)? {
                let stderr = line.stream.as_str() == "stderr";
                self.reporter.log(&source.line(&line.text, line.time_ns, stderr));
            }
        }
    }

    /// A log driver that keeps nothing is worth a warning only.
    fn without_log(&self, failure: Failure) -> Result<(), Failure> {
        if failure.class() != Class::Unsupported {
            return Err(failure);
        }
        self.reporter.warning(&failure.to_string());
        Ok(())
    }

    /// Processes of running containers, by container name.
    pub fn top(&self, services: &[String], arguments: &[String]) -> Result<Vec<(Instance, Top)>, Failure> {
        let instances = self.instances_of(services)?;
        let mut out = Vec::new();
        for instance in instances.into_iter().filter(Instance::is_running) {
            let top = self.engine.top(instance.id(), arguments)?;
            out.push((instance, top));
        }
        Ok(out)
    }

    /// Images of existing containers.
    pub fn images(&self, services: &[String]) -> Result<Vec<ServiceImage>, Failure> {
        let mut out = Vec::new();
        let mut known: BTreeMap<String, Option<(u64, i64)>> = BTreeMap::new();
        for instance in self.instances_of(services)? {
            let id = instance.container.image_id.clone();
            let facts = match known.get(&id) {
                Some(facts) => *facts,
                None => {
                    let facts = self.engine.image_inspect(&id, None).ok();
                    let facts = facts.map(|image| (image.summary.size_bytes, image.summary.created_ns));
                    known.insert(id.clone(), facts);
                    facts
                }
            };
            let (size_bytes, created_ns) = facts.unwrap_or_default();
            out.push(ServiceImage {
                container: instance.container.name,
                service: instance.service,
                image: instance.container.image,
                image_id: id,
                size_bytes,
                created_ns,
            });
        }
        Ok(out)
    }

    /// Where `port` of `service` is published.
    pub fn port(
        &self,
        service: &str,
        port: u16,
        protocol: Protocol,
        index: Option<u32>,
    ) -> Result<PublishedPort, Failure> {
        let instance = self.target(service, index)?;
        let published = instance.container.ports.into_iter();
        published
            .into_iter()
            .find(|published| published.container.number == port && published.container.protocol == protocol)
            .ok_or_else(|| {
                StackError::NoPort { service: service.to_owned(), port: format!("{port}/{protocol}") }.into()
            })
    }

    /// The project's volumes that exist; only those `services` mount when some are named.
    pub fn volumes(&self, services: &[String]) -> Result<Vec<VolumeInfo>, Failure> {
        let instances = self.instances_of(services)?;
        let mut filters = Filters::default();
        filters.add("label", format!("{}={}", label::PROJECT, self.project.name));
        let mut volumes = self.engine.volumes(&filters)?;
        if !services.is_empty() {
            let mut used = std::collections::BTreeSet::new();
            for instance in &instances {
                used.extend(
                    self.engine.inspect(instance.id())?.mounts.into_iter().filter_map(|mount| mount.name),
                );
            }
            volumes.retain(|volume| used.contains(&volume.name));
        }
        Ok(volumes)
    }

    /// Filters that keep the events of this project, or of some of its services.
    pub fn event_filters(&self, services: &[String]) -> Filters {
        let mut filters = Filters::default();
        filters.add("type", "container");
        filters.add("label", format!("{}={}", label::PROJECT, self.project.name));
        // Labels must all hold, so more than one service is for the caller to select by its label.
        if let [service] = services {
            filters.add("label", format!("{}={service}", label::SERVICE));
        }
        filters
    }
}

/// All projects that have containers; stopped ones only when `all`.
pub fn projects(engine: &Engine, all: bool) -> Result<Vec<ProjectStatus>, Failure> {
    let mut filters = Filters::default();
    filters.add("label", label::PROJECT);
    let list = engine.list(&ListOptions { all, filters, ..ListOptions::default() })?;
    let mut found: BTreeMap<String, (BTreeMap<&'static str, usize>, String)> = BTreeMap::new();
    for container in list {
        let Some(name) = container.labels.get(label::PROJECT) else { continue };
        if container.labels.get(label::ONEOFF).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            continue;
        }
        let (counts, files) = found.entry(name.clone()).or_default();
        *counts.entry(container.state.status.as_str()).or_default() += 1;
        if let Some(own) = container.labels.get(label::FILES) {
            files.clone_from(own);
        }
    }
    let projects = found.into_iter().map(|(name, (counts, config_files))| {
        let status: Vec<String> =
            counts.iter().rev().map(|(word, count)| format!("{word}({count})")).collect();
        ProjectStatus { name, status: status.join(", "), config_files }
    });
    Ok(projects.collect())
}
