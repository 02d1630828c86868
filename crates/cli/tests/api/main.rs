//! `hull serve` from outside: requests put together by hand, and the real `docker`.

mod buildkit;
mod builds;
mod containers;
mod dashboards;
mod exec;
mod files;
mod images;
mod listening;
mod networks;
mod parity;
mod repositories;
mod requests;
mod watch;

use testkit::{Api, World};

/// A served world that has busybox.
fn served() -> Api {
    Api::serve(World::with_busybox(env!("CARGO_BIN_EXE_hull")))
}
