//! What is measured.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Bench;
use super::measure::{Candidate, command, compare, timed};
use super::memory;
use super::peers::NOFILE;

type Row = fn(&Bench) -> Result<(), String>;

/// Every row by its title.
pub const ROWS: &[(&str, Row)] = &[
    ("run --rm of `true`, no network", run_without_network),
    ("run --rm of `true`, bridge, names, one published port", run_with_network),
    ("exec of `true`", exec),
    ("the program alone, and ps with 100 containers", start_and_list),
    ("50 parallel run -d, then rm -f of them", fifty),
    ("memory of an idle container's keeper", keepers),
    ("30 build steps, cached and not", build_steps),
    ("compose up -d of 20 services", compose_up),
    ("requests to a published port and to the container", published_port),
    ("looking up a name inside a container", lookup),
];

fn run_without_network(bench: &Bench) -> Result<(), String> {
    let mut candidates = vec![command("hull run --rm --network none", || {
        bench.hull(["run", "--rm", "--network", "none", "busybox", "true"])
    })];
    if let Some(crun) = &bench.crun {
        candidates.push(command("crun run, ready bundle (in unshare and sh)", || crun.run()));
        candidates.push(command("  of which unshare and sh", || crun.wrapper()));
    }
    if let Some(podman) = &bench.podman {
        candidates.push(command("podman run --rm --network none", || {
            podman.podman(["run", "--rm", "--ulimit", NOFILE, "--network", "none", "busybox", "true"])
        }));
    }
    if let Some(docker) = &bench.docker {
        candidates.push(command("docker run --rm --network none", || {
            docker.docker(["run", "--rm", "--network", "none", "busybox", "true"])
        }));
    }
    compare(40, candidates)
}

fn run_with_network(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["network", "create", "bench"]))?;
    let mut candidates = vec![command("hull run --rm --network NAME -p", || {
        bench.hull(["run", "--rm", "--network", "bench", "-p", "18080:80", "busybox", "true"])
    })];
    if let Some(crun) = &bench.crun {
        candidates.push(command("crun run, ready bundle, no network", || crun.run()));
    }
    if let Some(podman) = &bench.podman {
        candidates.push(command("podman run --rm -p", || {
            podman.podman(["run", "--rm", "--ulimit", NOFILE, "-p", "18081:80", "busybox", "true"])
        }));
    }
    if let Some(docker) = &bench.docker {
        candidates.push(command("docker run --rm -p", || {
            docker.docker(["run", "--rm", "-p", "18082:80", "busybox", "true"])
        }));
    }
    compare(30, candidates)?;
    timed(&mut bench.hull(["network", "rm", "bench"])).map(drop)
}

fn exec(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["run", "-d", "--name", "exec", "busybox", "sleep", "1000"]))?;
    let mut candidates = vec![command("hull exec", || bench.hull(["exec", "exec", "true"]))];
    if let Some(docker) = &bench.docker {
        timed(&mut docker.docker(["run", "-d", "--name", "exec", "busybox", "sleep", "1000"]))?;
        candidates.push(command("docker exec", || docker.docker(["exec", "exec", "true"])));
    }
    compare(40, candidates)?;
    timed(&mut bench.hull(["rm", "-f", "exec"])).map(drop)
}

fn start_and_list(bench: &Bench) -> Result<(), String> {
    let mut ids = Vec::new();
    for _ in 0..100 {
        let output = bench.hull(["create", "busybox", "true"]).output().map_err(|error| error.to_string())?;
        ids.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let mut candidates = vec![
        command("hull --version", || bench.hull(["--version"])),
        command("hull ps -a, 100 containers", || bench.hull(["ps", "-a"])),
    ];
    if let Some(docker) = &bench.docker {
        candidates.push(command("docker --version", || docker.docker(["--version"])));
    }
    compare(40, candidates)?;
    timed(bench.hull(["rm"]).args(&ids)).map(drop)
}

/// Starts `commands` at once and waits for them all.
fn at_once(commands: impl Iterator<Item = Command>) -> Result<Duration, String> {
    let start = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        children.push(command.spawn().map_err(|error| error.to_string())?);
    }
    for mut child in children {
        let status = child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("a parallel start failed: {status}"));
        }
    }
    Ok(start.elapsed())
}

fn fifty(bench: &Bench) -> Result<(), String> {
    let names: Vec<String> = (0..50).map(|index| format!("many-{index}")).collect();
    let starts = |name: &String| bench.hull(["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    let mut removals = Vec::new();
    let mut started = Vec::new();
    for _ in 0..6 {
        started.push(at_once(names.iter().map(starts))?);
        removals.push(timed(bench.hull(["rm", "-f"]).args(&names))?);
    }
    let replay = |name, mut times: Vec<Duration>| Candidate {
        name,
        once: Box::new(move || Ok(times.pop().unwrap_or_default())),
    };
    compare(5, vec![replay("hull run -d, 50 at once", started), replay("hull rm -f of the 50", removals)])?;
    if let Some(docker) = &bench.docker {
        let starts = |name: &String| docker.docker(["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
        let up = at_once(names.iter().map(starts))?;
        let down = timed(docker.docker(["rm", "-f"]).args(&names))?;
        println!("  docker, once: {:.2} s up, {:.2} s down", up.as_secs_f64(), down.as_secs_f64());
    }
    Ok(())
}

fn keepers(bench: &Bench) -> Result<(), String> {
    for index in 0..10 {
        let name = format!("idle-{index}");
        timed(&mut bench.hull(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]))?;
    }
    let run_root = bench.run_root.display().to_string();
    let shares = memory::shares(|words| {
        words.get(1).is_some_and(|word| word == "monitor")
            && words.iter().any(|word| word.contains(&run_root))
    });
    let count = shares.len().max(1) as u64;
    println!(
        "  hull monitor, {} of them: {} KiB private, {} KiB proportional, {} thread(s) each",
        shares.len(),
        shares.iter().map(|share| share.private_kib).sum::<u64>() / count,
        shares.iter().map(|share| share.proportional_kib).sum::<u64>() / count,
        shares.iter().map(|share| share.threads).sum::<u64>() / count,
    );
    let names: Vec<String> = (0..10).map(|index| format!("idle-{index}")).collect();
    timed(bench.hull(["rm", "-f"]).args(&names)).map(drop)
}

fn build_steps(bench: &Bench) -> Result<(), String> {
    let context = bench.directory.join("context");
    fs::create_dir_all(&context).map_err(|error| error.to_string())?;
    let dockerfile = format!("FROM busybox:latest\n{}", "RUN true\n".repeat(30));
    fs::write(context.join("Dockerfile"), dockerfile).map_err(|error| error.to_string())?;
    let context = context.display().to_string();
    timed(&mut bench.hull(["build", "-t", "steps", &context]))?;
    let mut candidates = vec![
        command("hull build, 30 steps cached", || bench.hull(["build", "-t", "steps", &context])),
        command("hull build --no-cache, 30 x RUN true", || {
            bench.hull(["build", "--no-cache", "-t", "steps", &context])
        }),
    ];
    if let Some(podman) = &bench.podman {
        candidates.push(command("podman build, 30 steps cached", || {
            podman.podman(["build", "--layers", "-t", "steps", &context])
        }));
    }
    compare(8, candidates)
}

fn compose_up(bench: &Bench) -> Result<(), String> {
    let mut file = String::from("name: bench\nservices:\n");
    for index in 0..20 {
        file.push_str(&format!(
            "  s{index}: {{image: busybox, command: sleep 1000, stop_grace_period: 0s}}\n"
        ));
    }
    let path = bench.directory.join("compose.yaml");
    fs::write(&path, file).map_err(|error| error.to_string())?;
    let path = path.display().to_string();
    let up = Candidate {
        name: "hull compose up -d, 20 services",
        once: Box::new(|| {
            let took = timed(&mut bench.hull(["compose", "-f", &path, "up", "-d"]))?;
            timed(&mut bench.hull(["compose", "-f", &path, "down"]))?;
            Ok(took)
        }),
    };
    compare(5, vec![up])
}

fn published_port(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull([
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:18090:80",
        "busybox",
        "sh",
        "-c",
        "echo hello > /var/www/index.html; exec httpd -f -h /var/www",
    ]))?;
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let output =
        bench.hull(["inspect", "-f", template, "web"]).output().map_err(|error| error.to_string())?;
    let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let load = |target: String| {
        let mut ab = Command::new("ab");
        ab.args(["-q", "-n", "2000", "-c", "8", &target]);
        ab
    };
    compare(
        8,
        vec![
            command("2000 requests to the container's address", || {
                load(format!("http://{address}/index.html"))
            }),
            command("2000 requests to 127.0.0.1", || load("http://127.0.0.1:18090/index.html".into())),
        ],
    )?;
    timed(&mut bench.hull(["rm", "-f", "web"])).map(drop)
}

fn lookup(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["network", "create", "names"]))?;
    timed(&mut bench.hull([
        "run",
        "-d",
        "--name",
        "here",
        "--network",
        "names",
        "busybox",
        "sleep",
        "1000",
    ]))?;
    let lookups = |count: usize| {
        let script = format!("i=0; while [ $i -lt {count} ]; do nslookup here >/dev/null; i=$((i+1)); done");
        bench.hull(["exec", "here", "sh", "-c"]).arg(script).output().map(drop)
    };
    lookups(5).map_err(|error| error.to_string())?;
    let pair = |count| {
        let start = Instant::now();
        lookups(count).map(|()| start.elapsed()).map_err(|error| error.to_string())
    };
    let (few, many) = (pair(10)?, pair(210)?);
    println!(
        "  one nslookup, process and two questions: {:.3} ms",
        (many - few).as_secs_f64() * 1000.0 / 200.0
    );
    timed(&mut bench.hull(["rm", "-f", "here"]))?;
    timed(&mut bench.hull(["network", "rm", "names"])).map(drop)
}
