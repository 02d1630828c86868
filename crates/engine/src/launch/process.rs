//! The process of the specification: for the container's first one and for each exec.

use crate::create::{argv, env_key};
use crate::model::{ContainerSpec, Ulimit};
use crate::record::Container;
use oci::runtime::{Process, Rlimit};
use sys::capability::Capability;

/// The first process of a container; `base` is the default specification's.
pub(crate) fn process(container: &Container, base: Process) -> Process {
    let spec = &container.doc.spec;
    let mut process = base;
    process.args = argv(spec);
    process.env = environment(container, &process.env);
    process.cwd = spec.process.working_dir.clone().unwrap_or_else(|| "/".into()).into();
    process.terminal = spec.process.tty;
    process.no_new_privileges = spec.isolation.no_new_privileges;
    process.oom_score_adj =
        spec.isolation.oom_score_adj.and_then(|adjustment| i32::try_from(adjustment).ok());
    if !spec.isolation.privileged {
        process.capabilities = Some(runtime::capabilities(capabilities(spec)));
    }
    for limit in spec.limits.ulimits.iter().map(rlimit) {
        process.set_rlimit(limit);
    }
    process
}

/// Docker's order: PATH, HOSTNAME and TERM first, then what image and request say, which may replace them.
fn environment(container: &Container, defaults: &[String]) -> Vec<String> {
    let process = &container.doc.spec.process;
    let mut env = defaults.to_vec();
    env.push(format!("HOSTNAME={}", super::files::hostname(container)));
    if process.tty {
        env.push("TERM=xterm".into());
    }
    for entry in &process.env {
        match env.iter_mut().find(|have| env_key(have) == env_key(entry)) {
            Some(have) => have.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    env
}

/// The default set, changed by `--cap-add` and `--cap-drop`, where `ALL` is the whole set or none of it.
pub(crate) fn capabilities(spec: &ContainerSpec) -> Vec<Capability> {
    let isolation = &spec.isolation;
    let has_all = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let parse = |list: &[String]| -> Vec<Capability> {
        list.iter().filter_map(|name| Capability::from_name(name)).collect()
    };
    let (add, drop) = (parse(&isolation.cap_add), parse(&isolation.cap_drop));
    let mut set: Vec<Capability> = if has_all(&isolation.cap_add) {
        sys::capability::bounding().iter().collect()
    } else if has_all(&isolation.cap_drop) {
        Vec::new()
    } else {
        runtime::DEFAULT_CAPABILITIES.to_vec()
    };
    set.retain(|capability| !drop.contains(capability));
    set.extend(add.into_iter().filter(|capability| !drop.contains(capability)));
    set.sort_unstable();
    set.dedup();
    set
}

pub(crate) fn rlimit(limit: &Ulimit) -> Rlimit {
    let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let r#type = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
    Rlimit { r#type, soft: value(limit.soft), hard: value(limit.hard) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], test: impl FnOnce(&[Capability])) {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let mut spec = ContainerSpec::default();
        spec.isolation.cap_add = own(add);
        spec.isolation.cap_drop = own(drop);
        test(&capabilities(&spec));
    }

    #[test]
    fn capability_arithmetic() {
        check(&[], &[], |set| assert_eq!(set.len(), 14));
        check(&["NET_ADMIN"], &["ALL"], |set| assert_eq!(set, [Capability::NET_ADMIN]));
        check(&["cap_sys_time"], &["CHOWN"], |set| {
            assert!(set.contains(&Capability::SYS_TIME) && !set.contains(&Capability::CHOWN));
        });
        check(&[], &["ALL"], |set| assert!(set.is_empty()));
    }
}
