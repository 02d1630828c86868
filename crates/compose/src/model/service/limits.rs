//! Cgroup limits and rlimits: the service's own keys and `deploy.resources`.

use engine::model::{BlockRate, Limits, Ulimit};

use super::super::section::Section;
use crate::error::LoadError;

const LARGEST: i64 = i64::MAX;

fn unsigned(section: &Section, key: &'static str) -> Result<Option<u64>, LoadError> {
    Ok(section.int(key, 0..=LARGEST)?.and_then(|value| u64::try_from(value).ok()))
}

pub(super) fn read(section: &Section) -> Result<Limits, LoadError> {
    let mut limits = Limits {
        memory_bytes: unsigned(section, "mem_limit")?.filter(|bytes| *bytes > 0),
        memory_reservation_bytes: unsigned(section, "mem_reservation")?.filter(|bytes| *bytes > 0),
        memory_swap_bytes: section.int("memswap_limit", -1..=LARGEST)?.filter(|bytes| *bytes != 0),
        memory_swappiness: section
            .int("mem_swappiness", 0..=100)?
            .and_then(|value| u64::try_from(value).ok()),
        oom_kill_disable: section.flag("oom_kill_disable")?,
        nano_cpus: section.parsed("cpus", engine::parse::cpus)?.filter(|cpus| *cpus > 0),
        cpu_shares: unsigned(section, "cpu_shares")?.filter(|shares| *shares > 0),
        cpu_period_us: unsigned(section, "cpu_period")?.filter(|period| *period > 0),
        cpu_quota_us: section.int("cpu_quota", -1..=LARGEST)?.filter(|quota| *quota != 0),
        cpuset_cpus: section.loose("cpuset")?.filter(|set| !set.is_empty()),
        pids: section.int("pids_limit", -1..=LARGEST)?,
        ulimits: ulimits(section)?,
        ..Limits::default()
    };
    if let Some(blkio) = section.section("blkio_config")? {
        limits.blkio_weight = blkio.int("weight", 10..=1000)?.and_then(|weight| u16::try_from(weight).ok());
        blkio.unsupported("weight_device", "only one weight for all devices is")?;
        limits.read_bps = rates(&blkio, "device_read_bps")?;
        limits.write_bps = rates(&blkio, "device_write_bps")?;
        limits.read_iops = rates(&blkio, "device_read_iops")?;
        limits.write_iops = rates(&blkio, "device_write_iops")?;
        blkio.finish()?;
    }
    Ok(limits)
}

fn rates(blkio: &Section, key: &'static str) -> Result<Vec<BlockRate>, LoadError> {
    let mut out = Vec::new();
    for item in blkio.sections(key)? {
        let device = item.text("path")?;
        let rate = item.parsed("rate", engine::parse::size_bytes)?;
        item.finish()?;
        match (device, rate) {
            (Some(device), Some(rate)) => out.push(BlockRate { device: device.into(), rate }),
            (None, _) => return Err(item.invalid("path", "is missing")),
            (_, None) => return Err(item.invalid("rate", "is missing")),
        }
    }
    Ok(out)
}

/// `ulimits` of a service or of its build.
pub(in crate::model) fn ulimits(section: &Section) -> Result<Vec<Ulimit>, LoadError> {
    let mut out = Vec::new();
    let Some(all) = section.section("ulimits")? else { return Ok(out) };
    for entry in section.children("ulimits")? {
        let limit = match entry.value.as_text() {
            Some(text) => format!("{}={text}", entry.key),
            None => {
                let item = Section::new(&entry.value, all.path(&entry.key))?;
                let (soft, hard) = (item.int("soft", -1..=LARGEST)?, item.int("hard", -1..=LARGEST)?);
                item.finish()?;
                let (Some(soft), Some(hard)) = (soft, hard) else {
                    return Err(all.invalid(&entry.key, "needs `soft` and `hard`"));
                };
                format!("{}={soft}:{hard}", entry.key)
            }
        };
        let limit = engine::parse::ulimit(&limit)
            .map_err(|error| all.invalid(&entry.key, format!("is wrong: {error}")))?;
        out.push(limit);
    }
    Ok(out)
}

/// Applies `deploy.resources`; a limit that the service sets too must agree.
pub(super) fn deployed(resources: &Section, service: &Section, limits: &mut Limits) -> Result<(), LoadError> {
    if let Some(section) = resources.section("limits")? {
        let same = |own: bool, key: &str, own_key: &str| match own {
            true => Ok(()),
            false => {
                Err(service.invalid(own_key, format!("and `deploy.resources.limits.{key}` are different")))
            }
        };
        if let Some(bytes) = unsigned(&section, "memory")? {
            same(limits.memory_bytes.is_none_or(|own| own == bytes), "memory", "mem_limit")?;
            limits.memory_bytes = Some(bytes).filter(|bytes| *bytes > 0);
        }
        if let Some(cpus) = section.parsed("cpus", engine::parse::cpus)? {
            same(limits.nano_cpus.is_none_or(|own| own == cpus), "cpus", "cpus")?;
            limits.nano_cpus = Some(cpus).filter(|cpus| *cpus > 0);
        }
        if let Some(pids) = section.int("pids", -1..=LARGEST)? {
            same(limits.pids.is_none_or(|own| own == pids), "pids", "pids_limit")?;
            limits.pids = Some(pids);
        }
        section.finish()?;
    }
    if let Some(section) = resources.section("reservations")? {
        if let Some(bytes) = unsigned(&section, "memory")? {
            limits.memory_reservation_bytes = Some(bytes).filter(|bytes| *bytes > 0);
        }
        section.unsupported("cpus", "processor time is shared, not reserved")?;
        section.unsupported("devices", "devices of accelerators are not there yet")?;
        section.unsupported("generic_resources", "there is no swarm")?;
        section.finish()?;
    }
    resources.finish()
}
