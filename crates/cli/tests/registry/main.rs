//! `hull registry serve` from outside: raw requests for what the specification says, and the clients people have.

mod access;
mod clients;
mod deletion;
mod docker;
mod hostile;
mod http;
mod hull;
mod killed;
mod listing;
mod manifests;
mod pull;
mod push;
mod server;
