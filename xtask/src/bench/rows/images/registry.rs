//! Debian's docker-registry, where each engine finds it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::image::{ADDRESS, Image};
use crate::bench::Bench;
use crate::bench::measure::{timed, wrapped};
use crate::bench::peers::find;

/// The same content in this host's network and in dockerd's.
pub struct Registry {
    content: PathBuf,
    config: PathBuf,
    processes: Vec<Child>,
}

impl Registry {
    pub fn start(image: &Image<'_>, bench: &Bench) -> Result<Self, String> {
        find("docker-registry")?;
        let directory = image.directory.join("registry");
        let content = directory.join("content");
        fs::create_dir_all(&content).map_err(|e| e.to_string())?;
        let config = directory.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: '{ADDRESS}'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n",
            content.display()
        );
        fs::write(&config, text).map_err(|e| e.to_string())?;
        let mut registry = Self { content, config, processes: Vec::new() };
        registry.serve(&["env"])?;
        if let Ok(docker) = &bench.docker {
            registry.serve(&["nsenter", &format!("--net=/proc/{}/ns/net", docker.pid())])?;
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(ADDRESS).is_err() {
            if Instant::now() > deadline {
                return Err("docker-registry does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(registry)
    }

    /// One more process, run by `wrapper`, which is replaced by it.
    fn serve(&mut self, wrapper: &[&str]) -> Result<u32, String> {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).args(["docker-registry", "serve"]).arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|e| format!("docker-registry: {e}"))?;
        let pid = process.id();
        self.processes.push(process);
        Ok(pid)
    }

    /// Removes everything that was pushed.
    pub fn forget(&self) -> Command {
        let mut command = Command::new("rm");
        command.arg("-rf").arg(self.content.join("docker"));
        command
    }

    /// How much it has.
    pub fn megabytes(&self) -> Result<u64, String> {
        Ok(self.blobs()?.iter().map(|(size, _)| size).sum::<u64>() / 1_000_000)
    }

    fn blobs(&self) -> Result<Vec<(u64, PathBuf)>, String> {
        let mut found = Vec::new();
        let mut pending = vec![self.content.join("docker/registry/v2/blobs")];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))? {
                let entry = entry.map_err(|e| e.to_string())?;
                let metadata = entry.metadata().map_err(|e| e.to_string())?;
                match metadata.is_dir() {
                    true => pending.push(entry.path()),
                    false => found.push((metadata.len(), entry.path())),
                }
            }
        }
        Ok(found)
    }

    /// The layers, compressed as they are.
    fn layers(&self) -> Result<Vec<PathBuf>, String> {
        Ok(self.blobs()?.into_iter().filter(|(size, _)| *size > 100_000).map(|(_, path)| path).collect())
    }

    /// What a processor takes to decompress the layers and does nothing else.
    pub fn decompressing(&self) -> Result<Duration, String> {
        let start = Instant::now();
        for layer in self.layers()? {
            decompress(&layer).map_err(|e| format!("{}: {e}", layer.display()))?;
        }
        Ok(start.elapsed())
    }

    /// What a processor takes to decompress the layers and to make their files, one after the other, over the processors there
    /// are: with everything else for nothing, no pull is faster.
    pub fn floor(&self, image: &Image<'_>) -> Result<String, String> {
        let decompressing = self.decompressing()?;
        let unpacking = untar(&self.layers()?, &image.directory)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let floor = (decompressing + unpacking) / processors as u32;
        Ok(format!(
            "floor: {} ms to decompress and {} ms to unpack (GNU tar) on one processor, {} ms on {processors}",
            decompressing.as_millis(),
            unpacking.as_millis(),
            floor.as_millis()
        ))
    }
}

/// Reads gzip or zstd to its end.
fn decompress(layer: &Path) -> io::Result<()> {
    let mut file = BufReader::with_capacity(128 << 10, fs::File::open(layer)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut decoder: Box<dyn Read> = match is_gzip {
        true => Box::new(flate2::read::MultiGzDecoder::new(file)),
        false => Box::new(zstd::Decoder::with_buffer(file)?),
    };
    let mut buffer = vec![0; 256 << 10];
    while decoder.read(&mut buffer)? > 0 {}
    Ok(())
}

impl Drop for Registry {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// How long GNU tar takes to make the files of archives that are decompressed already.
fn untar(layers: &[PathBuf], directory: &Path) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    for layer in layers {
        let (plain, tree) = (directory.join("plain.tar"), directory.join("tree"));
        let script = "gzip -dc \"$1\" > \"$2\" && mkdir \"$3\"";
        timed(Command::new("sh").args(["-c", script, "sh"]).args([layer, &plain, &tree]))?;
        total += timed(Command::new("tar").arg("-C").arg(&tree).arg("-xf").arg(&plain))?;
        timed(Command::new("rm").arg("-rf").args([&plain, &tree]))?;
    }
    Ok(total)
}

/// A network in which the registry is reached at 100 Mbit/s.
pub struct Link {
    process: Child,
}

impl Link {
    pub fn new(registry: &Registry) -> Result<Self, String> {
        // The same address and content, where the loopback is slow, and its packets are no larger than what may pass at once.
        let script = "ip link set lo mtu 1500 up && tc qdisc add dev lo root tbf rate 100mbit burst 64kb latency 200ms \
                      && exec docker-registry serve \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script, "sh"]).arg(&registry.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let link = Self { process: command.spawn().map_err(|e| format!("unshare: {e}"))? };
        let deadline = Instant::now() + Duration::from_secs(20);
        let port = ADDRESS.replace(':', "/");
        loop {
            let mut probe = Command::new("bash");
            probe.args(["-c", &format!(": < /dev/tcp/{port}")]);
            match timed(&mut link.within(probe)) {
                Ok(_) => return Ok(link),
                Err(reason) if Instant::now() > deadline => return Err(reason),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// `command` in that network.
    pub fn within(&self, command: Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.process.id()));
        wrapped(inside, &command)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
