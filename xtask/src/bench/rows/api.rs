//! The Docker Engine API: what a call costs, and what many clients at once do to the server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, command, compare};
use crate::bench::memory;

/// hull's server on a socket of its own.
struct Served {
    process: Child,
    socket: PathBuf,
}

impl Served {
    fn start(bench: &Bench) -> Result<Self, String> {
        let socket = bench.directory.join("api.sock");
        let address = format!("unix://{}", socket.display());
        let mut command = bench.hull(["serve", "--listen", &address]);
        let process =
            command.stdout(Stdio::null()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let served = Self { process, socket };
        let limit = Instant::now() + Duration::from_secs(10);
        while std::os::unix::net::UnixStream::connect(&served.socket).is_err() {
            if Instant::now() > limit {
                return Err("hull serve does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(served)
    }

    fn docker<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display())).args(args);
        command
    }

    /// Resident memory now, and the most there has been, in KiB.
    fn memory(&self) -> (u64, u64) {
        memory::resident(self.process.id())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

fn post(socket: &Path, target: &str, body: &str) -> Result<String, String> {
    ask(socket, "POST", target, body)
}

/// The body of an answer that is no refusal.
fn ask(socket: &Path, method: &str, target: &str, body: &str) -> Result<String, String> {
    let json = "Content-Type: application/json\r\n";
    let answer = testkit::request(socket, method, target, json, body.as_bytes());
    match answer.status {
        200..400 => Ok(answer.text()),
        status => Err(format!("{method} {target}: {status} {}", answer.text().trim())),
    }
}

/// Creates a container and returns its id.
fn create(socket: &Path, body: &str) -> Result<String, String> {
    let text = post(socket, "/containers/create", body)?;
    text.split('"').nth(3).map(str::to_owned).ok_or(text)
}

pub fn run(bench: &Bench) -> Result<(), String> {
    let served = Served::start(bench)?;
    let mut candidates = vec![
        command("docker run --rm, hull serve", || served.docker(["run", "--rm", "busybox", "true"])),
        command("  of which the client (docker --version)", || served.docker(["--version"])),
    ];
    if let Some(docker) = able("docker", &bench.docker) {
        candidates
            .push(command("docker run --rm, dockerd", || docker.docker(["run", "--rm", "busybox", "true"])));
    }
    compare(40, candidates)
}

pub fn list(bench: &Bench) -> Result<(), String> {
    let served = Served::start(bench)?;
    let mut sockets = vec![("hull", served.socket.clone())];
    if let Some(docker) = able("docker", &bench.docker) {
        sockets.push(("dockerd", docker.home.join("docker.sock")));
    }
    let mut ids = Vec::new();
    for (_, socket) in &sockets {
        let make = || create(socket, r#"{"Image":"busybox","Cmd":["true"],"Labels":{"some":"label"}}"#);
        ids.push((0..1000).map(|_| make()).collect::<Result<Vec<_>, _>>()?);
    }
    let candidates = sockets.iter().map(|(name, socket)| Candidate {
        name: format!("GET /containers/json?all=1, {name}"),
        once: Box::new(|| {
            let start = Instant::now();
            ask(socket, "GET", "/containers/json?all=1", "").map(|_| start.elapsed())
        }),
    });
    compare(40, candidates.collect())?;
    for ((_, socket), ids) in sockets.iter().zip(&ids) {
        for id in ids {
            ask(socket, "DELETE", &format!("/containers/{id}"), "")?;
        }
    }
    Ok(())
}

/// How many clients, and for how long.
const CLIENTS: usize = 200;
const TIME: Duration = Duration::from_secs(60);

pub fn followers(bench: &Bench) -> Result<(), String> {
    let served = Served::start(bench)?;
    let before = served.memory().0;
    let writes = "i=0; while true; do echo line $i; i=$((i+1)); usleep 50000; done";
    let body = format!(r#"{{"Image":"busybox","Cmd":["sh","-c","{writes}"]}}"#);
    let writers: Vec<String> = (0..10).map(|_| create(&served.socket, &body)).collect::<Result<_, _>>()?;
    for id in &writers {
        post(&served.socket, &format!("/containers/{id}/start"), "")?;
    }
    let (lines, readings) = (AtomicU64::new(0), AtomicU64::new(0));
    let lost = std::thread::scope(|scope| {
        let follow = |client: usize| {
            let id = &writers[client % writers.len()];
            match client / writers.len() % 2 {
                0 => follow_log(&served.socket, id, &lines),
                _ => follow_stats(&served.socket, id, &readings).map(|()| Log::default()),
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || follow(client))).collect();
        std::thread::sleep(TIME);
        // Logs end with their containers, and their stats when these are gone.
        for id in &writers {
            post(&served.socket, &format!("/containers/{id}/kill"), "")?;
        }
        for id in &writers {
            ask(&served.socket, "DELETE", &format!("/containers/{id}"), "")?;
        }
        let ended = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())));
        let logs: Vec<Log> = ended.collect::<Result<_, _>>()?;
        // What another client of the same log got is there.
        let of = |writer: usize| logs.iter().skip(writer).step_by(writers.len());
        let missing = (0..writers.len()).map(|writer| {
            let last = of(writer).map(|log| log.next).max().unwrap_or_default();
            of(writer).filter(|log| log.next > 0).map(|log| log.lost + last - log.next).sum::<u64>()
        });
        Ok::<u64, String>(missing.sum())
    })?;
    let (after, peak) = served.memory();
    println!(
        "  {} lines and {} readings in {} s, {lost} lines lost; memory {:.1} MiB before, {:.1} at most, {:.1} after",
        lines.into_inner(),
        readings.into_inner(),
        TIME.as_secs(),
        mebibytes(before),
        mebibytes(peak),
        mebibytes(after),
    );
    Ok(())
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

/// What came of a log: how many lines are missing before the last one, and which would be next.
#[derive(Default)]
struct Log {
    lost: u64,
    next: u64,
}

/// Reads a log to its end.
fn follow_log(socket: &Path, id: &str, lines: &AtomicU64) -> Result<Log, String> {
    let target = format!("/containers/{id}/logs?follow=1&stdout=1");
    let stream = testkit::begin(socket, "GET", &target, "Connection: close\r\n", b"");
    let mut log = Log::default();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        // Behind the header of a chunk and that of a frame.
        let text = String::from_utf8_lossy(&line);
        let Some(number) = text.split("line ").nth(1).and_then(|number| number.trim().parse::<u64>().ok())
        else {
            continue;
        };
        log.lost += number.saturating_sub(log.next);
        log.next = number + 1;
        lines.fetch_add(1, Ordering::Relaxed);
    }
    if log.next == 0 { Err(format!("no line of {id} came")) } else { Ok(log) }
}

fn follow_stats(socket: &Path, id: &str, readings: &AtomicU64) -> Result<(), String> {
    let mut stream =
        testkit::begin(socket, "GET", &format!("/containers/{id}/stats"), "Connection: close\r\n", b"");
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let documents = buffer[..length].windows(6).filter(|piece| piece == b"\"read\"").count();
                readings.fetch_add(documents as u64, Ordering::Relaxed);
            }
            Err(error) => return Err(format!("stats of {id}: {error}")),
        }
    }
}

pub fn cycles(bench: &Bench) -> Result<(), String> {
    let served = Served::start(bench)?;
    let cycle = || {
        let id = create(&served.socket, r#"{"Image":"busybox","Cmd":["true"]}"#)?;
        post(&served.socket, &format!("/containers/{id}/start"), "")?;
        post(&served.socket, &format!("/containers/{id}/wait"), "")?;
        ask(&served.socket, "DELETE", &format!("/containers/{id}"), "").map(drop)
    };
    let cycles = |count: usize| (0..count).try_for_each(|_| cycle());
    cycles(100)?;
    let (before, descriptors) = (served.memory().0, open_files(&served));
    let start = Instant::now();
    cycles(10_000)?;
    let took = start.elapsed();
    println!(
        "  {:.1} ms each; memory {:.1} MiB before, {:.1} after; {descriptors} open files before, {} after",
        took.as_secs_f64() * 1000.0 / 10_000.0,
        mebibytes(before),
        mebibytes(served.memory().0),
        open_files(&served),
    );
    let left = ask(&served.socket, "GET", "/containers/json?all=1", "")?;
    if left.trim() == "[]" { Ok(()) } else { Err(format!("containers were left: {left}")) }
}

fn open_files(served: &Served) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", served.process.id())).map_or(0, Iterator::count)
}
