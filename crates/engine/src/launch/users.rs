//! Whose user ids a container runs with.
//!
//! By default its own: root in it is nobody on the host. What needs the rights of the host's root (`--privileged`, a namespace of
//! the host's) has the host's ids with it, as Docker demands it under `userns-remap`; a container that joins another's namespaces
//! joins its users first.
//!
//! Without root, all containers of a user share the ids that are his: root in them is that user outside. Ids of one's own would
//! need mounts with mapped owners, which only the host's root can make.

use crate::engine::Engine;
use crate::model::{ContainerSpec, IpcMode, Isolation, NamespaceMode, NetworkMode, UserNamespace};
use crate::record::Container;
use crate::start::StartError;
use oci::runtime::{LinuxNamespace, NamespaceType, Spec};
use runtime::ids::{Policy, Users, fit, fit_groups};

/// Why a container runs with the host's user ids, in the words of the flag that says so.
pub(crate) fn reason_for_host(container: &Container) -> Option<&'static str> {
    let spec = &container.doc.spec;
    if spec.isolation.users == UserNamespace::Host {
        return Some("--userns=host");
    }
    needs_host(&spec.isolation, &spec.network.mode)
}

/// The part of a request that a user namespace of one's own contradicts.
pub(crate) fn needs_host(isolation: &Isolation, network: &NetworkMode) -> Option<&'static str> {
    let reasons = [
        (isolation.privileged, "--privileged"),
        (isolation.pid == NamespaceMode::Host, "--pid=host"),
        (isolation.ipc == IpcMode::Host, "--ipc=host"),
        (isolation.cgroupns == NamespaceMode::Host, "--cgroupns=host"),
        (matches!(network, NetworkMode::Host), "--network=host"),
    ];
    reasons.into_iter().find_map(|(given, flag)| given.then_some(flag))
}

/// Whether the container gets user ids of its own, as far as its request and the environment tell.
pub(crate) fn may_have_own_users(spec: &ContainerSpec) -> bool {
    spec.isolation.users != UserNamespace::Host
        && needs_host(&spec.isolation, &spec.network.mode).is_none()
        && Policy::from_environment() != Ok(Policy::Host)
        && !sys::user::is_in_subordinate_namespace()
}

impl Engine {
    /// The choice for `container`; completes `spec` for it.
    pub(super) fn users(&self, container: &Container, spec: &mut Spec) -> Result<Users, StartError> {
        let isolation = &container.doc.spec.isolation;
        if sys::user::is_in_subordinate_namespace() {
            let policy = Policy::from_environment().map_err(StartError::Users)?;
            if isolation.users == UserNamespace::Private || policy == Policy::Require {
                return Err(StartError::OwnUsers);
            }
            fit_groups(spec);
            return Ok(Users::Given);
        }
        if reason_for_host(container).is_some() {
            return Ok(Users::Given);
        }
        if let Some(other) = joined(container) {
            let Some((pid, first)) = self.pid_of_other_users(other)? else { return Ok(Users::Given) };
            let path = format!("/proc/{pid}/ns/user");
            spec.linux.get_or_insert_default().namespaces.push(LinuxNamespace::at(NamespaceType::User, path));
            fit(spec);
            for mount in &mut spec.mounts {
                let maps = mount.uid_mappings.iter_mut().chain(&mut mount.gid_mappings);
                maps.for_each(|range| range.host_id += first);
            }
            return Ok(Users::Given);
        }
        let policy = Policy::from_environment().map_err(StartError::Users)?;
        let required = match (isolation.users, policy) {
            (UserNamespace::Private, _) | (_, Policy::Require) => true,
            (_, Policy::Prefer) => false,
            (_, Policy::Host) => return Ok(Users::Given),
        };
        fit(spec);
        Ok(Users::Own { required })
    }

    /// The pid of a running container if its user ids are not the host's, and the host's id of its 0.
    fn pid_of_other_users(&self, name: &str) -> Result<Option<(i32, u32)>, StartError> {
        let other = self.find(name)?;
        let state = self.observe(&other)?.state;
        if state.pid == 0 {
            return Err(StartError::JoinStopped { name: other.name });
        }
        Ok(state.first_id.map(|first| (state.pid, first)))
    }
}

/// The container one of whose namespaces is shared.
fn joined(container: &Container) -> Option<&str> {
    let spec = &container.doc.spec;
    if let NetworkMode::Container(other) = &spec.network.mode {
        return Some(other);
    }
    match (&spec.isolation.pid, &spec.isolation.ipc) {
        (NamespaceMode::Container(other), _) | (_, IpcMode::Container(other)) => Some(other),
        _ => None,
    }
}
