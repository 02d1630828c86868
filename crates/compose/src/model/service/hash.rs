//! The digest by which Compose tells whether a container is still what its service says.
//!
//! Docker Compose takes it over the service as Go writes compose-go's structures down in JSON. Hull writes the same bytes, so that either
//! program leaves alone what the other has made: members in the order of the structures, without what is empty or not about containers.

use oci::Digest;

use crate::canon::volumes::ID_MAP;
use crate::yaml::{Map, Node, Plain, Scalar, Value};

/// What a member of a structure is in Go.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Left out when zero.
    Number,
    /// A number that is written as text; left out when zero.
    Bytes,
    /// Left out when off.
    Flag,
    /// A number or switch that is not left out when it is given.
    Given,
    /// Text, or `null`.
    Nullable,
    /// Words that are `null` when they are not given, and stay when there are none.
    Words,
    /// Left out when empty.
    List(&'static Kind),
    /// Texts in their order; left out when empty.
    Set,
    /// Keys in their order; left out when empty.
    Map(&'static Kind),
    Struct(&'static [Member]),
    /// A structure that is there even if nobody gives it.
    Always(&'static [Member]),
    /// A number, or soft and hard ones.
    Limit,
}

type Member = (&'static str, Kind);

use Kind::{Always, Bytes, Flag, Given, Limit, List, Nullable, Number, Set, Struct, Text, Words};

const TEXTS: Kind = List(&Text);
const DICTIONARY: Kind = Kind::Map(&Text);

/// `types.ServiceConfig`, without what is left out of the digest.
const SERVICE: &[Member] = &[
    ("profiles", TEXTS),
    ("annotations", DICTIONARY),
    ("attach", Given),
    ("blkio_config", Struct(&[("weight", Number)])),
    ("cap_add", TEXTS),
    ("cap_drop", TEXTS),
    ("cgroup_parent", Text),
    ("cgroup", Text),
    ("cpu_period", Number),
    ("cpu_quota", Number),
    ("cpus", Number),
    ("cpuset", Text),
    ("cpu_shares", Number),
    ("command", Words),
    ("configs", FILES),
    ("container_name", Text),
    ("depends_on", Kind::Map(&Struct(&[("condition", Text), ("restart", Flag), ("required", Given)]))),
    ("deploy", Struct(DEPLOY)),
    ("device_cgroup_rules", TEXTS),
    ("devices", List(&Struct(&[("source", Text), ("target", Text), ("permissions", Text)]))),
    ("dns", TEXTS),
    ("dns_opt", TEXTS),
    ("dns_search", TEXTS),
    ("domainname", Text),
    ("entrypoint", Words),
    ("environment", Kind::Map(&Nullable)),
    ("expose", TEXTS),
    ("external_links", TEXTS),
    ("extra_hosts", Set),
    ("group_add", TEXTS),
    ("hostname", Text),
    ("healthcheck", Struct(HEALTHCHECK)),
    ("image", Text),
    ("init", Given),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", DICTIONARY),
    ("links", TEXTS),
    ("logging", Struct(&[("driver", Text), ("options", DICTIONARY)])),
    ("mem_limit", Bytes),
    ("mem_reservation", Bytes),
    ("memswap_limit", Bytes),
    ("mem_swappiness", Bytes),
    ("mac_address", Text),
    ("network_mode", Text),
    ("networks", Kind::Map(&Struct(NETWORK))),
    ("oom_kill_disable", Flag),
    ("oom_score_adj", Number),
    ("pid", Text),
    ("pids_limit", Number),
    ("platform", Text),
    ("ports", List(&Struct(PORT))),
    ("privileged", Flag),
    ("read_only", Flag),
    ("restart", Text),
    ("secrets", FILES),
    ("security_opt", TEXTS),
    ("shm_size", Bytes),
    ("stdin_open", Flag),
    ("stop_grace_period", Text),
    ("stop_signal", Text),
    ("sysctls", DICTIONARY),
    ("tmpfs", TEXTS),
    ("tty", Flag),
    ("ulimits", Kind::Map(&Limit)),
    ("user", Text),
    ("userns_mode", Text),
    ("uts", Text),
    ("volumes", List(&Struct(VOLUME))),
    ("volumes_from", TEXTS),
    ("working_dir", Text),
];

/// `types.FileReferenceConfig`.
const FILES: Kind =
    List(&Struct(&[("source", Text), ("target", Text), ("uid", Text), ("gid", Text), ("mode", Given)]));

/// `types.DeployConfig`, without `replicas`.
const DEPLOY: &[Member] = &[
    ("mode", Text),
    ("labels", DICTIONARY),
    ("resources", Always(&[("limits", Struct(RESOURCE)), ("reservations", Struct(RESOURCE))])),
    (
        "restart_policy",
        Struct(&[("condition", Text), ("delay", Text), ("max_attempts", Given), ("window", Text)]),
    ),
    ("placement", Always(&[])),
];

/// `types.Resource`.
const RESOURCE: &[Member] = &[("cpus", Number), ("memory", Bytes), ("pids", Number)];

/// `types.HealthCheckConfig`.
const HEALTHCHECK: &[Member] = &[
    ("test", TEXTS),
    ("timeout", Text),
    ("interval", Text),
    ("retries", Given),
    ("start_period", Text),
    ("start_interval", Text),
    ("disable", Flag),
];

/// `types.ServiceNetworkConfig`.
const NETWORK: &[Member] = &[
    ("priority", Number),
    ("gw_priority", Number),
    ("aliases", TEXTS),
    ("ipv4_address", Text),
    ("mac_address", Text),
    ("driver_opts", DICTIONARY),
];

/// `types.ServicePortConfig`.
const PORT: &[Member] = &[
    ("name", Text),
    ("mode", Text),
    ("host_ip", Text),
    ("target", Number),
    ("published", Text),
    ("protocol", Text),
    ("app_protocol", Text),
];

/// `types.ServiceVolumeConfig`.
const VOLUME: &[Member] = &[
    ("type", Text),
    ("source", Text),
    ("target", Text),
    ("read_only", Flag),
    ("consistency", Text),
    (
        "bind",
        Struct(&[("selinux", Text), ("propagation", Text), ("create_host_path", Flag), ("recursive", Text)]),
    ),
    ("volume", Struct(&[("labels", DICTIONARY), ("nocopy", Flag), ("subpath", Text)])),
    ("tmpfs", Struct(&[("size", Bytes), ("mode", Given)])),
];

/// `types.NetworkConfig`.
const NETWORK_CONFIG: &[Member] = &[
    ("name", Text),
    ("driver", Text),
    ("driver_opts", DICTIONARY),
    ("ipam", Always(&[("driver", Text), ("config", List(&Struct(POOL)))])),
    ("external", Flag),
    ("internal", Flag),
    ("attachable", Flag),
    ("labels", DICTIONARY),
    ("enable_ipv4", Given),
    ("enable_ipv6", Given),
];

/// `types.IPAMPool`.
const POOL: &[Member] =
    &[("subnet", Text), ("gateway", Text), ("ip_range", Text), ("aux_addresses", DICTIONARY)];

/// Digest of a network in canonical form.
pub fn of_network(network: &Node) -> String {
    Digest::of(written(network, Struct(NETWORK_CONFIG)).as_bytes()).hex()
}

/// Digest of a service in canonical form.
pub fn of(service: &Node) -> String {
    let mut service = service.as_map().cloned().unwrap_or_default();
    for key in ["build", "pull_policy", "pull_refresh_after", "scale"] {
        service.remove(key);
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
        deploy.remove("replicas");
    }
    Digest::of(structure(&service, SERVICE).as_bytes()).hex()
}

/// A structure, and behind its members what compose-go does not know.
fn structure(map: &Map, members: &[Member]) -> String {
    let known = members.iter().filter_map(|(key, kind)| Some((*key, member(map.get(key), *kind)?)));
    let is_unknown =
        |key: &str| members.iter().all(|(name, _)| *name != key) && (!key.starts_with("x-") || key == ID_MAP);
    let mut unknown: Vec<_> = map.iter().filter(|entry| is_unknown(&entry.key)).collect();
    unknown.sort_by_key(|entry| &entry.key);
    let unknown = unknown.into_iter().map(|entry| (&*entry.key, anything(&entry.value)));
    object(known.chain(unknown))
}

/// A member as it is written, unless it is left out.
fn member(node: Option<&Node>, kind: Kind) -> Option<String> {
    let node = node.filter(|node| !node.is_null());
    let text = match (node, kind) {
        (None, Words) => "null".to_owned(),
        (None, Always(members)) => structure(&Map::default(), members),
        (None, _) => return None,
        (Some(node), kind) => written(node, kind),
    };
    let is_empty = match kind {
        Text => text == "\"\"",
        Number => text == "0",
        Bytes => text == "\"0\"",
        Flag => text == "false",
        List(_) | Set => text == "[]",
        Kind::Map(_) => text == "{}",
        Given | Nullable | Words | Struct(_) | Always(_) | Limit => false,
    };
    (!is_empty).then_some(text)
}

fn written(node: &Node, kind: Kind) -> String {
    match (kind, &node.value) {
        (Nullable, Value::Null) => "null".to_owned(),
        (Text | Nullable | Bytes, _) => string(&node.as_text().unwrap_or_default()),
        (Number | Flag | Given, Value::Scalar(scalar)) => {
            // Numbers may be quoted.
            scalar_text(&Scalar { plain: true, ..scalar.clone() })
        }
        (Limit, Value::Map(map)) => structure(map, &[("soft", Number), ("hard", Number)]),
        (Limit, _) => written(node, Number),
        (Words, Value::Seq(items)) => list(items, Text),
        (List(kind), Value::Seq(items)) => list(items, *kind),
        (Set, Value::Seq(items)) => {
            let mut items = items.clone();
            items.sort_by_key(Node::as_text);
            list(&items, Text)
        }
        (Kind::Map(kind), Value::Map(map)) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|entry| &entry.key);
            object(entries.into_iter().map(|entry| (&*entry.key, written(&entry.value, *kind))))
        }
        (Struct(members) | Always(members), Value::Map(map)) => structure(map, members),
        _ => anything(node),
    }
}

fn list(items: &[Node], kind: Kind) -> String {
    let items: Vec<String> = items.iter().map(|item| written(item, kind)).collect();
    format!("[{}]", items.join(","))
}

fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.map(|(key, value)| format!("{}:{value}", string(key))).collect();
    format!("{{{}}}", members.join(","))
}

/// What no structure describes, as it is.
fn anything(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) => scalar_text(scalar),
        Value::Seq(items) => format!("[{}]", items.iter().map(anything).collect::<Vec<_>>().join(",")),
        Value::Map(map) => object(map.iter().map(|entry| (&*entry.key, anything(&entry.value)))),
    }
}

fn scalar_text(scalar: &Scalar) -> String {
    match scalar.resolve() {
        Plain::Bool(value) => value.to_string(),
        Plain::Int(value) => value.to_string(),
        // Fractions are `float32` there.
        #[allow(clippy::cast_possible_truncation)]
        Plain::Float(value) => (value as f32).to_string(),
        Plain::Text => string(&scalar.text),
    }
}

/// A string as Go writes it: safe to put into HTML.
fn string(text: &str) -> String {
    let mut out = String::new();
    for character in serde_json::Value::from(text).to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => out.push(other),
        }
    }
    out
}
