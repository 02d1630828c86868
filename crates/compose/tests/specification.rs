//! Every key of the Compose specification (its JSON schema of June 2026) changes the project, is refused by name, or is in the short
//! list of those that mean nothing on one Linux host. None is swallowed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use compose::{LoadOptions, Project};
use serde_json::{Map, Value, json};

/// What loading makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The project differs from one without the key.
    Honoured,
    /// An error names it, or what it is in.
    Refused,
    /// Nothing differs; the reason is beside the row.
    NoMeaning,
}
use Fate::{Honoured, NoMeaning, Refused};

/// Path, with `[]` for the element of a list; the keys beside it, without which it would be incomplete; a value; its fate.
type Row = (&'static str, &'static str, &'static str, Fate);

#[rustfmt::skip]
const KEYS: &[Row] = &[
    // A warning says that it is obsolete.
    ("version", "{}", r#""3.8""#, Honoured),
    ("name", "{}", r#""other""#, Honoured),
    ("include", "{}", r#"["more.yaml"]"#, Honoured),
    ("include[].path", "{}", r#""more.yaml""#, Honoured),
    ("include[].env_file", r#"{"path": "more.yaml"}"#, r#""other.env""#, Honoured),
    ("include[].project_directory", r#"{"path": "more.yaml"}"#, r#""sub""#, Honoured),
    ("models", "{}", r#"{"m": {"model": "x"}}"#, Refused),
    ("models.m.name", r#"{"model": "x"}"#, r#""n""#, Refused),
    ("models.m.model", "{}", r#""x""#, Refused),
    ("models.m.context_size", r#"{"model": "x"}"#, "1", Refused),
    ("models.m.runtime_flags", r#"{"model": "x"}"#, r#"["a"]"#, Refused),

    ("services", "{}", r#"{"a": {"image": "y"}}"#, Honoured),
    ("services.a.annotations", "{}", r#"{"k": "v"}"#, Honoured),
    ("services.a.attach", "{}", "false", Honoured),
    ("services.a.blkio_config", "{}", r#"{"weight": 100}"#, Honoured),
    ("services.a.blkio_config.weight", "{}", "100", Honoured),
    ("services.a.blkio_config.weight_device", "{}", r#"[{"path": "/dev/null", "weight": 100}]"#, Refused),
    ("services.a.blkio_config.weight_device[].path", r#"{"weight": 100}"#, r#""/dev/null""#, Refused),
    ("services.a.blkio_config.weight_device[].weight", r#"{"path": "/dev/null"}"#, "100", Refused),
    ("services.a.blkio_config.device_read_bps", "{}", r#"[{"path": "/dev/null", "rate": "1m"}]"#, Honoured),
    ("services.a.blkio_config.device_read_bps[].path", r#"{"rate": 1}"#, r#""/dev/null""#, Honoured),
    ("services.a.blkio_config.device_read_bps[].rate", r#"{"path": "/dev/null"}"#, "1", Honoured),
    ("services.a.blkio_config.device_read_iops", "{}", r#"[{"path": "/dev/null", "rate": 1}]"#, Honoured),
    ("services.a.blkio_config.device_read_iops[].path", r#"{"rate": 1}"#, r#""/dev/null""#, Honoured),
    ("services.a.blkio_config.device_read_iops[].rate", r#"{"path": "/dev/null"}"#, "1", Honoured),
    ("services.a.blkio_config.device_write_bps", "{}", r#"[{"path": "/dev/null", "rate": "1m"}]"#, Honoured),
    ("services.a.blkio_config.device_write_bps[].path", r#"{"rate": 1}"#, r#""/dev/null""#, Honoured),
    ("services.a.blkio_config.device_write_bps[].rate", r#"{"path": "/dev/null"}"#, "1", Honoured),
    ("services.a.blkio_config.device_write_iops", "{}", r#"[{"path": "/dev/null", "rate": 1}]"#, Honoured),
    ("services.a.blkio_config.device_write_iops[].path", r#"{"rate": 1}"#, r#""/dev/null""#, Honoured),
    ("services.a.blkio_config.device_write_iops[].rate", r#"{"path": "/dev/null"}"#, "1", Honoured),
    ("services.a.build", "{}", r#"".""#, Honoured),
    ("services.a.build.context", "{}", r#""./sub""#, Honoured),
    ("services.a.build.dockerfile", "{}", r#""Other""#, Honoured),
    ("services.a.build.dockerfile_inline", "{}", r#""FROM x""#, Honoured),
    ("services.a.build.entitlements", "{}", r#"["network.host"]"#, Refused),
    ("services.a.build.args", "{}", r#"{"A": 1}"#, Honoured),
    ("services.a.build.ssh", "{}", r#"["default=/run/agent"]"#, Honoured),
    ("services.a.build.labels", "{}", r#"{"k": "v"}"#, Honoured),
    ("services.a.build.cache_from", "{}", r#"["x"]"#, Honoured),
    ("services.a.build.cache_to", "{}", r#"["x"]"#, Honoured),
    ("services.a.build.no_cache", "{}", "true", Honoured),
    ("services.a.build.additional_contexts", "{}", r#"{"k": "."}"#, Honoured),
    ("services.a.build.network", "{}", r#""none""#, Honoured),
    ("services.a.build.provenance", "{}", "true", Refused),
    ("services.a.build.sbom", "{}", "true", Refused),
    ("services.a.build.pull", "{}", "true", Honoured),
    ("services.a.build.target", "{}", r#""t""#, Honoured),
    ("services.a.build.shm_size", "{}", r#""1m""#, Honoured),
    ("services.a.build.extra_hosts", "{}", r#"{"h": "1.2.3.4"}"#, Honoured),
    ("services.a.build.isolation", "{}", r#""default""#, Refused),
    ("services.a.build.privileged", "{}", "true", Refused),
    ("services.a.build.secrets", "{}", r#"["s"]"#, Honoured),
    ("services.a.build.secrets[].source", "{}", r#""s""#, Honoured),
    ("services.a.build.secrets[].target", r#"{"source": "s"}"#, r#""t""#, Honoured),
    ("services.a.build.secrets[].uid", r#"{"source": "s"}"#, r#""1""#, Refused),
    ("services.a.build.secrets[].gid", r#"{"source": "s"}"#, r#""1""#, Refused),
    ("services.a.build.secrets[].mode", r#"{"source": "s"}"#, "256", Refused),
    ("services.a.build.tags", "{}", r#"["t:1"]"#, Honoured),
    ("services.a.build.ulimits", "{}", r#"{"nofile": 1}"#, Honoured),
    ("services.a.build.ulimits.nofile.soft", r#"{"hard": 2}"#, "1", Honoured),
    ("services.a.build.ulimits.nofile.hard", r#"{"soft": 2}"#, "3", Honoured),
    ("services.a.build.platforms", "{}", r#"["plan9/mips"]"#, Refused),
    ("services.a.cap_add", "{}", r#"["NET_ADMIN"]"#, Honoured),
    ("services.a.cap_drop", "{}", r#"["ALL"]"#, Honoured),
    ("services.a.cgroup", "{}", r#""host""#, Honoured),
    ("services.a.cgroup_parent", "{}", r#""/x""#, Honoured),
    ("services.a.command", "{}", r#""a b""#, Honoured),
    ("services.a.configs", "{}", r#"["c"]"#, Honoured),
    ("services.a.configs[].source", "{}", r#""c""#, Honoured),
    ("services.a.configs[].target", r#"{"source": "c"}"#, r#""/t""#, Honoured),
    ("services.a.configs[].uid", r#"{"source": "c"}"#, r#""1""#, Honoured),
    ("services.a.configs[].gid", r#"{"source": "c"}"#, r#""1""#, Honoured),
    ("services.a.configs[].mode", r#"{"source": "c"}"#, "256", Honoured),
    ("services.a.container_name", "{}", r#""own""#, Honoured),
    ("services.a.cpu_count", "{}", "1", Refused),
    ("services.a.cpu_percent", "{}", "1", Refused),
    ("services.a.cpu_shares", "{}", "2", Honoured),
    ("services.a.cpu_quota", "{}", "2000", Honoured),
    ("services.a.cpu_period", "{}", "2000", Honoured),
    ("services.a.cpu_rt_period", "{}", r#""1ms""#, Refused),
    ("services.a.cpu_rt_runtime", "{}", r#""1ms""#, Refused),
    ("services.a.cpus", "{}", "0.5", Honoured),
    ("services.a.cpuset", "{}", r#""0""#, Honoured),
    ("services.a.credential_spec", "{}", r#"{"file": "x"}"#, Refused),
    ("services.a.credential_spec.config", "{}", r#""x""#, Refused),
    ("services.a.credential_spec.file", "{}", r#""x""#, Refused),
    ("services.a.credential_spec.registry", "{}", r#""x""#, Refused),
    ("services.a.depends_on", "{}", r#"["b"]"#, Honoured),
    ("services.a.depends_on.b.condition", r#"{"restart": false}"#, r#""service_healthy""#, Honoured),
    ("services.a.depends_on.b.restart", r#"{"condition": "service_started"}"#, "true", Honoured),
    ("services.a.depends_on.b.required", r#"{"condition": "service_started"}"#, "false", Honoured),
    ("services.a.deploy", "{}", r#"{"replicas": 2}"#, Honoured),
    ("services.a.deploy.mode", "{}", r#""global""#, Refused),
    ("services.a.deploy.endpoint_mode", "{}", r#""vip""#, Refused),
    ("services.a.deploy.replicas", "{}", "2", Honoured),
    ("services.a.deploy.labels", "{}", r#"{"k": "v"}"#, Refused),
    ("services.a.deploy.placement", "{}", r#"{"constraints": ["a"]}"#, Refused),
    ("services.a.deploy.placement.constraints", "{}", r#"["a"]"#, Refused),
    ("services.a.deploy.placement.preferences", "{}", r#"[{"spread": "a"}]"#, Refused),
    ("services.a.deploy.placement.preferences[].spread", "{}", r#""a""#, Refused),
    ("services.a.deploy.placement.max_replicas_per_node", "{}", "1", Refused),
    ("services.a.deploy.resources", "{}", r#"{"limits": {"pids": 3}}"#, Honoured),
    ("services.a.deploy.resources.limits", "{}", r#"{"pids": 3}"#, Honoured),
    ("services.a.deploy.resources.limits.cpus", "{}", r#""0.5""#, Honoured),
    ("services.a.deploy.resources.limits.memory", "{}", r#""64m""#, Honoured),
    ("services.a.deploy.resources.limits.pids", "{}", "3", Honoured),
    ("services.a.deploy.resources.reservations", "{}", r#"{"memory": "64m"}"#, Honoured),
    ("services.a.deploy.resources.reservations.memory", "{}", r#""64m""#, Honoured),
    ("services.a.deploy.resources.reservations.cpus", "{}", r#""0.5""#, Refused),
    ("services.a.deploy.resources.reservations.generic_resources", "{}", "[{}]", Refused),
    ("services.a.deploy.resources.reservations.generic_resources[].discrete_resource_spec", "{}", r#"{"kind": "k", "value": 1}"#, Refused),
    ("services.a.deploy.resources.reservations.generic_resources[].discrete_resource_spec.kind", "{}", r#""k""#, Refused),
    ("services.a.deploy.resources.reservations.generic_resources[].discrete_resource_spec.value", "{}", "1", Refused),
    ("services.a.deploy.resources.reservations.devices", "{}", r#"[{"capabilities": ["gpu"]}]"#, Refused),
    ("services.a.deploy.resources.reservations.devices[].capabilities", "{}", r#"["gpu"]"#, Refused),
    ("services.a.deploy.resources.reservations.devices[].count", r#"{"capabilities": ["gpu"]}"#, "1", Refused),
    ("services.a.deploy.resources.reservations.devices[].device_ids", r#"{"capabilities": ["gpu"]}"#, r#"["0"]"#, Refused),
    ("services.a.deploy.resources.reservations.devices[].driver", r#"{"capabilities": ["gpu"]}"#, r#""d""#, Refused),
    ("services.a.deploy.resources.reservations.devices[].options", r#"{"capabilities": ["gpu"]}"#, "{}", Refused),
    ("services.a.deploy.restart_policy", "{}", r#"{"condition": "any"}"#, Honoured),
    ("services.a.deploy.restart_policy.condition", "{}", r#""on-failure""#, Honoured),
    ("services.a.deploy.restart_policy.delay", r#"{"condition": "on-failure"}"#, r#""5s""#, Refused),
    ("services.a.deploy.restart_policy.max_attempts", r#"{"condition": "on-failure"}"#, "3", Honoured),
    ("services.a.deploy.restart_policy.window", r#"{"condition": "on-failure"}"#, r#""5s""#, Refused),
    ("services.a.deploy.rollback_config", "{}", r#"{"order": "start-first"}"#, Refused),
    ("services.a.deploy.rollback_config.parallelism", "{}", "1", Refused),
    ("services.a.deploy.rollback_config.delay", "{}", r#""1s""#, Refused),
    ("services.a.deploy.rollback_config.failure_action", "{}", r#""pause""#, Refused),
    ("services.a.deploy.rollback_config.monitor", "{}", r#""1s""#, Refused),
    ("services.a.deploy.rollback_config.max_failure_ratio", "{}", "1", Refused),
    ("services.a.deploy.rollback_config.order", "{}", r#""start-first""#, Refused),
    ("services.a.deploy.update_config", "{}", r#"{"order": "start-first"}"#, Refused),
    ("services.a.deploy.update_config.parallelism", "{}", "1", Refused),
    ("services.a.deploy.update_config.delay", "{}", r#""1s""#, Refused),
    ("services.a.deploy.update_config.failure_action", "{}", r#""pause""#, Refused),
    ("services.a.deploy.update_config.monitor", "{}", r#""1s""#, Refused),
    ("services.a.deploy.update_config.max_failure_ratio", "{}", "1", Refused),
    ("services.a.deploy.update_config.order", "{}", r#""start-first""#, Refused),
    ("services.a.develop", "{}", r#"{"watch": []}"#, Refused),
    ("services.a.develop.watch", "{}", "[]", Refused),
    ("services.a.develop.watch[].path", "{}", r#"".""#, Refused),
    ("services.a.develop.watch[].action", "{}", r#""sync""#, Refused),
    ("services.a.develop.watch[].target", "{}", r#""/x""#, Refused),
    ("services.a.develop.watch[].ignore", "{}", r#"["x"]"#, Refused),
    ("services.a.develop.watch[].include", "{}", r#"["x"]"#, Refused),
    ("services.a.develop.watch[].initial_sync", "{}", "true", Refused),
    ("services.a.develop.watch[].exec", "{}", r#"{"command": "x"}"#, Refused),
    ("services.a.develop.watch[].exec.command", "{}", r#""x""#, Refused),
    ("services.a.develop.watch[].exec.user", "{}", r#""x""#, Refused),
    ("services.a.develop.watch[].exec.privileged", "{}", "true", Refused),
    ("services.a.develop.watch[].exec.working_dir", "{}", r#""/""#, Refused),
    ("services.a.develop.watch[].exec.environment", "{}", r#"["A=1"]"#, Refused),
    ("services.a.device_cgroup_rules", "{}", r#"["c 1:3 rwm"]"#, Honoured),
    ("services.a.devices", "{}", r#"["/dev/null:/dev/x"]"#, Honoured),
    ("services.a.devices[].source", "{}", r#""/dev/null""#, Honoured),
    ("services.a.devices[].target", r#"{"source": "/dev/null"}"#, r#""/dev/x""#, Honoured),
    ("services.a.devices[].permissions", r#"{"source": "/dev/null"}"#, r#""r""#, Honoured),
    ("services.a.dns", "{}", r#""1.1.1.1""#, Honoured),
    ("services.a.dns_opt", "{}", r#"["ndots:1"]"#, Honoured),
    ("services.a.dns_search", "{}", r#""x.org""#, Honoured),
    ("services.a.domainname", "{}", r#""x.org""#, Honoured),
    ("services.a.entrypoint", "{}", r#"["a"]"#, Honoured),
    ("services.a.env_file", "{}", r#""other.env""#, Honoured),
    ("services.a.env_file[].path", "{}", r#""other.env""#, Honoured),
    ("services.a.env_file[].format", r#"{"path": "other.env"}"#, r#""raw""#, Honoured),
    ("services.a.env_file[].required", r#"{"path": "none.env"}"#, "false", Honoured),
    ("services.a.environment", "{}", r#"["A=1"]"#, Honoured),
    ("services.a.expose", "{}", r#"["80"]"#, Honoured),
    ("services.a.extends", "{}", r#""b""#, Honoured),
    ("services.a.extends.service", "{}", r#""b""#, Honoured),
    ("services.a.extends.file", r#"{"service": "b"}"#, r#""more.yaml""#, Honoured),
    ("services.a.external_links", "{}", r#"["x:y"]"#, Honoured),
    ("services.a.extra_hosts", "{}", r#"["h:1.2.3.4"]"#, Honoured),
    ("services.a.gpus", "{}", r#""all""#, Refused),
    ("services.a.gpus[].capabilities", "{}", r#"["gpu"]"#, Refused),
    ("services.a.gpus[].count", "{}", "1", Refused),
    ("services.a.gpus[].device_ids", "{}", r#"["0"]"#, Refused),
    ("services.a.gpus[].driver", "{}", r#""d""#, Refused),
    ("services.a.gpus[].options", "{}", "{}", Refused),
    ("services.a.group_add", "{}", r#"["audio"]"#, Honoured),
    ("services.a.healthcheck", "{}", r#"{"test": "true"}"#, Honoured),
    ("services.a.healthcheck.disable", "{}", "true", Honoured),
    ("services.a.healthcheck.test", "{}", r#"["CMD", "true"]"#, Honoured),
    ("services.a.healthcheck.interval", "{}", r#""1s""#, Honoured),
    ("services.a.healthcheck.timeout", "{}", r#""1s""#, Honoured),
    ("services.a.healthcheck.retries", "{}", "2", Honoured),
    ("services.a.healthcheck.start_period", "{}", r#""1s""#, Honoured),
    ("services.a.healthcheck.start_interval", "{}", r#""1s""#, Honoured),
    ("services.a.hostname", "{}", r#""h""#, Honoured),
    ("services.a.image", "{}", r#""y""#, Honoured),
    ("services.a.init", "{}", "true", Honoured),
    ("services.a.ipc", "{}", r#""host""#, Honoured),
    ("services.a.isolation", "{}", r#""hyperv""#, Refused),
    ("services.a.label_file", "{}", r#""other.env""#, Honoured),
    ("services.a.labels", "{}", r#"{"k": "v"}"#, Honoured),
    ("services.a.links", "{}", r#"["b:c"]"#, Honoured),
    ("services.a.logging", "{}", r#"{"driver": "none"}"#, Honoured),
    ("services.a.logging.driver", "{}", r#""none""#, Honoured),
    ("services.a.logging.options", "{}", r#"{"max-size": "1m"}"#, Honoured),
    ("services.a.mac_address", "{}", r#""02:00:00:00:00:01""#, Honoured),
    ("services.a.mem_limit", "{}", r#""64m""#, Honoured),
    ("services.a.mem_reservation", "{}", r#""64m""#, Honoured),
    ("services.a.mem_swappiness", "{}", "10", Honoured),
    ("services.a.memswap_limit", "{}", r#""64m""#, Honoured),
    ("services.a.models", "{}", r#"["m"]"#, Refused),
    ("services.a.models.m.endpoint_var", "{}", r#""E""#, Refused),
    ("services.a.models.m.model_var", "{}", r#""M""#, Refused),
    ("services.a.network_mode", "{}", r#""host""#, Honoured),
    ("services.a.networks", "{}", r#"["n"]"#, Honoured),
    ("services.a.networks.n.aliases", "{}", r#"["x"]"#, Honoured),
    ("services.a.networks.n.interface_name", "{}", r#""eth9""#, Refused),
    ("services.a.networks.n.ipv4_address", "{}", r#""10.1.2.3""#, Honoured),
    ("services.a.networks.n.ipv6_address", "{}", r#""fd00::1""#, Refused),
    ("services.a.networks.n.link_local_ips", "{}", r#"["169.254.1.1"]"#, Refused),
    ("services.a.networks.n.mac_address", "{}", r#""02:00:00:00:00:01""#, Honoured),
    ("services.a.networks.n.driver_opts", "{}", r#"{"k": "v"}"#, Honoured),
    ("services.a.networks.n.priority", "{}", "5", Honoured),
    ("services.a.networks.n.gw_priority", "{}", "5", Honoured),
    ("services.a.oom_kill_disable", "{}", "true", Honoured),
    ("services.a.oom_score_adj", "{}", "5", Honoured),
    ("services.a.pid", "{}", r#""host""#, Honoured),
    ("services.a.pids_limit", "{}", "5", Honoured),
    ("services.a.platform", "{}", r#""plan9/mips""#, Refused),
    ("services.a.ports", "{}", r#"["80:80"]"#, Honoured),
    // A label for people.
    ("services.a.ports[].name", r#"{"target": 80}"#, r#""web""#, NoMeaning),
    ("services.a.ports[].app_protocol", r#"{"target": 80}"#, r#""http""#, NoMeaning),
    // On one host its two values are the same; a third one is an error.
    ("services.a.ports[].mode", r#"{"target": 80}"#, r#""host""#, NoMeaning),
    ("services.a.ports[].host_ip", r#"{"target": 80}"#, r#""127.0.0.1""#, Honoured),
    ("services.a.ports[].target", r#"{"published": "90"}"#, "80", Honoured),
    ("services.a.ports[].published", r#"{"target": 80}"#, r#""8080""#, Honoured),
    ("services.a.ports[].protocol", r#"{"target": 80}"#, r#""udp""#, Honoured),
    ("services.a.post_start", "{}", r#"[{"command": "x"}]"#, Refused),
    ("services.a.post_start[].command", "{}", r#""x""#, Refused),
    ("services.a.post_start[].user", "{}", r#""x""#, Refused),
    ("services.a.post_start[].privileged", "{}", "true", Refused),
    ("services.a.post_start[].working_dir", "{}", r#""/""#, Refused),
    ("services.a.post_start[].environment", "{}", r#"["A=1"]"#, Refused),
    ("services.a.pre_stop", "{}", r#"[{"command": "x"}]"#, Refused),
    ("services.a.pre_stop[].command", "{}", r#""x""#, Refused),
    ("services.a.pre_stop[].user", "{}", r#""x""#, Refused),
    ("services.a.pre_stop[].privileged", "{}", "true", Refused),
    ("services.a.pre_stop[].working_dir", "{}", r#""/""#, Refused),
    ("services.a.pre_stop[].environment", "{}", r#"["A=1"]"#, Refused),
    ("services.a.privileged", "{}", "true", Honoured),
    ("services.a.profiles", "{}", r#"["p"]"#, Honoured),
    ("services.a.provider", "{}", r#"{"type": "x"}"#, Refused),
    ("services.a.provider.type", "{}", r#""x""#, Refused),
    ("services.a.provider.options", r#"{"type": "x"}"#, r#"{"k": "v"}"#, Refused),
    ("services.a.pull_policy", "{}", r#""never""#, Honoured),
    ("services.a.pull_refresh_after", r#"{"pull_policy": "refresh"}"#, r#""1d""#, Honoured),
    ("services.a.read_only", "{}", "true", Honoured),
    ("services.a.restart", "{}", r#""always""#, Honoured),
    ("services.a.runtime", "{}", r#""runc""#, Refused),
    ("services.a.scale", "{}", "2", Honoured),
    ("services.a.secrets", "{}", r#"["s"]"#, Honoured),
    ("services.a.secrets[].source", "{}", r#""s""#, Honoured),
    ("services.a.secrets[].target", r#"{"source": "s"}"#, r#""/t""#, Honoured),
    ("services.a.secrets[].uid", r#"{"source": "s"}"#, r#""1""#, Honoured),
    ("services.a.secrets[].gid", r#"{"source": "s"}"#, r#""1""#, Honoured),
    ("services.a.secrets[].mode", r#"{"source": "s"}"#, "256", Honoured),
    ("services.a.security_opt", "{}", r#"["no-new-privileges:true"]"#, Honoured),
    ("services.a.shm_size", "{}", r#""1m""#, Honoured),
    ("services.a.stdin_open", "{}", "true", Honoured),
    ("services.a.stop_grace_period", "{}", r#""3s""#, Honoured),
    ("services.a.stop_signal", "{}", r#""SIGINT""#, Honoured),
    ("services.a.storage_opt", "{}", r#"{"size": "1g"}"#, Refused),
    ("services.a.sysctls", "{}", r#"{"net.core.somaxconn": 1}"#, Honoured),
    ("services.a.tmpfs", "{}", r#""/run""#, Honoured),
    ("services.a.tty", "{}", "true", Honoured),
    ("services.a.ulimits", "{}", r#"{"nofile": 9}"#, Honoured),
    ("services.a.ulimits.nofile.soft", r#"{"hard": 9}"#, "5", Honoured),
    ("services.a.ulimits.nofile.hard", r#"{"soft": 5}"#, "9", Honoured),
    ("services.a.use_api_socket", "{}", "true", Refused),
    ("services.a.user", "{}", r#""www-data""#, Honoured),
    ("services.a.userns_mode", "{}", r#""private""#, Honoured),
    ("services.a.uts", "{}", r#""host""#, Honoured),
    ("services.a.volumes", "{}", r#"["v:/x"]"#, Honoured),
    ("services.a.volumes[].type", r#"{"target": "/x"}"#, r#""volume""#, Honoured),
    ("services.a.volumes[].source", r#"{"type": "volume", "target": "/x"}"#, r#""v""#, Honoured),
    ("services.a.volumes[].target", r#"{"type": "volume"}"#, r#""/x""#, Honoured),
    ("services.a.volumes[].read_only", r#"{"type": "volume", "target": "/x"}"#, "true", Honoured),
    // A hint to file sharing on desktops; Linux has one consistency.
    ("services.a.volumes[].consistency", r#"{"type": "volume", "target": "/x"}"#, r#""cached""#, NoMeaning),
    ("services.a.volumes[].bind", r#"{"type": "bind", "source": "/a", "target": "/x"}"#, r#"{"create_host_path": false}"#, Honoured),
    ("services.a.volumes[].bind.propagation", "BIND", r#""rshared""#, Honoured),
    ("services.a.volumes[].bind.create_host_path", "BIND", "false", Honoured),
    ("services.a.volumes[].bind.recursive", "BIND", r#""disabled""#, Honoured),
    // Means nothing without SELinux; with it, it is refused.
    ("services.a.volumes[].bind.selinux", "BIND", r#""z""#, NoMeaning),
    ("services.a.volumes[].volume", r#"{"type": "volume", "target": "/x"}"#, r#"{"nocopy": true}"#, Honoured),
    ("services.a.volumes[].volume.labels", "VOLUME", r#"{"k": "v"}"#, Honoured),
    ("services.a.volumes[].volume.nocopy", "VOLUME", "true", Honoured),
    ("services.a.volumes[].volume.subpath", "VOLUME", r#""d""#, Honoured),
    ("services.a.volumes[].tmpfs", r#"{"type": "tmpfs", "target": "/x"}"#, r#"{"size": 4096}"#, Honoured),
    ("services.a.volumes[].tmpfs.size", "TMPFS", "4096", Honoured),
    ("services.a.volumes[].tmpfs.mode", "TMPFS", "448", Honoured),
    ("services.a.volumes[].image", r#"{"type": "image", "source": "x", "target": "/x"}"#, r#"{"subpath": "d"}"#, Refused),
    ("services.a.volumes[].image.subpath", "IMAGE", r#""d""#, Refused),
    ("services.a.volumes_from", "{}", r#"["b"]"#, Honoured),
    ("services.a.working_dir", "{}", r#""/""#, Honoured),

    ("networks", "{}", r#"{"m": {}}"#, Honoured),
    ("networks.n.name", "{}", r#""own""#, Honoured),
    ("networks.n.driver", "{}", r#""bridge""#, Honoured),
    ("networks.n.driver_opts", "{}", r#"{"k": "v"}"#, Honoured),
    ("networks.n.ipam", "{}", r#"{"config": [{"subnet": "10.1.0.0/16"}]}"#, Honoured),
    ("networks.n.ipam.driver", "{}", r#""dhcp""#, Refused),
    ("networks.n.ipam.config", "{}", r#"[{"subnet": "10.1.0.0/16"}]"#, Honoured),
    ("networks.n.ipam.config[].subnet", "{}", r#""10.1.0.0/16""#, Honoured),
    ("networks.n.ipam.config[].ip_range", r#"{"subnet": "10.1.0.0/16"}"#, r#""10.1.2.0/24""#, Honoured),
    ("networks.n.ipam.config[].gateway", r#"{"subnet": "10.1.0.0/16"}"#, r#""10.1.0.9""#, Honoured),
    ("networks.n.ipam.config[].aux_addresses", r#"{"subnet": "10.1.0.0/16"}"#, r#"{"h": "10.1.0.9"}"#, Honoured),
    ("networks.n.ipam.options", "{}", r#"{"k": "v"}"#, Refused),
    ("networks.n.external", "{}", "true", Honoured),
    ("networks.n.external.name", "{}", r#""own""#, Honoured),
    ("networks.n.internal", "{}", "true", Honoured),
    ("networks.n.enable_ipv4", "{}", "false", Refused),
    ("networks.n.enable_ipv6", "{}", "true", Refused),
    ("networks.n.attachable", "{}", "true", Honoured),
    ("networks.n.labels", "{}", r#"{"k": "v"}"#, Honoured),

    ("volumes", "{}", r#"{"m": {}}"#, Honoured),
    ("volumes.v.name", "{}", r#""own""#, Honoured),
    ("volumes.v.driver", "{}", r#""local""#, Honoured),
    ("volumes.v.driver_opts", "{}", r#"{"k": "v"}"#, Honoured),
    ("volumes.v.external", "{}", "true", Honoured),
    ("volumes.v.external.name", "{}", r#""own""#, Honoured),
    ("volumes.v.labels", "{}", r#"{"k": "v"}"#, Honoured),

    ("secrets", "{}", r#"{"t": {"file": "f"}}"#, Honoured),
    // Names and labels are those of swarm objects; a secret from a file is only mounted.
    ("secrets.s.name", r#"{"file": "f"}"#, r#""own""#, NoMeaning),
    ("secrets.s.labels", r#"{"file": "f"}"#, r#"{"k": "v"}"#, Honoured),
    ("secrets.s.environment", "{}", r#""HOME""#, Honoured),
    ("secrets.s.file", "{}", r#""g""#, Honoured),
    ("secrets.s.external", r#"{"file": "f"}"#, "true", Refused),
    ("secrets.s.external.name", "{}", r#""own""#, Refused),
    ("secrets.s.driver", r#"{"file": "f"}"#, r#""d""#, Refused),
    ("secrets.s.driver_opts", r#"{"file": "f"}"#, r#"{"k": "v"}"#, Refused),
    ("secrets.s.template_driver", r#"{"file": "f"}"#, r#""golang""#, Refused),
    ("configs", "{}", r#"{"t": {"file": "f"}}"#, Honoured),
    ("configs.c.name", r#"{"file": "f"}"#, r#""own""#, NoMeaning),
    ("configs.c.labels", r#"{"file": "f"}"#, r#"{"k": "v"}"#, Honoured),
    ("configs.c.content", "{}", r#""text""#, Honoured),
    ("configs.c.environment", "{}", r#""HOME""#, Honoured),
    ("configs.c.file", "{}", r#""g""#, Honoured),
    ("configs.c.external", r#"{"file": "f"}"#, "true", Refused),
    ("configs.c.external.name", "{}", r#""own""#, Refused),
    ("configs.c.template_driver", r#"{"file": "f"}"#, r#""golang""#, Refused),
];

#[test]
fn no_key_of_the_specification_is_swallowed() {
    let directory = Directory::new();
    let mut wrong = Vec::new();
    for (path, beside, value, expected) in KEYS {
        let value: Value = serde_json::from_str(value).unwrap_or_else(|error| panic!("{path}: {error}"));
        let without = directory.load(&document(path, beside, None));
        let with = directory.load(&document(path, beside, Some(value)));
        let fate = match (&without, &with) {
            (_, Err(error)) if names(error, path) => Ok(Refused),
            (_, Err(error)) => Err(error.clone()),
            (Ok(without), Ok(with)) if without == with => Ok(NoMeaning),
            // A project that is incomplete without the key listens to it.
            _ => Ok(Honoured),
        };
        if fate.as_ref() != Ok(expected) {
            wrong.push(format!("{path}: {fate:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an error refuses `path`, or something it is in, by name.
fn names(error: &str, path: &str) -> bool {
    let shown = path.replace("[]", ".0");
    shown.match_indices('.').map(|(end, _)| &shown[..end]).chain([shown.as_str()]).any(|outer| {
        error.contains(&format!(" {outer} is not supported: "))
            || error.contains(&format!(" {outer} cannot be "))
    })
}

/// A small project with the key at `path`, or with only what is beside it.
fn document(path: &str, beside: &str, value: Option<Value>) -> Value {
    let mut root = json!({
        "services": {"a": {"image": "x"}, "b": {"image": "x", "command": "b"}},
        "networks": {"n": {}},
        "volumes": {"v": {}},
        "secrets": {"s": {"file": "f"}},
        "configs": {"c": {"file": "f"}},
    });
    // What a mount is of stands one level above its options.
    let (outer, beside) = match beside {
        "BIND" => (json!({"type": "bind", "source": "/a", "target": "/x"}), "{}"),
        "VOLUME" => (json!({"type": "volume", "target": "/x"}), "{}"),
        "TMPFS" => (json!({"type": "tmpfs", "target": "/x"}), "{}"),
        "IMAGE" => (json!({"type": "image", "source": "x", "target": "/x"}), "{}"),
        beside => (json!({}), beside),
    };
    let mut steps: Vec<&str> = path.split('.').collect();
    let key = steps.pop().expect("a path has a key");
    let mut at = root.as_object_mut().expect("it is one");
    for step in &steps {
        at = match step.strip_suffix("[]") {
            Some(list) => {
                at.insert(list.to_owned(), json!([outer.clone()]));
                at[list][0].as_object_mut().expect("it was just made")
            }
            None => {
                if !at.get(*step).is_some_and(Value::is_object) {
                    at.insert((*step).to_owned(), json!({}));
                }
                at[*step].as_object_mut().expect("it is one")
            }
        };
    }
    if steps.starts_with(&["services", "a", "networks"]) {
        // Priorities are among several.
        root["services"]["a"]["networks"]["default"] = json!({});
        at = root["services"]["a"]["networks"]["n"].as_object_mut().expect("it was just made");
    }
    if matches!(steps[..], ["secrets" | "configs", _] | ["secrets" | "configs", _, "external"]) {
        at.clear();
    }
    let beside: Map<String, Value> = serde_json::from_str(beside).expect("the table is right");
    at.extend(beside);
    if let Some(value) = value {
        match at.get_mut(key) {
            // A whole section: more of it.
            Some(Value::Object(known)) if steps.is_empty() => {
                known.extend(value.as_object().cloned().unwrap_or_default());
            }
            _ => drop(at.insert(key.to_owned(), value)),
        }
    }
    root
}

/// Where the documents stand, with the files they name; removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("compose-specification-{}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(
            root.join("more.yaml"),
            "services: {b: {image: y}, more: {image: 'z:${TAG:-1}', build: ./w}}",
        )
        .unwrap();
        fs::write(root.join("other.env"), "TAG=\"$HOME\"\n").unwrap();
        Self(root)
    }

    /// What the project is, or why it is none.
    fn load(&self, document: &Value) -> Result<String, String> {
        let mut document = document.clone();
        // What is included must not be there already.
        if document.get("include").is_some() {
            document["services"].as_object_mut().expect("it is one").remove("b");
        }
        fs::write(self.0.join("compose.yaml"), document.to_string()).unwrap();
        let options = LoadOptions {
            working_directory: self.0.clone(),
            environment: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
            ..LoadOptions::default()
        };
        let mut project = Project::load(&options).map_err(|error| diag::render(&error.into()))?;
        project.services.values_mut().for_each(|service| service.hash.clear());
        project.networks.values_mut().for_each(|network| network.hash.clear());
        let Project { name, warnings, services, networks, volumes, secrets, configs, .. } = &project;
        let shown =
            format!("{name} {warnings:?} {services:?} {networks:?} {volumes:?} {secrets:?} {configs:?}");
        Ok(without_places(&shown))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where in the file something stands is not part of what it is.
fn without_places(shown: &str) -> String {
    let mut parts = shown.split("compose.yaml:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'))
}
