//! Changing the limits and the restart policy of a container.

use crate::create::validate;
use crate::engine::Engine;
use crate::launch::limits;
use crate::lookup::LookupError;
use crate::model::{Limits, RestartPolicy, UpdateSpec};
use crate::start::StartError;
use diag::{Class, Diagnose};
use monitor::client::RequestError;
use oci::runtime::LinuxResources;
use store::db::containers;
use store::{DatabaseError, Durability};

/// Why a container could not be changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum UpdateError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("Restart policy cannot be updated because AutoRemove is enabled for the container")]
    AutoRemove,
    #[error(transparent)]
    Limits(#[from] StartError),
    #[error("Cannot update container {name}")]
    Monitor { name: String, source: RequestError },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Diagnose for UpdateError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::AutoRemove => Class::Conflict,
            Self::Limits(error) => error.class(),
            Self::Monitor { source, .. } => source.class(),
            Self::Database(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Monitor { source, .. } => source.hint(),
            _ => None,
        }
    }
}

impl Engine {
    /// Changes what `update` names, now when the container runs and for its next start.
    ///
    /// # Errors
    /// [`UpdateError`]; the container is as it was then.
    pub fn update(&self, name: &str, update: &UpdateSpec) -> Result<(), UpdateError> {
        let (mut container, lock) = self.find_locked(name)?;
        let spec = &mut container.doc.spec;
        if update.restart.as_ref().is_some_and(|policy| *policy != RestartPolicy::No) && spec.auto_remove {
            return Err(UpdateError::AutoRemove);
        }
        let limits_change = merge(&mut spec.limits, &update.limits);
        validate::limits(&spec.limits).map_err(StartError::from)?;
        if let Some(policy) = &update.restart {
            spec.restart = policy.clone();
        }
        // All of them, not only the new ones: what follows from two, as a default for swap, follows from the two as they are now.
        let mut resources = LinuxResources::default();
        limits::resources(&spec.limits, &mut resources)?;
        let resources = limits_change.then_some(resources);
        if self.observe_locked(&container, &lock)?.state.status.is_active() {
            let policy = update.restart.as_ref().map(crate::launch::restart_policy);
            let updated = self.monitor(&container).and_then(|mut monitor| monitor.update(policy, resources));
            match updated {
                // It ended meanwhile: the next start takes the new values.
                Ok(()) | Err(RequestError::NotRunning { .. }) => {}
                Err(source) => return Err(UpdateError::Monitor { name: container.name, source }),
            }
        }
        self.store().database().write(Durability::Full, |writer| {
            containers::update(writer, container.id.as_str(), &container.doc.to_json())?;
            Ok::<_, DatabaseError>(())
        })?;
        self.emit(&crate::events::container(&container, "update"));
        Ok(())
    }
}

/// Takes over what `new` says and keeps the rest; a zero says nothing, as in Docker. Returns whether anything is different.
fn merge(limits: &mut Limits, new: &Limits) -> bool {
    fn take<T: Clone + Default + PartialEq>(have: &mut Option<T>, new: &Option<T>) {
        if new.as_ref().is_some_and(|new| *new != T::default()) {
            have.clone_from(new);
        }
    }
    let before = limits.clone();
    take(&mut limits.memory_bytes, &new.memory_bytes);
    take(&mut limits.memory_swap_bytes, &new.memory_swap_bytes);
    take(&mut limits.memory_reservation_bytes, &new.memory_reservation_bytes);
    take(&mut limits.memory_swappiness, &new.memory_swappiness);
    take(&mut limits.nano_cpus, &new.nano_cpus);
    take(&mut limits.cpu_shares, &new.cpu_shares);
    take(&mut limits.cpu_period_us, &new.cpu_period_us);
    take(&mut limits.cpu_quota_us, &new.cpu_quota_us);
    take(&mut limits.cpuset_cpus, &new.cpuset_cpus);
    take(&mut limits.cpuset_mems, &new.cpuset_mems);
    take(&mut limits.blkio_weight, &new.blkio_weight);
    // Here zero means something: no limit.
    limits.pids = new.pids.or(limits.pids);
    *limits != before
}
