//! Overwriting hull's own program from a container (CVE-2019-5736).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::{TOOLS, image, world};

/// Opens whatever program of another kind runs in the container, keeps it open, and tries for seconds to write to it.
///
/// As long as hull runs somewhere its program is busy, which hides what would come after: so it also looks (fstatfs) whether the
/// mount it was reached by is read-only.
const OVERWRITE: &str = r#"
my ($end, $seen, %kept) = (time + 8, 0);
while (time < $end) {
    for my $exe (glob "/proc/[0-9]*/exe") {
        my $program = readlink $exe or next;
        next if $program =~ m{/(perl|busybox)\b};
        $seen++;
        open my $file, "<", $exe or next;
        $kept{$exe} = $file;
        my $answer = "\0" x 120;
        syscall(138, fileno $file, $answer) == 0 or die "fstatfs: $!";
        print "unsealed\n" unless unpack("x80 Q", $answer) & 1;
    }
    for my $file (values %kept) {
        for my $mode ("+<", ">>") {
            print "written\n" if open my $again, $mode, "/proc/self/fd/" . fileno $file;
        }
    }
}
print "seen $seen, kept ", scalar(keys %kept), "\n";
"#;

#[test]
fn a_container_cannot_write_to_the_program_that_runs_it() {
    let world = world();
    let hull = fs::read(env!("CARGO_BIN_EXE_hull")).expect("it was built");
    image(&world, "evil", |root| {
        for (name, script) in [("evil", "#!/proc/self/exe\n"), ("lasting", "#!/proc/self/exe events\n")] {
            fs::write(root.join(name), script).expect("a fresh directory");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
    });
    // With the host's ids too: then the container's root is the owner of the program.
    for users in ["private", "host"] {
        let name = &format!("attacker-{users}");
        let attack = ["evil", "perl", "-e", OVERWRITE];
        let attacker =
            world.spawn([&["run", "--name", name, "--userns", users], &TOOLS[..], &attack].concat());
        testkit::eventually("the attacker runs", 20, || {
            (world.hull(["exec", name, "true"]).status == Some(0)).then_some(())
        });
        for program in ["/evil", "/lasting", "/proc/self/exe", "/proc/self/fd/3"].iter().cycle().take(24) {
            let _ = world.hull(["exec", name, "timeout", "1", program]);
            let _ = world.hull(["exec", name, program, "--version"]);
        }
        let _ = world.hull(["run", "--rm", "--pid", &format!("container:{name}"), "evil", "/evil"]);
        let output = attacker.finish().success();
        assert!(!output.stdout.contains("written"), "{output}");
        assert!(!output.stdout.contains("unsealed"), "{output}");
        let idle = ["seen 0,", "kept 0\n"].iter().any(|idle| output.stdout.contains(idle));
        assert!(!idle, "hull was never caught: {output}");
    }
    assert!(fs::read(env!("CARGO_BIN_EXE_hull")).expect("it is there") == hull, "the program has changed");
}
