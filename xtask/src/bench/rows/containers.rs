//! One container at a time.

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{command, compare, timed};

pub fn run_without_network(bench: &Bench) -> Result<(), String> {
    let mut candidates = vec![command("hull run --rm --network none", || {
        bench.hull(["run", "--rm", "--network", "none", "busybox", "true"])
    })];
    if let Some(crun) = able("crun", &bench.crun) {
        candidates.push(command("crun run, ready bundle (in nsenter)", || crun.run()));
        candidates.push(command("  of which nsenter", || crun.wrapper()));
    }
    if let Some(podman) = able("podman", &bench.podman) {
        candidates.push(command("podman run --rm --network none", || {
            podman.run(["--rm", "--network", "none", "busybox", "true"])
        }));
    }
    if let Some(docker) = able("docker", &bench.docker) {
        candidates.push(command("docker run --rm --network none", || {
            docker.docker(["run", "--rm", "--network", "none", "busybox", "true"])
        }));
    }
    compare(40, candidates)
}

pub fn run_with_network(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["network", "create", "bench"]))?;
    let mut candidates = vec![command("hull run --rm --network NAME -p", || {
        bench.hull(["run", "--rm", "--network", "bench", "-p", "18080:80", "busybox", "true"])
    })];
    if let Some(crun) = able("crun", &bench.crun) {
        candidates.push(command("crun run, ready bundle, no network", || crun.run()));
    }
    if let Some(podman) = able("podman", &bench.podman) {
        candidates.push(command("podman run --rm -p", || {
            podman.run(["--rm", "-p", "18081:80", "busybox", "true"])
        }));
    }
    if let Some(docker) = able("docker", &bench.docker) {
        candidates.push(command("docker run --rm -p", || {
            docker.docker(["run", "--rm", "-p", "18082:80", "busybox", "true"])
        }));
    }
    compare(30, candidates)?;
    timed(&mut bench.hull(["network", "rm", "bench"])).map(drop)
}

pub fn exec(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["run", "-d", "--name", "exec", "busybox", "sleep", "1000"]))?;
    let mut candidates = vec![command("hull exec", || bench.hull(["exec", "exec", "true"]))];
    let podman = able("podman", &bench.podman);
    if let Some(podman) = podman {
        timed(&mut podman.run(["-d", "--name", "exec", "--network", "none", "busybox", "sleep", "1000"]))?;
        candidates.push(command("podman exec", || podman.podman(["exec", "exec", "true"])));
    }
    let docker = able("docker", &bench.docker);
    if let Some(docker) = docker {
        timed(&mut docker.docker(["run", "-d", "--name", "exec", "busybox", "sleep", "1000"]))?;
        candidates.push(command("docker exec", || docker.docker(["exec", "exec", "true"])));
    }
    compare(40, candidates)?;
    if let Some(podman) = podman {
        timed(&mut podman.podman(["rm", "-f", "-t", "0", "exec"]))?;
    }
    if let Some(docker) = docker {
        timed(&mut docker.docker(["rm", "-f", "exec"]))?;
    }
    timed(&mut bench.hull(["rm", "-f", "exec"])).map(drop)
}

pub fn start_and_list(bench: &Bench) -> Result<(), String> {
    let mut ids = Vec::new();
    for _ in 0..100 {
        let output = bench.hull(["create", "busybox", "true"]).output().map_err(|error| error.to_string())?;
        ids.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let mut candidates = vec![
        command("hull --version", || bench.hull(["--version"])),
        command("hull ps -a, 100 containers", || bench.hull(["ps", "-a"])),
    ];
    if let Some(docker) = able("docker", &bench.docker) {
        candidates.push(command("docker --version", || docker.docker(["--version"])));
    }
    if let Some(podman) = able("podman", &bench.podman) {
        candidates.push(command("podman --version", || podman.podman(["--version"])));
    }
    compare(40, candidates)?;
    timed(bench.hull(["rm"]).args(&ids)).map(drop)
}
