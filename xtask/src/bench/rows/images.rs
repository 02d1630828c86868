//! Images of a gigabyte on their way: archives and a registry, beside docker, podman and skopeo.
//!
//! The registry is Debian's docker-registry on this host's loopback. dockerd has a network of its own, with another registry on
//! the same content there. Before each repetition the engine, or the registry, forgets what the row brings to it.
//!
//! Forgetting has a price on ext4 without a journal, which looks at every inode removed from a group in the last minutes before it
//! makes another there: times on such a host are not those of a fresh disk.

mod image;
mod registry;

use super::able;
use crate::bench::Bench;
use crate::bench::measure::{Candidate, compare, timed};
use image::{Engine, Image, NAME};
use registry::{Link, Registry};
use std::process::Command;

const REPETITIONS: usize = 3;

pub fn load_and_save(bench: &Bench) -> Result<(), String> {
    let image = Image::prepare(bench)?;
    println!("  load of an archive of {} MB", image.archive_mb()?);
    let skopeo = |args: &[&str]| skopeo(&image, args);
    let (archive, saved) = (image.path("image.tar"), image.path("saved.tar"));
    let (from, directory) = (format!("docker-archive:{archive}"), format!("dir:{}", image.path("skopeo")));
    each(
        &image,
        |engine| engine.forget(),
        |engine| engine.command(&["load", "-i", &archive]),
        || (clean(&image.path("skopeo")), skopeo(&["copy", &from, &directory])),
    )?;
    println!("  save of it");
    let to = format!("docker-archive:{saved}");
    each(
        &image,
        |_| clean(&saved),
        |engine| engine.command(&["save", "-o", &saved, NAME]),
        || (clean(&saved), skopeo(&["copy", &directory, &to])),
    )
}

pub fn push_and_pull(bench: &Bench) -> Result<(), String> {
    let image = Image::prepare(bench)?;
    image.load_everywhere()?;
    let registry = Registry::start(&image, bench)?;
    let (remote, local) = (format!("docker://{NAME}"), format!("dir:{}", image.path("pulled")));
    let made = format!("dir:{}", image.path("skopeo"));
    let copy = |from: &str, to: &str| {
        skopeo(&image, &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to])
    };
    timed(&mut copy(&format!("docker-archive:{}", image.path("image.tar")), &made))?;
    let nothing = || Command::new("true");
    println!("  push, with gzip");
    each(
        &image,
        |_| registry.forget(),
        |engine| engine.push(),
        || (registry.forget(), copy(&made, &remote)),
    )?;
    println!("  push of what the registry has");
    each(&image, |_| nothing(), |engine| engine.push(), || (nothing(), copy(&made, &remote)))?;
    // Each of them has pushed layers of its own.
    timed(&mut registry.forget())?;
    timed(&mut copy(&made, &remote))?;
    println!("  pull, with gzip: {} MB", registry.megabytes()?);
    let pulled = || (clean(&image.path("pulled")), copy(&remote, &local));
    each(&image, |engine| engine.forget(), |engine| engine.pull(), pulled)?;
    println!("  {}", registry.floor(&image)?);
    println!("  hull's peak memory while pulling: {} KiB", image.peak_of_pull_kib()?);
    println!("  pull of what is here");
    each(&image, |_| nothing(), |engine| engine.pull(), || (nothing(), copy(&remote, &local)))?;
    timed(&mut registry.forget())?;
    timed(&mut image.maker(&["push", "-q", "--compression", "zstd", NAME]))?;
    println!("  pull, with zstd: {} MB", registry.megabytes()?);
    each(&image, |engine| engine.forget(), |engine| engine.pull(), pulled)?;
    println!("  decompressing it alone takes a processor {} ms", registry.decompressing()?.as_millis());
    Ok(())
}

pub fn lazy_start(bench: &Bench) -> Result<(), String> {
    let image = Image::prepare(bench)?;
    let registry = Registry::start(&image, bench)?;
    timed(&mut registry.forget())?;
    timed(&mut image.maker(&["push", "-q", "--compression", "zstd:chunked", NAME]))?;
    let link = Link::new(&registry)?;
    println!("  first output over 100 Mbit/s, of an image of {} MB", registry.megabytes()?);
    let hull = image.hull();
    let start = |policy: &'static str| {
        let (hull, link) = (&hull, &link);
        let once = move || {
            timed(&mut hull.forget())?;
            let run = ["run", "--rm", "--network", "none", "--pull", policy, NAME];
            // The one program there that needs no library.
            let program = ["/bin/busybox", "echo", "hello"];
            timed(&mut link.within(hull.command(&[&run[..], &program].concat())))
        };
        Candidate { name: format!("hull run --pull {policy}"), once: Box::new(once) }
    };
    compare(1, vec![start("lazy"), start("missing")])
}

/// Compares every engine, and skopeo, which unpacks nothing: `before` is not counted.
fn each(
    image: &Image<'_>,
    before: impl Fn(&Engine<'_>) -> Command,
    then: impl Fn(&Engine<'_>) -> Command,
    skopeo: impl Fn() -> (Command, Command),
) -> Result<(), String> {
    let engines = image.engines();
    let (before, then) = (&before, &then);
    let mut candidates: Vec<Candidate<'_>> = engines
        .iter()
        .map(|engine| {
            let once = move || {
                timed(&mut before(engine))?;
                timed(&mut then(engine))
            };
            Candidate { name: engine.name.to_owned(), once: Box::new(once) }
        })
        .collect();
    let once = || {
        let (mut before, mut then) = skopeo();
        timed(&mut before)?;
        timed(&mut then)
    };
    candidates.push(Candidate { name: "skopeo copy, unpacks nothing".to_owned(), once: Box::new(once) });
    compare(REPETITIONS, candidates)
}

fn skopeo(image: &Image<'_>, args: &[&str]) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "--tmpdir", &image.path("tmp")]).args(args);
    command
}

fn clean(path: &str) -> Command {
    let mut command = Command::new("rm");
    command.args(["-rf", path]);
    command
}
