//! Times containers that run `true`, without a command line, store, monitor or network around them.
//!
//! `cargo run --profile bench -p runtime --example startup -- [count] [cgroup] [init]`, as root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use cgroup::{Cgroup, Hierarchy};
use runtime::seccomp::Seccomp;
use runtime::{Exec, Launch, Lifetime, Process, Rootfs, Stdio, UserSpec};

fn main() {
    runtime::seal::ensure().expect("sealing this program");
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let count = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(200);
    let base = std::env::temp_dir().join(format!("hull-startup-{}", std::process::id()));
    let lower = base.join("lower");
    for name in ["bin", "dev", "etc", "proc", "sys"] {
        fs::create_dir_all(lower.join(name)).expect("a directory");
    }
    fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("busybox-static is installed");
    for applet in ["true", "sleep"] {
        symlink("busybox", lower.join("bin").join(applet)).expect("a link");
    }
    let hierarchy = Hierarchy::detect().expect("control groups");
    let mut spec = runtime::default_spec();
    let launch =
        |n: usize, args: &[&str], spec: &mut oci::runtime::Spec| -> (Process, Duration, Option<Cgroup>) {
            let directory = base.join(n.to_string());
            let [upper, work] = ["upper", "work"].map(|name| directory.join(name));
            for path in [&upper, &work] {
                fs::create_dir_all(path).expect("a directory");
            }
            spec.process.as_mut().expect("a process").args = args.iter().map(|a| (*a).to_owned()).collect();
            let start = Instant::now();
            let group = has("cgroup").then(|| {
                let name = format!("hull-startup/{}-{n}", std::process::id());
                let resources =
                    spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
                Cgroup::create(&hierarchy, &name, &resources).expect("a control group")
            });
            let rootfs = Rootfs::Overlay { lower: vec![lower.clone()], upper, work, volatile: true };
            let created = runtime::create(Launch {
                id: "startup",
                spec,
                rootfs: &rootfs,
                user: &UserSpec::Named(String::new()),
                extra_groups: &[],
                cgroup: group.as_ref(),
                seccomp: &Seccomp::Default,
                stdio: Stdio::Null,
                join: &[],
                init: has("init"),
                bundle: Path::new("/"),
                lifetime: Lifetime::Caller,
                preserve_fds: 0,
                no_pivot: false,
            });
            let process = created.and_then(runtime::Created::start).expect("a container");
            (process, start.elapsed(), group)
        };

    let (mut started, mut ended) = (Vec::new(), Vec::new());
    for n in 0..count {
        let start = Instant::now();
        let (process, until_exec, group) = launch(n, &["true"], &mut spec);
        process.wait().expect("its end");
        started.push(until_exec);
        ended.push(start.elapsed());
        if let Some(group) = group {
            group.remove().expect("removing the group");
        }
    }
    show("create to exec", started);
    show("create to exit", ended);

    let (container, _, group) = launch(count, &["sleep", "1000"], &mut spec);
    let process =
        oci::runtime::Process { args: vec!["true".to_owned()], ..spec.process.clone().expect("a process") };
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        let request = Exec {
            id: "startup",
            container: container.pidfd(),
            process: &process,
            linux: None,
            user: &UserSpec::Named(String::new()),
            extra_groups: &[],
            cgroup: group.as_ref(),
            seccomp: &Seccomp::Default,
            state: None,
            stdio: Stdio::Null,
            preserve_fds: 0,
        };
        runtime::exec(request).expect("an exec").wait().expect("its end");
        times.push(start.elapsed());
    }
    show("exec to exit", times);
    container.kill(9).expect("a signal");
    container.wait().expect("its end");
    if let Some(group) = group {
        group.remove().expect("removing the group");
    }
    fs::remove_dir_all(&base).expect("clean up");
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what}: min {:?}, median {:?}, p95 {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() * 95 / 100]
    );
}
