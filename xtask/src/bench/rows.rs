//! What is measured, and how a row tells that it could not be.

mod api;
mod containers;
mod images;
mod many;
mod oci;
mod stacks;
mod traffic;

use super::Bench;
use super::peers::Peer;

type Row = fn(&Bench) -> Result<(), String>;

/// Every row by its title.
pub const ROWS: &[(&str, Row)] = &[
    ("run --rm of `true`, no network", containers::run_without_network),
    ("run --rm of `true`, bridge, names, one published port", containers::run_with_network),
    ("exec of `true`", containers::exec),
    ("oci run of `true`, one bundle", oci::run_plain),
    ("oci run of `true`, one bundle with a user namespace", oci::run_with_users),
    ("peak memory of oci create", oci::memory_of_create),
    ("the program alone, and ps with 100 containers", containers::start_and_list),
    ("50 parallel run -d, then rm -f of them", many::fifty),
    ("memory of an idle container's keeper", many::keepers),
    ("30 build steps, cached and not", stacks::build_steps),
    ("compose up -d of 20 services", stacks::compose_up),
    ("requests to a published port and to the container", traffic::published_port),
    ("looking up a name inside a container", traffic::lookup),
    ("images as archives", images::load_and_save),
    ("images and a registry", images::push_and_pull),
    ("docker run --rm of `true` through the API", api::run),
    ("GET /containers/json with 1,000 containers", api::list),
    ("200 clients that follow logs and stats for a minute", api::followers),
    ("10,000 containers created, started, waited for and removed", api::cycles),
    ("images that begin before they are here", images::lazy_start),
];

/// The peer called `name`, if it can be measured; the table says why when it cannot.
fn able<'a, T>(name: &str, peer: &'a Peer<T>) -> Option<&'a T> {
    peer.as_ref().map_err(|reason| println!("  {name}: not measured: {reason}")).ok()
}
