//! Directories that become symlinks, and back, while hull works on them (CVE-2021-30465, CVE-2018-15664).

use std::fs;
use std::time::{Duration, Instant};

use crate::{TOOLS, assert_untouched, sleeper, trap, world};

/// Swaps `/v/a`, a directory, with `/v/b`, a symlink, for as long as the container lives.
fn flip(target: &str) -> String {
    format!(
        r#"
mkdir "/v/a"; mkdir "/v/a/sub"; symlink "{target}", "/v/b";
open my $f, ">", "/v/a/secret"; print $f "inside"; close $f;
print "ready\n"; $| = 1;
my ($a, $b) = ("/v/a", "/v/b");
while (1) {{ syscall(316, -100, $a, -100, $b, 2) == 0 or die "exchange: $!"; $n++; }}
"#
    )
}

/// Runs `attempt` until the time is up, while a container swaps the volume's directory for a link to `target`.
fn while_flipping(world: &testkit::World, target: &str, mut attempt: impl FnMut(u32)) -> u32 {
    let script = flip(target);
    let run = ["run", "-d", "--name", "flipper", "--stop-signal", "KILL", "-v", "shared:/v"];
    world.hull([&run[..], &TOOLS, &["busybox", "perl", "-e", &script]].concat()).success();
    testkit::eventually("the swapping begins", 20, || {
        world
            .hull(["exec", "flipper", "test", "-d", "/v/a/sub", "-o", "-d", "/v/b/sub"])
            .status
            .filter(|s| *s == 0)
    });
    let end = Instant::now() + Duration::from_secs(8);
    let mut tries = 0;
    while Instant::now() < end {
        attempt(tries);
        tries += 1;
    }
    assert_eq!(world.inspect("flipper", "{{.State.Running}}"), "true", "it swapped to the end");
    world.hull(["rm", "-f", "flipper"]).success();
    tries
}

#[test]
fn mounts_do_not_follow_a_link_out_of_the_root() {
    let world = world();
    let trap = trap(&world);
    let target = trap.to_string_lossy().into_owned();
    let mut begun = 0;
    let tries = while_flipping(&world, &target, |n| {
        let place = if n % 2 == 0 { "other:/v/a/sub" } else { "other:/v/a/deep/er" };
        // Also files, and a working directory to be made.
        let file = format!("{}:/v/a/file", world.file("given", "given").display());
        let look = "cat /proc/self/mountinfo; ls -a /";
        let output = world.hull([
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            "shared:/v",
            "-v",
            place,
            "-v",
            &file,
            "-w",
            "/v/a/work",
            "busybox",
            "sh",
            "-c",
            look,
        ]);
        if output.status == Some(0) {
            begun += 1;
            // Wherever it was mounted, it is in the container's own root.

            assert!(output.stdout.contains(" /v "), "{output}");
        }
        assert_untouched(&trap);
    });
    assert!(tries > 5 && begun > 0, "{tries} tries, {begun} of them began");
    let host = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    assert!(!host.contains(&target), "{host}");
}

#[test]
fn cp_does_not_follow_a_link_out_of_the_root() {
    let world = world();
    let trap = trap(&world);
    let given = world.file("given", "given").to_string_lossy().into_owned();
    sleeper(&world, "user", &["-v", "shared:/v"]);
    let back = world.scratch().join("back");
    let mut copied = 0;
    let tries = while_flipping(&world, &trap.to_string_lossy(), |n| {
        let out = world.hull(["cp", "user:/v/a/secret", &back.to_string_lossy()]);
        if out.status == Some(0) {
            copied += 1;
            assert_eq!(fs::read_to_string(&back).expect("it was copied"), "inside");
        }
        let _ = world.hull(["cp", "-L", "user:/v/a", &format!("{}-{n}", back.display())]);
        let name = if n % 2 == 0 { "user:/v/a/in" } else { "user:/v/a/sub/in" };
        let _ = world.hull(["cp", &given, name]);
        assert_untouched(&trap);

        // The link itself may have been copied, as a link.
        let all = back.with_file_name(format!("back-{n}"));
        if all.symlink_metadata().is_ok_and(|meta| meta.is_dir())
            && let Ok(text) = fs::read_to_string(all.join("secret"))
        {
            assert_eq!(text, "inside");
        }
    });
    assert!(tries > 5 && copied > 0, "{tries} tries, {copied} of them copied");
}
