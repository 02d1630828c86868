//! `hull oci` as the engines that drive it meet it: on the real kernel, each test with a bundle and a root of its own.

mod bundle;
mod containerd;
mod docker;
mod exec;
mod failures;
mod hooks;
mod killed;
mod lifecycle;
mod limits;
mod podman;
mod terminal;
