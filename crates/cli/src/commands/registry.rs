//! Commands about registries themselves: who one is there, what they have, and being one.

use super::{Command, Section, run as row};

pub mod login;
pub mod logout;
pub mod search;
pub mod serve;

/// The commands of `hull registry`.
pub static GROUP: &[Command] =
    &[row("serve", Section::Plain, "Serve the images of this host to clients of registries", serve::run)];

/// Docker Hub's name in references, in which it is the registry of those who name none.
const HUB: &str = "docker.io";

/// The host in what a user takes for the address of a registry: a scheme and a path are left out, as Docker does it.
fn host(server: &str) -> &str {
    let name = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    match name.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_servers() {
        let check = |server, expected| assert_eq!(host(server), expected, "{server}");
        check("https://index.docker.io/v1/", HUB);
        check("docker.io", HUB);
        check("http://r.example:5000/v2/", "r.example:5000");
        check("localhost:5000", "localhost:5000");
    }
}
