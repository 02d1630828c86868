//! What comes on a connection of its own, before or after whoever waits for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long it is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What has come, by its name.
pub struct Arrivals<T> {
    here: Mutex<HashMap<String, T>>,
    /// Changes when one comes.
    came: watch::Sender<()>,
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self { here: Mutex::default(), came: watch::Sender::default() }
    }
}

impl<T> Arrivals<T> {
    pub fn add(&self, id: &str, arrived: T) {
        self.lock().insert(id.to_owned(), arrived);
        self.came.send_replace(());
    }

    pub fn remove(&self, id: &str) -> Option<T> {
        self.lock().remove(id)
    }

    /// What `find` has for its answer, as soon as there is something; `None` when it does not come.
    pub async fn wait<R>(&self, find: impl Fn(&mut HashMap<String, T>) -> Option<R>) -> Option<R> {
        let mut came = self.came.subscribe();
        let found = async {
            loop {
                if let Some(found) = find(&mut self.lock()) {
                    return found;
                }
                let _ = came.changed().await;
            }
        };
        timeout(PATIENCE, found).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
