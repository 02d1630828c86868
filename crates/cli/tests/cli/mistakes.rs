//! Bad input: one clear error each, and nothing left behind.

use crate::world;

#[test]
fn bad_flags_name_flag_and_value() {
    let world = world();
    let refused = [
        (["-p", "99999:80"], "99999"),
        (["-p", "abc"], "abc"),
        (["-m", "4x"], "4x"),
        (["--cpus", "many"], "many"),
        (["--restart", "sometimes"], "sometimes"),
        (["--ip", "1.2.3"], "1.2.3"),
        (["-v", "relative/../x:rel"], "rel"),
        (["--mount", "type=frob,dst=/x"], "frob"),
        (["--cap-add", "FLY"], "FLY"),
        (["--ulimit", "frob=1"], "frob"),
        (["--device", "/dev/none-such"], "/dev/none-such"),
        (["--health-interval", "soon"], "soon"),
        (["--security-opt", "frob=1"], "frob"),
        (["--env-file", "/none/such"], "/none/such"),
        (["--name", "bad name"], "bad name"),
        (["--stop-signal", "SIGFROB"], "SIGFROB"),
        (["--userns", "remap"], "--userns"),
        (["--link", ":b"], "bad format for links"),
        (["--link", "a:b"], "links are supported only for containers in user defined networks"),
        (["--runtime", "runsc"], "--runtime"),
        (["--log-driver", "syslog"], "syslog"),
        (["--platform", "plan9/mips"], "plan9/mips"),
        (["-u", "nobody-here"], "nobody-here"),
        (["-w", "relative"], "relative"),
        (["--network", "container:none"], "none"),
    ];
    for ([flag, value], named) in refused {
        let ran = world.hull(["run", "--rm", flag, value, "busybox", "true"]);
        assert!(matches!(ran.status, Some(125 | 126)), "{flag} {value} was accepted\n{ran}");
        assert!(ran.stderr.contains(named), "{flag} {value}: not named\n{ran}");
    }
    assert_eq!(world.hull(["ps", "-aq"]).text(), "");
    assert_eq!(world.hull(["volume", "ls", "-q"]).text(), "");
}
