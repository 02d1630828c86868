//! Every setting of a request reaches the process.

use crate::world::{World, bridged, isolated};
use engine::model::{Mount, MountKind, MountSyntax, NamespaceMode, RestartPolicy, SeccompChoice, Ulimit};

pub const TESTS: &[(&str, fn())] = &[
    ("process_settings", process_settings),
    ("isolation_settings", isolation_settings),
    ("limits_reach_the_cgroup", limits_reach_the_cgroup),
    ("what_contradicts_itself_is_refused", what_contradicts_itself_is_refused),
    ("volatile_files", volatile_files),
];

fn process_settings() {
    let world = World::new();
    let check = |script: &str, expected: &str, change: fn(&mut engine::model::ContainerSpec)| {
        assert_eq!(world.sh(script, change).trim(), expected, "{script}");
    };
    check("id -u; id -g", "33\n33", |s| s.process.user = Some("www-data".into()));
    check("id -u; id -g", "1000\n29", |s| s.process.user = Some("1000:audio".into()));
    check("pwd", "/made/on/demand", |s| s.process.working_dir = Some("/made/on/demand".into()));
    check("echo $A-$B", "1-2", |s| s.process.env = vec!["A=1".into(), "B=2".into()]);
    check("hostname", "named", |s| s.isolation.hostname = Some("named".into()));
    check("echo $$", "1", |_| {});
    check("ps | grep -c sleep", "0", |s| {
        s.process.command =
            Some(vec!["sh".into(), "-c".into(), "ps | grep -v grep | grep -c sleep || true".into()]);
    });
    check("ulimit -n", "77", |s| {
        s.limits.ulimits = vec![Ulimit { name: "nofile".into(), soft: 77, hard: 77 }];
    });
    check("readlink /proc/1/exe", "/bin/busybox", |_| {});
    let init = world.sh("echo $$", |s| s.process.init = true);
    assert_ne!(init.trim(), "1");
    let tty = world.sh("test -t 0 && echo terminal", |s| s.process.tty = true);
    assert!(tty.contains("terminal"), "{tty:?}");
}

fn isolation_settings() {
    let world = World::new();
    let status = |key: &str, change: fn(&mut engine::model::ContainerSpec)| {
        let text = world.sh(&format!("grep ^{key}: /proc/self/status"), change);
        text.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("CapEff", |_| {}), "00000000a80425fb");
    assert_eq!(status("CapEff", |s| s.isolation.cap_drop = vec!["ALL".into()]), "0000000000000000");
    assert_eq!(status("NoNewPrivs", |s| s.isolation.no_new_privileges = true), "1");
    assert_eq!(status("Seccomp", |_| {}), "2");
    assert_eq!(status("Seccomp", |s| s.isolation.seccomp = SeccompChoice::Unconfined), "0");
    assert_eq!(status("Seccomp", |s| s.isolation.privileged = true), "0");
    let read_only = world.sh("touch /x 2>/dev/null || echo refused; touch /t/x && echo kept", |s| {
        s.isolation.read_only = true;
        s.mounts.push(Mount {
            target: "/t".into(),
            kind: MountKind::Tmpfs {
                size_bytes: Some(1 << 20),
                mode: None,
                options: Vec::new(),
                given: String::new(),
            },
            read_only: false,
            syntax: MountSyntax::Tmpfs,
        });
    });
    assert_eq!(read_only, "refused\nkept\n");
    let sysctl = world.sh("cat /proc/sys/net/ipv4/ip_default_ttl", |s| {
        s.isolation.sysctls.insert("net.ipv4.ip_default_ttl".into(), "77".into());
    });
    assert_eq!(sysctl.trim(), "77");
    let shm = world.sh("df -k /dev/shm | tail -1", |s| s.isolation.shm_size_bytes = Some(1 << 20));
    assert!(shm.contains(" 1024 "), "{shm}");
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let host = world.sh("readlink /proc/self/ns/pid", |s| s.isolation.pid = NamespaceMode::Host);
    assert_eq!(host.trim(), own.to_string_lossy());
    let device = world.sh("test -c /dev/my-null && echo x > /dev/my-null && echo fine", |s| {
        s.isolation.devices.push(engine::model::Device {
            host: "/dev/null".into(),
            container: "/dev/my-null".into(),
            permissions: "rwm".into(),
        });
    });
    assert_eq!(device.trim(), "fine");
}

fn limits_reach_the_cgroup() {
    let world = World::new();
    let mut spec = crate::world::sleeper();
    spec.name = Some("limited".into());
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.pids = Some(20);
    spec.limits.nano_cpus = Some(500_000_000);
    world.engine.run_detached(spec).unwrap();
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    let id = world.engine.inspect("limited").unwrap().id;
    let name = format!("hull-{}/{id}", world.engine.instance());
    let stats = cgroup::Cgroup::open(&hierarchy, &name).unwrap().stats().unwrap();
    assert_eq!(stats.memory.limit, Some(64 << 20));
    assert_eq!(stats.pids.limit, Some(20));
    // A process that takes more memory than it may is killed, and its exit says so.
    let mut spec = isolated(&["sh", "-c", "tail /dev/zero"]);
    spec.name = Some("greedy".into());
    spec.limits.memory_bytes = Some(8 << 20);
    spec.limits.memory_swap_bytes = Some(8 << 20);
    let (code, _) = world.run(spec);
    assert_eq!(code, 137);
    assert!(world.engine.inspect("greedy").unwrap().state.oom_killed);
}

fn what_contradicts_itself_is_refused() {
    let world = World::new();
    let check = |expected: &str, change: fn(&mut engine::model::ContainerSpec)| {
        let mut spec = bridged(&["true"]);
        change(&mut spec);
        assert_eq!(world.engine.create(spec).unwrap_err().to_string(), expected);
    };
    check("can't create 'AutoRemove' container with restart policy", |s| {
        s.auto_remove = true;
        s.restart = RestartPolicy::Always;
    });
    check("network-scoped alias is supported only for containers in user defined networks", |s| {
        s.network.mode = engine::model::NetworkMode::Networks(vec![engine::model::EndpointSpec {
            network: "bridge".into(),
            aliases: vec!["x".into()],
            ..Default::default()
        }]);
    });
    check("No such container: ghost", |s| {
        s.network.mode = engine::model::NetworkMode::Container("ghost".into());
    });
    let all = engine::model::ListOptions { all: true, ..Default::default() };
    assert!(world.engine.list(&all).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(world.roots.data.join("containers")).unwrap().count(), 0);
}

fn volatile_files() {
    let world = World::new();
    let hosts = world.sh("cat /etc/hosts /etc/hostname /etc/resolv.conf", |s| {
        s.network.mode = engine::model::NetworkMode::Default;
        s.network.extra_hosts = vec![("db".into(), "10.9.8.7".into()), ("gw".into(), "host-gateway".into())];
        s.network.dns = vec!["9.9.9.9".parse().unwrap()];
        s.isolation.hostname = Some("filed".into());
    });
    assert!(hosts.contains("10.9.8.7\tdb\n") && hosts.contains("\tgw\n"), "{hosts}");
    assert!(hosts.contains("\tfiled\n") && hosts.contains("nameserver 9.9.9.9\n"), "{hosts}");
}
