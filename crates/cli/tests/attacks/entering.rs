//! A hostile container and the process that enters it (CVE-2016-9962).

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{TOOLS, world};

/// Looks, until told to end, at every process that is not one of the container's own programs, with all that `/proc` and ptrace offer.
const AMBUSH: &str = r#"
my ($over, $seen) = (0, 0);
$SIG{TERM} = sub { $over = 1 };
my %found;
while (!$over) {
    for my $dir (glob "/proc/[0-9]*") {
        my ($pid) = $dir =~ /(\d+)/;
        next if $pid == $$ || $pid == 1;
        $seen++;
        my $exe = readlink "$dir/exe";
        $found{"exe $exe"}++ if defined $exe && $exe =~ /hull/;
        for my $link ("cwd", "root") {
            my $where = readlink "$dir/$link";
            $found{"$link $where"}++ if defined $where && $where !~ m{^/($|tmp|root)};
        }
        if (open my $file, "<", "$dir/environ") {
            local $/; my $text = <$file> // "";
            $found{"environ"}++ if $text =~ /HULL_|TOKEN_OF_THE_HOST/;
        }
        if (opendir my $fds, "$dir/fd") {
            for my $fd (readdir $fds) {
                my $what = readlink "$dir/fd/$fd" // next;
                $found{"fd $what"}++ unless $what =~ m{^(pipe:|socket:|/dev/|/proc/|/usr/|/lib|/etc/ld|/bin/|anon_inode:)};
                $found{"opened $what"}++ if $what =~ m{hull|/sys/fs/cgroup|\.sock|\.lock|ns/|^/$};
            }
        }
        if (open my $comm, "<", "$dir/comm") {
            my $before = <$comm> // "";
            # PTRACE_SEIZE, then a look at what was caught.
            if (syscall(101, 0x4206, $pid, 0, 0) == 0) {
                open my $again, "<", "$dir/comm"; my $name = <$again> // "";
                $found{"traced $name"}++ if $name =~ /hull/;
                # Interrupt and let go: who is traced when it ends is the tracer's to wait for.
                syscall(101, 0x4207, $pid, 0, 0); waitpid $pid, 0x40000000; syscall(101, 17, $pid, 0, 0);
            }
        }
        if (open my $memory, "+<", "$dir/mem") {
            open my $again, "<", "$dir/comm"; my $name = <$again> // "";
            $found{"memory $name"}++ if $name =~ /hull/;
        }
    }
}
print "found $_\n" for sort keys %found;
print "seen $seen\n";
"#;

#[test]
fn a_container_gets_nothing_of_who_enters_it() {
    let world = world();
    // Whoever may trace with the host's user ids may trace hull: that combination is what `inspect` warns of.
    for flags in [&["--cap-add", "SYS_PTRACE"][..], &["--userns", "host"]] {
        let more = ["--security-opt", "seccomp=unconfined"];
        let name = "ambush";
        let run = [&["run", "--name", name], flags, &more, &TOOLS[..], &["busybox", "perl", "-e", AMBUSH]];
        let ambush = world.spawn(run.concat());
        testkit::eventually("it runs", 20, || {
            (world.hull(["exec", name, "true"]).status == Some(0)).then_some(())
        });
        let (mut entered, mut tried) = (0, 0);
        let end = Instant::now() + Duration::from_secs(8);
        // A slow machine takes longer for a number of tries that proves something.
        while Instant::now() < end || entered <= 5 && tried < 60 {
            for way in [&["exec"][..], &["exec", "--privileged"], &["exec", "-u", "1000", "-w", "/tmp"]] {
                let mut command = world.command([way, &[name, "true"]].concat());
                command.env("TOKEN_OF_THE_HOST", "hush").stdout(Stdio::null()).stderr(Stdio::null());
                tried += 1;
                entered += u32::from(command.status().is_ok_and(|status| status.success()));
            }
        }
        world.hull(["kill", "--signal", "TERM", name]).success();
        let output = ambush.finish().success();
        assert!(!output.stdout.contains("found"), "{flags:?}: {output}");
        assert!(entered > 5 && !output.stdout.contains("seen 0\n"), "entered {entered} times: {output}");
        world.hull(["rm", name]).success();
    }
}
