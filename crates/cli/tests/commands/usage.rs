//! `system df` held against du(1), and what `prune` gives back.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::World;

use crate::world;

/// What du says of the things in `directories` of the data root.
fn du(world: &World, directories: &[&str]) -> u64 {
    let entries = directories.iter().flat_map(|directory| {
        let entries = fs::read_dir(world.data_root().join(directory)).into_iter().flatten();
        entries.map(|entry| entry.expect("the directory can be read").path())
    });
    let mut paths: Vec<_> = entries.collect();
    // Of a volume its files; its directory is hull's.
    paths.iter_mut().filter(|path| path.join("_data").exists()).for_each(|path| path.push("_data"));
    if paths.is_empty() {
        return 0;
    }
    let output = Command::new("du").args(["-sc", "--block-size=1"]).args(paths).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// The sizes that df tells, and those that could be had back, by what they are of.
fn df(world: &World, kind: &str) -> [f64; 2] {
    let output = world.hull(["system", "df", "--format", "json"]).success();
    let rows = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = rows.into_iter().find(|row| row["Type"] == kind).expect("there is a row for it");
    ["Size", "Reclaimable"].map(|field| bytes(row[field].as_str().unwrap()))
}

/// `12.3MB (50%)` as bytes.
fn bytes(text: &str) -> f64 {
    let size = text.split(' ').next().unwrap();
    let digits = size.find(|c: char| c.is_alphabetic()).unwrap();
    let unit = match &size[digits..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("{other:?} of {text:?}"),
    };
    size[..digits].parse::<f64>().unwrap() * unit
}

/// Within what three digits can tell.
#[track_caller]
fn same(told: f64, expected: u64) {
    assert!((told - expected as f64).abs() <= expected as f64 * 0.005 + 0.5, "{told} is not {expected}");
}

const CONTENT: [&str; 4] = ["blobs/sha256", "snapshots", "partial", "cache-mounts"];

#[track_caller]
fn all_is_as_du_says(world: &World) {
    let [images, reclaimable] = df(world, "Images");
    let [cache, _] = df(world, "Build Cache");
    same(images + cache, du(world, &CONTENT));
    assert!(reclaimable <= images);
    same(df(world, "Containers")[0], du(world, &["containers"]));
    same(df(world, "Local Volumes")[0], du(world, &["volumes"]));
}

/// Runs a prune and compares what it says with what du does.
#[track_caller]
fn prune(world: &World, args: &[&str], directories: &[&str]) -> u64 {
    let before = du(world, directories);
    let output = world.hull(args).success();
    let told = output.stdout.lines().find_map(|line| line.strip_prefix("Total reclaimed space: "));
    let freed = before - du(world, directories);
    same(bytes(told.expect("a prune says so")), freed);
    freed
}

fn made() -> World {
    let world = world();
    // Files of less than a block, of more, with two names, and with holes.
    let run = "RUN mkdir /many && for i in $(seq 500); do echo $i > /many/$i; done && seq 100000 > /big && ln /big /again \
               && truncate -s 50M /hole";
    world.file("app/Dockerfile", &format!("FROM busybox\n{run}\n"));
    world.file(
        "old/Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/cache seq 50000 | tee /cache/x > /other\n",
    );
    for name in ["app", "old"] {
        world.hull(["build", "-q", "-t", name, name]).success();
    }
    // Only the cache has it now.
    world.hull(["rmi", "old"]).success();
    world
        .hull([
            "run",
            "--name",
            "done",
            "-v",
            "data:/data",
            "app",
            "sh",
            "-c",
            "seq 70000 | tee /data/x > /y",
        ])
        .success();
    fs::create_dir_all(world.data_root().join("partial")).unwrap();
    fs::write(world.data_root().join("partial").join("0123456789abcdef".repeat(4)), vec![1; 300_000])
        .unwrap();
    world
}

#[test]
fn df_tells_what_du_does() {
    let world = made();
    all_is_as_du_says(&world);
    let running = ["run", "-d", "--name", "web", "--stop-signal", "KILL", "busybox", "sleep", "600"];
    world.hull(running).success();
    all_is_as_du_says(&world);
    let [cache, _] = df(&world, "Build Cache");
    assert!(cache > 500_000.0, "{cache}");
    // An archive of other bytes for the same layers, and a tag that goes.
    let archive = world.scratch().join("app.tar").display().to_string();
    world.hull(["save", "-o", &archive, "app"]).success();
    world.hull(["tag", "app", "more"]).success();
    world.hull(["rmi", "app"]).success();
    world.hull(["load", "-i", &archive]).success();
    all_is_as_du_says(&world);
}

#[test]
fn a_prune_gives_back_what_it_says() {
    let world = made();
    let [_, reclaimable] = df(&world, "Images");
    assert!(prune(&world, &["container", "prune", "--force"], &["containers"]) > 400_000);
    assert!(prune(&world, &["volume", "prune", "--all", "--force"], &["volumes"]) > 400_000);
    assert!(df(&world, "Images")[1] > reclaimable, "no container needs them any more");
    assert!(prune(&world, &["builder", "prune", "--all", "--force"], &CONTENT) > 500_000);
    same(df(&world, "Build Cache")[0], 0);
    let [images, reclaimable] = df(&world, "Images");
    assert_eq!(images, reclaimable);
    let freed = prune(&world, &["image", "prune", "--all", "--force"], &CONTENT);
    same(images, freed);
    assert_eq!(du(&world, &CONTENT), 0);
    assert_eq!(world.hull(["system", "df", "--format", "{{.Size}}"]).success().stdout, "0B\n0B\n0B\n0B\n");
    assert!(Path::new(&world.data_root()).join("tmp").read_dir().unwrap().next().is_none());
}

#[test]
fn what_builds_have_too_is_not_given_back_with_the_images() {
    let world = made();
    world.hull(["rm", "done"]).success();
    let [images, reclaimable] = df(&world, "Images");
    assert!(reclaimable < images, "the cache has the layers of app");
    same(reclaimable, prune(&world, &["image", "prune", "--all", "--force"], &CONTENT));
    all_is_as_du_says(&world);
}

#[test]
fn a_whole_prune_at_once_gives_back_what_it_says() {
    let world = made();
    let all = [&CONTENT[..], &["containers", "volumes"]].concat();
    prune(&world, &["system", "prune", "--all", "--force"], &all);
    assert_eq!(du(&world, &CONTENT), 0);
}
