//! The phrases of Docker's tables: `Up 5 minutes (healthy)`, `0.0.0.0:80->80/tcp`.

use crate::model::{ContainerState, HealthStatus, Status};
use serde_json::Value;
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

/// The PORTS column of an entry of the container list: published ports first, consecutive ones joined, then exposed ones.
pub fn ports(entries: &Value) -> String {
    struct Entry<'a> {
        protocol: &'a str,
        ip: &'a str,
        private: u64,
        public: u64,
    }
    let entries = entries.as_array().into_iter().flatten().map(|entry| Entry {
        protocol: entry["Type"].as_str().unwrap_or_default(),
        ip: entry["IP"].as_str().unwrap_or_default(),
        private: entry["PrivatePort"].as_u64().unwrap_or_default(),
        public: entry["PublicPort"].as_u64().unwrap_or_default(),
    });
    let (mut sorted, hidden): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.public != 0);
    // Addresses by number, those of IPv6 last.
    let address = |ip: &str| (ip.contains(':'), ip.parse::<Ipv4Addr>().ok(), ip.to_owned());
    sorted.sort_by_key(|p| (p.protocol, address(p.ip), p.private, p.public));
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < sorted.len() {
        let first = &sorted[at];
        let mut end = at;
        while let Some(next) = sorted.get(end + 1) {
            let here = &sorted[end];
            let follows = next.protocol == here.protocol
                && next.ip == here.ip
                && next.private == here.private + 1
                && next.public == here.public + 1;
            if !follows {
                break;
            }
            end += 1;
        }
        let last = &sorted[end];
        let span = |low: u64, high: u64| if low == high { low.to_string() } else { format!("{low}-{high}") };
        let ip = if first.ip.contains(':') { format!("[{}]", first.ip) } else { first.ip.to_owned() };
        parts.push(format!(
            "{ip}:{}->{}/{}",
            span(first.public, last.public),
            span(first.private, last.private),
            first.protocol
        ));
        at = end + 1;
    }
    parts.extend(hidden.iter().map(|entry| format!("{}/{}", entry.private, entry.protocol)));
    parts.join(", ")
}

/// The COMMAND column before it is cut: the program and its arguments, those that have spaces in quotes.
pub fn command(argv: &[String]) -> String {
    let shown = argv.iter().enumerate().map(|(at, word)| match word.contains(' ') && at > 0 {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `0.0.0.0`, which Docker shows for a port published on every address.
pub(crate) const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_with_spaces_are_quoted() {
        let command = |words: &[&str]| command(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(command(&["a b", "-c", "echo it"]), "a b -c 'echo it'");
        assert_eq!(command(&["a"]), "a");
    }

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
        let at = |ip: &str, number: u16| json!({"IP": ip, "PrivatePort": number, "PublicPort": number + 8000, "Type": "tcp"});
        let exposed = json!({"PrivatePort": 443, "Type": "tcp"});
        let any = "0.0.0.0";
        assert_eq!(
            ports(&json!([at(any, 81), at("::", 80), at(any, 80), exposed, at(any, 90)])),
            "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:8090->90/tcp, [::]:8080->80/tcp, 443/tcp"
        );
        assert_eq!(ports(&Value::Null), "");
    }
}
