//! The phrases of Docker's tables: `Up 5 minutes (healthy)`, `0.0.0.0:80->80/tcp`.

use crate::model::{ContainerState, HealthStatus, Port, PublishedPort, Status};
use std::net::Ipv4Addr;

/// A duration as Docker rounds it: `Less than a second`, `About a minute`, `3 hours`, `2 weeks`.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = hours / 24;
    match seconds {
        i64::MIN..=0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..=59 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{days} days"),
        _ if hours < 24 * 60 => format!("{} weeks", days / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

/// `5 minutes ago`.
pub fn ago(then_ns: i64, now_ns: i64) -> String {
    format!("{} ago", duration((now_ns - then_ns) / 1_000_000_000))
}

/// The STATUS column.
pub fn status(state: &ContainerState, now_ns: i64) -> String {
    let since = |then: Option<i64>| duration((now_ns - then.unwrap_or(now_ns)) / 1_000_000_000);
    match state.status {
        Status::Paused => format!("Up {} (Paused)", since(state.started_ns)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_ns)),
        Status::Running => {
            let health = match state.health.as_ref().map(|h| h.status) {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started_ns))
        }
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
        Status::Created => "Created".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_ns)),
    }
}

/// The PORTS column: published ports first, consecutive ones joined, then exposed ones.
pub fn ports(published: &[PublishedPort], exposed: &[Port]) -> String {
    let mut sorted: Vec<&PublishedPort> = published.iter().collect();
    sorted.sort_by_key(|p| (p.container.protocol, p.host_ip, p.container.number, p.host_port));
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < sorted.len() {
        let first = sorted[at];
        let mut end = at;
        while let Some(next) = sorted.get(end + 1) {
            let here = sorted[end];
            let follows = next.container.protocol == here.container.protocol
                && next.host_ip == here.host_ip
                && next.container.number == here.container.number + 1
                && next.host_port == here.host_port + 1;
            if !follows {
                break;
            }
            end += 1;
        }
        let last = sorted[end];
        let span = |low: u16, high: u16| if low == high { low.to_string() } else { format!("{low}-{high}") };
        parts.push(format!(
            "{}:{}->{}/{}",
            first.host_ip,
            span(first.host_port, last.host_port),
            span(first.container.number, last.container.number),
            first.container.protocol
        ));
        at = end + 1;
    }
    let hidden = exposed.iter().filter(|port| !published.iter().any(|p| p.container == **port));
    parts.extend(hidden.map(ToString::to_string));
    parts.join(", ")
}

/// The COMMAND column before it is cut: arguments joined by spaces.
pub fn command(argv: &[String]) -> String {
    argv.join(" ")
}

/// `0.0.0.0`, which Docker shows for a port published on every address.
pub(crate) const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[cfg(test)]
mod tests {
    use super::*;
    use net::Protocol;

    #[test]
    fn durations_are_dockers() {
        fn check(seconds: i64, expected: &str) {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        check(0, "Less than a second");
        check(59, "59 seconds");
        check(60, "About a minute");
        check(3599, "59 minutes");
        check(3600, "About an hour");
        check(7200, "2 hours");
        check(86_400 * 3, "3 days");
        check(86_400 * 15, "2 weeks");
    }

    #[test]
    fn consecutive_ports_are_joined() {
        let port = |number| Port { number, protocol: Protocol::Tcp };
        let at =
            |number: u16| PublishedPort { container: port(number), host_ip: ANY, host_port: number + 8000 };
        assert_eq!(
            ports(&[at(81), at(80), at(90)], &[port(80), port(443)]),
            "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:8090->90/tcp, 443/tcp"
        );
        assert_eq!(ports(&[], &[]), "");
    }
}
