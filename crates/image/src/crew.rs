//! Work that several threads share until it is done or one of them fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Threads at the same work, and the first failure among them.
pub struct Crew<E> {
    stop: Arc<AtomicBool>,
    failure: Mutex<Option<E>>,
}

impl<E: Send> Crew<E> {
    pub fn new() -> Self {
        Self { stop: Arc::default(), failure: Mutex::new(None) }
    }

    /// Does `work` on the jobs in their order, `at_once` of them at a time; after a failure no other is begun.
    pub fn run<T: Send>(&self, jobs: Vec<T>, at_once: usize, work: impl Fn(T) -> Result<(), E> + Sync) {
        let workers = jobs.len().min(at_once);
        let queue = Mutex::new(jobs.into_iter());
        let worker = || {
            while !self.stop.load(Ordering::Relaxed) {
                let Some(job) = lock(&queue).next() else { return };
                if let Err(error) = work(job) {
                    self.failure().get_or_insert(error);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(worker);
            }
        });
    }

    /// Set once somebody has failed: what is under way looks at it.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    pub fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first failure, which is the one that counts.
    pub fn failure(&self) -> MutexGuard<'_, Option<E>> {
        lock(&self.failure)
    }

    /// # Errors
    /// The first failure.
    pub fn end(self) -> Result<(), E> {
        self.failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// A panic ends the process, so that nobody sees what it left behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once() {
        let crew = Crew::<()>::new();
        let done = Mutex::new(Vec::new());
        crew.run((0..20).collect(), 3, |job| {
            lock(&done).push(job);
            Ok(())
        });
        crew.end().unwrap();
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failure_counts_and_stops_the_rest() {
        let crew = Crew::new();
        let begun = Mutex::new(0);
        crew.run((0..20).collect(), 1, |job| {
            *lock(&begun) += 1;
            if job < 4 { Ok(()) } else { Err(job) }
        });
        assert!(crew.has_stopped());
        assert_eq!(crew.end(), Err(4));
        assert_eq!(*lock(&begun), 5);
    }
}
