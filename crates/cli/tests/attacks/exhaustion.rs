//! Containers that take all they can get.

use std::fs;

use crate::{TOOLS, sleeper, world};

#[test]
fn a_fork_bomb_stays_within_its_container() {
    let world = world();
    sleeper(&world, "quiet", &[]);
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 600";
    let run = ["run", "-d", "--name", "bomb", "--stop-signal", "KILL", "--pids-limit", "64"];
    world.hull([&run[..], &["busybox", "sh", "-c", bomb]].concat()).success();
    testkit::eventually("the bomb is off", 20, || {
        let top = world.hull(["stats", "--no-stream", "--format", "{{.PIDs}}", "bomb"]);
        top.text().parse::<u32>().ok().filter(|count| *count >= 60)
    });
    world.hull(["exec", "quiet", "true"]).success();
    world.hull(["ps"]).success();
    let denied = world.hull(["exec", "bomb", "sh", "-c", "sleep 1 & sleep 1 & wait"]);
    assert_ne!(denied.status, Some(0), "{denied}");
    world.hull(["kill", "bomb"]).success();
    world.hull(["rm", "-f", "bomb"]).success();
}

#[test]
fn every_container_has_a_limit_on_its_processes() {
    let world = world();
    let limit = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    let read = |flags: &[&str]| {
        let run = [&["run", "--rm"], flags, &["busybox", "sh", "-c", limit]].concat();
        world.hull(run).success().text().to_owned()
    };
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let host = number("/proc/sys/kernel/threads-max").min(number("/proc/sys/kernel/pid_max"));
    let default: u64 = read(&[]).parse().expect("a number, not `max`");
    assert!(default >= 1000 && default * 2 < host.expect("every kernel has them"), "{default} of {host:?}");
    assert_eq!(read(&["--pids-limit", "77"]), "77");
    assert_eq!(read(&["--pids-limit", "-1"]), "max");
}

#[test]
fn memory_in_dev_shm_is_bounded() {
    let world = world();
    let fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; stat -c %s /dev/shm/x";
    let seen = world.hull(["run", "--rm", "busybox", "sh", "-c", fill]).success();
    assert_eq!(seen.text(), (64 << 20).to_string());
}

#[test]
fn memory_ends_at_the_limit_and_nobody_else_pays() {
    let world = world();
    sleeper(&world, "quiet", &[]);
    let eat = r#"my @all; push @all, "x" x 1_048_576 while 1"#;
    let limit = ["--memory", "32m", "--memory-swap", "32m"];
    let run = [&["run", "--name", "eater"], &limit[..], &TOOLS, &["busybox", "perl", "-e", eat]].concat();
    world.hull(run).status(137);
    assert_eq!(world.inspect("eater", "{{.State.OOMKilled}}"), "true");
    assert_eq!(world.inspect("quiet", "{{.State.Running}}"), "true");
    // Files in memory count as memory.
    let fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
    let output = world.hull([&["run", "--rm"], &limit[..], &["busybox", "sh", "-c", fill]].concat());
    assert_ne!(output.status, Some(0), "{output}");
}

#[test]
fn descriptors_end_at_the_limit() {
    let world = world();
    let open =
        r#"my @all; while (open my $f, "<", "/dev/null") { push @all, $f } print scalar(@all), " $!\n""#;
    let limit = ["--ulimit", "nofile=500:500"];
    let run = [&["run", "--rm"], &limit[..], &TOOLS, &["busybox", "perl", "-e", open]].concat();
    let seen = world.hull(run).success();
    assert_eq!(seen.text(), "497 Too many open files");
    // And without one the host has some left for hull: a container that holds all it may can still be entered.
    let hold = format!("{open}; sleep 600");
    let run = ["run", "-d", "--name", "holder", "--stop-signal", "KILL"];
    world.hull([&run[..], &TOOLS, &["busybox", "perl", "-e", &hold]].concat()).success();
    world.hull(["exec", "holder", "true"]).success();
}

#[test]
fn a_flood_of_output_fills_no_disk() {
    let world = world();
    // Four files' worth of log, with what says who wrote each line and when.
    let flood = ["busybox", "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 25000000"];
    let limit = ["--log-opt", "max-size=4m", "--log-opt", "max-file=2"];
    world.hull([&["run", "-d", "--name", "limited"], &limit[..], &flood].concat()).success();
    world.hull([&["run", "-d", "--name", "default"], &flood[..]].concat()).success();
    let sizes = |name: &str| {
        world.hull(["wait", name]).success();
        let log = world.inspect(name, "{{.LogPath}}");
        let directory = std::path::Path::new(&log).parent().expect("it is a file").to_owned();
        let files = fs::read_dir(directory).expect("the container's directory").flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().contains(".log"));
        logs.map(|file| file.metadata().expect("it is there").len() >> 20).collect::<Vec<_>>()
    };
    let limited = sizes("limited");
    assert!(limited.len() == 2 && limited.iter().all(|size| *size <= 4), "{limited:?}");
    let default = sizes("default");
    assert!(default.len() >= 2 && default.iter().all(|size| *size <= 20), "{default:?}");
}
