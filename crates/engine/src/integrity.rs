//! Checking and mending images under the eyes of containers.

use crate::engine::Engine;
use crate::image_mounts::ImageMount;
use crate::model::ContainerId;
use image::{CheckError, Checked, Damage, Hold, InUse, Outcome, RepairTools};
use monitor::state::Status;
use oci::{DiffId, Digest};
use registry::Client;
use store::DatabaseError;
use store::db::{containers, images};
use sys::fs::{FileLock, LockKind};

impl Engine {
    /// Verifies images, or with no names everything that is kept.
    ///
    /// # Errors
    /// [`CheckError`] when it could not be done; damage is no error.
    pub fn image_check(&self, names: &[String]) -> Result<Checked, CheckError> {
        self.images().check(names)
    }

    /// As [`Engine::image_check`], and mends what can be mended; layers that somebody has mounted stay as they are.
    ///
    /// # Errors
    /// [`CheckError`].
    pub fn image_repair(
        &self,
        client: &Client,
        names: &[String],
    ) -> Result<(Checked, Vec<(Damage, Outcome)>), CheckError> {
        let hold = |diff_id: &DiffId| self.hold_layer(diff_id);
        self.images().repair(names, &RepairTools { client, hold: &hold })
    }

    /// Locks every container that has the layer, or says why it must not change.
    ///
    /// No lock is waited for: a holder may itself be waiting for the store, which the caller has.
    fn hold_layer(&self, diff_id: &DiffId) -> Result<Hold, InUse> {
        let (containers, images) = self
            .store()
            .database()
            .read(|reader| Ok::<_, DatabaseError>((containers::list(reader)?, images::list(reader)?)))
            .map_err(|error| InUse {
                why: format!("nobody can tell whether it is mounted: {error}"),
                remedy: "mend the database".to_owned(),
            })?;
        let has_it =
            |id: &Digest| images.iter().any(|image| image.id == *id && image.layers.contains(diff_id));
        if let Some(ImageMount { image, path }) = self.image_mounts().into_iter().find(|m| has_it(&m.image)) {
            let image = image.short();
            return Err(InUse {
                why: format!("image {image} is mounted at {}", path.display()),
                remedy: format!("`hull image unmount {image}`"),
            });
        }
        let mut locks = Vec::new();
        for row in containers.into_iter().filter(|row| row.layers.contains(diff_id)) {
            let user = || {
                let container = format!("container {}", row.name);
                InUse { why: format!("{container} has it mounted"), remedy: format!("stop {container}") }
            };
            let (run_dir, data_dir) = {
                let id = ContainerId::from_string(row.id.clone());
                (self.run_dir(&id), self.data_dir(&id))
            };
            // One that has no such directory has not run since the system was started.
            if crate::lookup::make_private_dir(&run_dir).is_err() {
                return Err(user());
            }
            match FileLock::try_acquire(run_dir.join("op.lock"), LockKind::Exclusive) {
                Ok(Some(lock)) => locks.push(lock),
                _ => return Err(user()),
            }
            match monitor::state::read(&run_dir, &data_dir).map(|observed| observed.state.status) {
                Ok(Status::Created | Status::Exited) => {}
                _ => return Err(user()),
            }
        }
        Ok(Box::new(locks))
    }
}
