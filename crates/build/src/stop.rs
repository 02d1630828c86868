//! Why running stages should stop: the caller's wish, or another stage's failure.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::request::Cancel;

/// Both reasons in one; shared by all threads of a build.
#[derive(Debug, Default)]
pub struct Stop {
    wish: Cancel,
    failed: AtomicBool,
}

impl Stop {
    pub fn new(wish: Cancel) -> Self {
        Self { wish, failed: AtomicBool::new(false) }
    }

    /// The caller's wish alone.
    pub fn wish(&self) -> &Cancel {
        &self.wish
    }

    /// Notes that a stage failed: what the others do no longer matters.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.wish.is_cancelled() || self.failed.load(Ordering::SeqCst)
    }
}
