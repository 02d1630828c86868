//! Automation: `cargo xtask check|test|bench`.

fn main() {}
