//! What becomes of the choice of user ids at a launch.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Lease, Pool, RANGE, Users};
use crate::{LaunchError, Step};
use oci::runtime::{LinuxNamespace, NamespaceType, Spec};

/// The outcome for one container, kept over its restarts.
#[derive(Debug, Default)]
pub struct Identity {
    lease: Option<Lease>,
    first: Option<u32>,
    /// The namespace of the first run, to which the network namespace belongs that the later runs find again.
    namespace: Option<OwnedFd>,
    /// Why the container has less than it should.
    pub warning: Option<String>,
}

impl Identity {
    /// Leases a range of ids if the container is to have one.
    ///
    /// # Errors
    /// There is none, and the container must have one.
    pub fn establish(users: Users) -> io::Result<Self> {
        let Users::Own { required } = users else { return Ok(Self::default()) };
        if sys::user::is_in_subordinate_namespace() {
            // Ids of its own would need mounts with mapped owners, which only the host's root can make.
            return match required {
                true => Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "only the host's root can give a container users of its own",
                )),
                false => Ok(Self::default()),
            };
        }
        match Pool::of_host().and_then(Pool::lease) {
            Ok(lease) => Ok(Self { first: Some(lease.first()), lease: Some(lease), ..Self::default() }),
            Err(error) if required => Err(error),
            Err(error) => {
                let mut identity = Self::default();
                identity.give_up(&error);
                Ok(identity)
            }
        }
    }

    /// That of somebody else's namespace, whose range begins with `first`.
    pub fn shared(namespace: OwnedFd, first: u32) -> Self {
        Self { first: Some(first), namespace: Some(namespace), ..Self::default() }
    }

    /// The host's id of the container's root.
    pub fn first(&self) -> Option<u32> {
        self.first
    }

    /// `spec` with the user namespace of the lease. Its mounts' maps, which count from 0, are moved to the range.
    pub fn apply<'a>(&self, spec: &'a Spec) -> Cow<'a, Spec> {
        // Without a lease the host's ids are the container's: the mounts' maps are right as they are.
        let Some(first) = self.first else { return Cow::Borrowed(spec) };
        let mut spec = spec.clone();
        if let (Some(lease), None) = (&self.lease, &self.namespace) {
            let linux = spec.linux.get_or_insert_default();
            linux.namespaces.push(LinuxNamespace::new(NamespaceType::User));
            linux.uid_mappings = vec![lease.mapping()];
            linux.gid_mappings = vec![lease.mapping()];
        }
        for mount in &mut spec.mounts {
            let maps = mount.uid_mappings.iter_mut().chain(&mut mount.gid_mappings);
            maps.for_each(|range| range.host_id += first);
        }
        Cow::Owned(spec)
    }

    /// The namespace to join: the one shared, or from the second run on that of the first.
    pub fn namespace(&self) -> Option<BorrowedFd<'_>> {
        self.namespace.as_ref().map(AsFd::as_fd)
    }

    /// Keeps the namespace of the first run.
    pub fn keep(&mut self, namespace: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<()> {
        if self.first.is_some() && self.namespace.is_none() {
            self.namespace = Some(namespace()?);
        }
        Ok(())
    }

    /// Gives the container what was made for it alone: `path` and all below it keep their ids, counted from the range's first.
    ///
    /// For files where not every kernel can map the owners of a mount, on a tmpfs.
    pub fn adopt(&self, path: &Path) -> io::Result<()> {
        let Some(first) = self.first() else { return Ok(()) };
        let metadata = std::fs::symlink_metadata(path)?;
        let moved = |id: u32| Some(if id < RANGE { id + first } else { id });
        std::os::unix::fs::lchown(path, moved(metadata.uid()), moved(metadata.gid()))?;
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.adopt(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Goes on with the host's ids, because of `why`.
    pub fn give_up(&mut self, why: &dyn std::error::Error) {
        let why = diag::with_sources(why);
        (self.lease, self.first, self.namespace) = (None, None, None);
        self.warning =
            Some(format!("the container runs with the host's user ids, root in it is root outside: {why}"));
    }

    /// Whether another attempt without the user namespace makes sense after `error`.
    pub fn may_give_up(&self, users: Users, error: &LaunchError) -> bool {
        // The overlay too: a kernel that knows no id-mapped layers says so there.
        let about_ids = matches!(
            error,
            LaunchError::Setup { step: Step::IdMaps | Step::MapOwners | Step::Overlay, .. }
                | LaunchError::Clone { .. }
        );
        // The first run of a container could, when a later one joins its namespace.
        let is_later_run = self.lease.is_some() && self.namespace.is_some();
        self.first.is_some() && !is_later_run && users == (Users::Own { required: false }) && about_ids
    }
}
