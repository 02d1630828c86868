//! The runtime-spec of a container: the defaults, changed by what was asked.

use crate::engine::Engine;
use crate::model::{Device, IpcMode, Isolation, NamespaceMode, NetworkMode};
use crate::record::Container;
use crate::start::StartError;
use monitor::plan::Networking;
use oci::runtime::{Linux, LinuxDevice, LinuxDeviceCgroup, LinuxNamespace, NamespaceType, Spec};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

impl Engine {
    pub(super) fn oci_spec(&self, container: &Container, network: &Networking) -> Result<Spec, StartError> {
        let (doc, isolation) = (&container.doc.spec, &container.doc.spec.isolation);
        let mut spec = runtime::default_spec();
        if isolation.privileged {
            runtime::make_privileged(&mut spec);
        }
        spec.process = Some(super::process(container, spec.process.take().unwrap_or_default()));
        spec.annotations.clone_from(&doc.annotations);
        if let Some(root) = &mut spec.root {
            root.readonly = isolation.read_only;
        }
        if super::has_own_hostname(container) {
            spec.hostname = Some(super::files::hostname(container));
            spec.domainname.clone_from(&isolation.domainname);
        }
        self.mounts(container, &mut spec.mounts)?;
        let linux = spec.linux.get_or_insert_default();
        self.namespaces(isolation, network, linux)?;
        sysctls(container, linux);
        if let Some(paths) = &isolation.masked_paths {
            linux.masked_paths = paths.iter().map(PathBuf::from).collect();
        }
        if let Some(paths) = &isolation.readonly_paths {
            linux.readonly_paths = paths.iter().map(PathBuf::from).collect();
        }
        for device in &isolation.devices {
            add_device(device, linux)?;
        }
        let resources = linux.resources.get_or_insert_default();
        resources.devices.extend(isolation.device_rules.iter().filter_map(|rule| device_rule(rule)));
        super::resources(&doc.limits, resources)?;
        if resources.pids.is_none() && self.limits_processes() {
            resources.pids = super::default_pids();
        }
        Ok(spec)
    }

    fn limits_processes(&self) -> bool {
        self.hierarchy().is_ok_and(|hierarchy| hierarchy.controllers().iter().any(|name| name == "pids"))
    }

    fn namespaces(
        &self,
        isolation: &Isolation,
        network: &Networking,
        linux: &mut Linux,
    ) -> Result<(), StartError> {
        let mut host = |kind| linux.namespaces.retain(|namespace| namespace.r#type != kind);
        match &isolation.pid {
            NamespaceMode::Private => {}
            NamespaceMode::Host => host(NamespaceType::Pid),
            NamespaceMode::Container(other) => {
                host(NamespaceType::Pid);
                let path = format!("/proc/{}/ns/pid", self.pid_to_join(other)?);
                linux.namespaces.push(LinuxNamespace::at(NamespaceType::Pid, path));
            }
        }
        let mut host = |kind| linux.namespaces.retain(|namespace| namespace.r#type != kind);
        match &isolation.ipc {
            IpcMode::Private | IpcMode::Shareable | IpcMode::None => {}
            IpcMode::Host => host(NamespaceType::Ipc),
            IpcMode::Container(other) => {
                host(NamespaceType::Ipc);
                let path = format!("/proc/{}/ns/ipc", self.pid_with_ipc(other)?);
                linux.namespaces.push(LinuxNamespace::at(NamespaceType::Ipc, path));
            }
        }
        let mut host = |kind| linux.namespaces.retain(|namespace| namespace.r#type != kind);
        if isolation.uts == NamespaceMode::Host {
            host(NamespaceType::Uts);
        }
        if isolation.cgroupns == NamespaceMode::Host {
            host(NamespaceType::Cgroup);
        }
        match network {
            Networking::Host => host(NamespaceType::Network),
            Networking::Join(path) => {
                host(NamespaceType::Network);
                linux.namespaces.push(LinuxNamespace::at(NamespaceType::Network, path));
            }
            Networking::Private { .. } => {}
        }
        Ok(())
    }
}

/// The masked and the read-only paths of whoever asks for no others.
pub(crate) fn usual_paths() -> [Vec<String>; 2] {
    let linux = runtime::default_spec().linux.unwrap_or_default();
    let texts = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
    [texts(linux.masked_paths), texts(linux.readonly_paths)]
}

/// Docker's two defaults for a network namespace of one's own, then the user's.
fn sysctls(container: &Container, linux: &mut Linux) {
    let spec = &container.doc.spec;
    if !matches!(spec.network.mode, NetworkMode::Host | NetworkMode::Container(_)) {
        linux.sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        linux.sysctl.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    for (key, value) in &spec.isolation.sysctls {
        linux.sysctl.insert(key.replace('/', "."), value.clone());
    }
}

/// A device node, or every node below a directory.
fn add_device(device: &Device, linux: &mut Linux) -> Result<(), StartError> {
    let error = |source| StartError::Device { path: device.host.clone(), source };
    // What `/dev/disk/by-id/…` and its like lead to.
    let host = device.host.canonicalize().map_err(error)?;
    let metadata = host.metadata().map_err(error)?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(&host).map_err(error)? {
            let entry = entry.map_err(error)?;
            let inner = Device {
                host: entry.path(),
                container: format!("{}/{}", device.container, entry.file_name().to_string_lossy()),
                permissions: device.permissions.clone(),
            };
            let kind = entry.file_type().map_err(error)?;
            if kind.is_dir() || kind.is_block_device() || kind.is_char_device() {
                add_device(&inner, linux)?;
            }
        }
        return Ok(());
    }
    let kind = metadata.file_type();
    let letter = if kind.is_block_device() {
        "b"
    } else if kind.is_char_device() {
        "c"
    } else {
        return Err(StartError::NotADevice { path: device.host.clone() });
    };
    let (major, minor) = sys::fs::device_numbers(metadata.rdev());
    linux.devices.retain(|other| other.path != Path::new(&device.container));
    linux.devices.push(LinuxDevice {
        path: (&device.container).into(),
        r#type: letter.to_owned(),
        major: major.into(),
        minor: minor.into(),
        file_mode: Some(metadata.permissions().mode() & 0o777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    });
    linux.resources.get_or_insert_default().devices.push(LinuxDeviceCgroup {
        allow: true,
        r#type: Some(letter.to_owned()),
        major: Some(major.into()),
        minor: Some(minor.into()),
        access: Some(device.permissions.clone()),
    });
    Ok(())
}

/// `c 1:3 mr`, which creation has checked.
fn device_rule(rule: &str) -> Option<LinuxDeviceCgroup> {
    let mut words = rule.split(' ');
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    Some(LinuxDeviceCgroup {
        allow: true,
        r#type: Some(kind.to_owned()),
        major: major.parse().ok(),
        minor: minor.parse().ok(),
        access: Some(access.to_owned()),
    })
}
