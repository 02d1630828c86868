//! Networks, volumes, secrets and configs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::model::{NetworkSpec, VolumeSpec};

use super::section::Section;
use super::service::hash;
use super::{FileResource, FileSource, Network, Volume};
use crate::error::LoadError;
use crate::yaml::Entry;

pub(super) fn network(entry: &Entry) -> Result<Network, LoadError> {
    let section = Section::new(&entry.value, format!("networks.{}", entry.key))?;
    let mut spec = NetworkSpec {
        name: section.text("name")?.unwrap_or_default(),
        driver: section.text("driver")?.filter(|driver| driver != "default"),
        internal: section.flag("internal")?,
        attachable: section.flag("attachable")?,
        options: section.dictionary("driver_opts")?,
        labels: section.dictionary("labels")?,
        ..NetworkSpec::default()
    };
    if section.boolean("enable_ipv4")? == Some(false) {
        return Err(section.invalid("enable_ipv4", "cannot be false: hull's networks are IPv4"));
    }
    if section.flag("enable_ipv6")? {
        section.unsupported("enable_ipv6", "hull's networks are IPv4")?;
    }
    if let Some(ipam) = section.section("ipam")? {
        if let Some(driver) = ipam.text("driver")?
            && driver != "default"
        {
            ipam.unsupported("driver", "the only address manager is `default`")?;
        }
        ipam.unsupported("options", "the address manager has none")?;
        let configs = ipam.sections("config")?;
        if configs.len() > 1 {
            return Err(ipam.invalid("config", "has several pools; hull's networks have one IPv4 subnet"));
        }
        for config in configs {
            spec.subnet = config.parsed("subnet", engine::parse::subnet)?;
            spec.ip_range = config.parsed("ip_range", engine::parse::subnet)?;
            spec.gateway = config.parsed("gateway", str::parse)?;
            for (name, text) in config.dictionary("aux_addresses")? {
                let address = text.parse().map_err(|_| {
                    config.invalid("aux_addresses", format!("must be addresses, not {text:?}"))
                })?;
                spec.aux_addresses.insert(name, address);
            }
            config.finish()?;
        }
        ipam.finish()?;
    }
    let external =
        external(&section, &["driver", "driver_opts", "ipam", "internal", "attachable", "labels"])?;
    section.finish()?;
    Ok(Network { key: entry.key.clone(), external, spec, hash: hash::of_network(&entry.value) })
}

pub(super) fn volume(entry: &Entry) -> Result<Volume, LoadError> {
    let section = Section::new(&entry.value, format!("volumes.{}", entry.key))?;
    let name = section.text("name")?.unwrap_or_default();
    let spec = VolumeSpec {
        name: Some(name.clone()),
        driver: section.text("driver")?.filter(|driver| driver != "default"),
        driver_opts: section.dictionary("driver_opts")?,
        labels: section.dictionary("labels")?,
    };
    let external = external(&section, &["driver", "driver_opts", "labels"])?;
    section.finish()?;
    Ok(Volume { key: entry.key.clone(), name, external, spec })
}

/// A resource made elsewhere must not say how to make it.
fn external(section: &Section, settings: &[&'static str]) -> Result<bool, LoadError> {
    let external = section.flag("external")?;
    if external && let Some(key) = settings.iter().find(|key| section.node(key).is_some()) {
        return Err(section.invalid(key, "conflicts with `external: true`: the resource is made elsewhere"));
    }
    Ok(external)
}

pub(super) fn file(
    entry: &Entry,
    section: &str,
    environment: &BTreeMap<String, String>,
) -> Result<FileResource, LoadError> {
    let path = format!("{section}.{}", entry.key);
    let section = Section::new(&entry.value, &*path)?;
    section.text("name")?;
    for key in ["driver", "driver_opts", "template_driver"] {
        section.unsupported(key, "secrets and configs come from files, variables or the Compose file")?;
    }
    if section.flag("external")? {
        section.unsupported("external", "there is no swarm that could hold it")?;
    }
    let file = section.text("file")?.map(|file| FileSource::File(PathBuf::from(file)));
    let variable = match section.text("environment")? {
        None => None,
        Some(name) => match environment.get(&name) {
            Some(value) => Some(FileSource::Text(value.clone())),
            None => {
                return Err(
                    section.invalid("environment", format!("names the variable {name}, which is not set"))
                );
            }
        },
    };
    let content = match path.starts_with("configs") {
        true => section.loose("content")?.map(FileSource::Text),
        false => None,
    };
    let labels = section.dictionary("labels")?;
    section.finish()?;
    let mut sources = [file, variable, content].into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(source), None) => Ok(FileResource { key: entry.key.clone(), source, labels }),
        (None, _) => Err(LoadError::Value {
            at: entry.key_at.clone(),
            path,
            message: "needs one of `file`, `environment` or `content`".into(),
        }),
        _ => Err(LoadError::Value {
            at: entry.key_at.clone(),
            path,
            message: "has several sources; give one of `file`, `environment` or `content`".into(),
        }),
    }
}
