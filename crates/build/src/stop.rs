//! Why running stages should stop: the caller's wish, or another stage's failure.

use registry::Client;

use crate::request::Cancel;

/// Both reasons in one; shared by all threads of a build.
#[derive(Debug, Default)]
pub struct Stop {
    wish: Cancel,
    failed: Cancel,
}

impl Stop {
    pub fn new(wish: Cancel) -> Self {
        Self { wish, failed: Cancel::default() }
    }

    /// The caller's wish alone.
    pub fn wish(&self) -> &Cancel {
        &self.wish
    }

    /// Notes that a stage failed: what the others do no longer matters.
    pub fn fail(&self) {
        self.failed.cancel();
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.wish.is_cancelled() || self.failed.is_cancelled()
    }

    /// `client` for work that ends with either.
    pub fn bound(&self, client: &Client) -> Client {
        client.until(&self.wish.flag()).until(&self.failed.flag())
    }
}
