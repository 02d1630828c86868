//! hull run by an ordinary user: the same commands, in namespaces of the user's own.

mod containers;
mod lazy;
mod limits;
mod networks;
mod registry;
mod system;
mod user;
