//! Directories that become symlinks, and back, while hull works on them (CVE-2021-30465, CVE-2018-15664).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{TOOLS, assert_untouched, sleeper, trap, world};

/// Swaps `/v/a`, a directory, with `/v/b`, a symlink, for as long as the container lives.
fn flip(target: &str) -> String {
    format!(
        r#"
mkdir "/v/a"; mkdir "/v/a/sub$_" for 0 .. 59; symlink "{target}", "/v/b";
open my $f, ">", "/v/a/secret"; print $f "inside"; close $f;
print "ready\n"; $| = 1;
my ($a, $b) = ("/v/a", "/v/b");
while (1) {{ syscall(316, -100, $a, -100, $b, 2) == 0 or die "exchange: $!"; $n++; }}
"#
    )
}

/// A directory in memory, where names are exchanged ten times as often as on a disk: the race is won in one of a hundred tries
/// where nothing stands against it, not in one of a thousand.
struct Shared(PathBuf);

impl Shared {
    fn new(world: &testkit::World) -> Self {
        // Before Linux 6.3 the owners of a tmpfs cannot be mapped, and the disk has to do.
        let path = match sys::features::kernel_version() >= (6, 3) {
            true => Path::new("/dev/shm").join(world.run_root().file_name().expect("it has a name")),
            false => world.scratch().join("shared"),
        };
        fs::create_dir(&path).expect("worlds have different names");
        Self(path)
    }

    fn volume(&self) -> String {
        format!("{}:/v:idmap=owner", self.0.display())
    }

    /// Runs `attempt` for a minute, or until it has worked `ENOUGH` times, while a container swaps `/v/a` for a link to `target`.
    ///
    /// What is tried need not work each time: a file may be missing in the moment it is looked for. How often that happens depends
    /// on the machine, so the time is what is fixed; below `FEWEST` nothing would have been shown.
    fn while_flipping(&self, world: &testkit::World, target: &str, mut attempt: impl FnMut(u32) -> bool) {
        const ENOUGH: u32 = 60;
        // On an emulated machine it may work but twice in a minute.
        const FEWEST: u32 = 1;
        const LONGEST: Duration = Duration::from_secs(120);

        let (script, volume) = (flip(target), self.volume());
        let run = ["run", "-d", "--name", "flipper", "--stop-signal", "KILL", "-v", &volume];
        world.hull([&run[..], &TOOLS, &["busybox", "perl", "-e", &script]].concat()).success();
        testkit::eventually("the swapping begins", 20, || {
            let look = ["exec", "flipper", "test", "-d", "/v/a/sub59", "-o", "-d", "/v/b/sub59"];
            world.hull(look).status.filter(|status| *status == 0)
        });
        let end = Instant::now() + testkit::patience(60).min(LONGEST);
        let (mut tries, mut worked) = (0, 0);
        while worked < ENOUGH && Instant::now() < end {
            worked += u32::from(attempt(tries));
            tries += 1;
        }
        assert!(worked >= FEWEST, "{worked} of {tries} tries worked");
        assert_eq!(world.inspect("flipper", "{{.State.Running}}"), "true", "it swapped to the end");
        world.hull(["rm", "-f", "flipper"]).success();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// So many mounts in one container below the directory that is swapped, each a try of its own.
const PLACES: usize = 60;
/// So many in some of the containers: a slow machine hardly ever makes all of the others.
const FEW: usize = 3;

#[test]
fn mounts_do_not_follow_a_link_out_of_the_root() {
    let world = world();
    let trap = trap(&world);
    // The same names on both sides: whoever is led astray between two steps does not notice by an error.
    let subs: Vec<_> = (0..PLACES).map(|n| trap.join(format!("sub{n}"))).collect();
    for sub in &subs {
        fs::create_dir(sub).expect("a fresh name");
    }
    let target = trap.to_string_lossy().into_owned();
    let shared = Shared::new(&world);
    let volume = shared.volume();
    let file = format!("{}:/v/a/file", world.file("given", "given").display());
    let places: Vec<String> = (0..PLACES)
        .map(|n| format!("/v/a/{}{n}:size=40k", if n % 10 == 9 { "deep/er" } else { "sub" }))
        .collect();
    // Thousands of mounts.
    shared.while_flipping(&world, &target, |n| {
        // With the host's ids, too: then the container's root may make directories wherever a link leads.
        let users = if n % 10 == 0 { "private" } else { "host" };
        let run = ["run", "--rm", "--network", "none", "--userns", users, "-v", &volume, "-v", &file];
        let places = &places[..if n % 5 == 4 { FEW } else { PLACES }];
        let tmpfs = places.iter().flat_map(|place| ["--tmpfs", place]).collect::<Vec<_>>();
        // Also a working directory to be made.
        let program = ["-w", "/v/a/work", "busybox", "cat", "/proc/self/mountinfo"];
        let output = world.hull([&run[..], &tmpfs, &program].concat());
        assert_eq!(fs::read_dir(&trap).expect("it is there").count(), subs.len() + 1, "{output}");
        if output.status != Some(0) {
            return false;
        }
        // Wherever it was mounted, it is in the container's own root.
        assert_eq!(output.stdout.matches("size=40k").count(), places.len(), "{output}");
        true
    });
    // Their mounts were empty directories' and went with them.
    subs.iter().for_each(|sub| fs::remove_dir(sub).expect("it is there and empty"));
    assert_untouched(&trap);
    let host = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    assert!(!host.contains(&target), "{host}");
}

#[test]
fn cp_does_not_follow_a_link_out_of_the_root() {
    let world = world();
    let trap = trap(&world);
    let given = world.file("given", "given").to_string_lossy().into_owned();
    let shared = Shared::new(&world);
    sleeper(&world, "user", &["-v", &shared.volume()]);
    let back = world.scratch().join("back");
    shared.while_flipping(&world, &trap.to_string_lossy(), |n| {
        let name = if n % 2 == 0 { "user:/v/a/in" } else { "user:/v/a/sub0/in" };
        let _ = world.hull(["cp", &given, name]);
        assert_untouched(&trap);
        let _ = world.hull(["cp", "-L", "user:/v/a", &format!("{}-{n}", back.display())]);
        // The link itself may have been copied, as a link.
        let all = back.with_file_name(format!("back-{n}"));
        if all.symlink_metadata().is_ok_and(|meta| meta.is_dir())
            && let Ok(text) = fs::read_to_string(all.join("secret"))
        {
            assert_eq!(text, "inside");
        }
        let out = world.hull(["cp", "user:/v/a/secret", &back.to_string_lossy()]);
        if out.status == Some(0) {
            assert_eq!(fs::read_to_string(&back).expect("it was copied"), "inside");
        }
        out.status == Some(0)
    });
}
