//! Capabilities, limits, privileges.

use runtime::UserSpec;
use runtime::seccomp::Seccomp;

use crate::sandbox::Sandbox;

crate::tests![
    capabilities_are_dockers,
    a_user_has_none,
    ambient_capabilities_reach_a_user,
    privileged_has_all,
    limits_are_set,
    privileges_can_be_frozen,
    the_filter_is_installed,
];

/// CapInh, CapPrm, CapEff, CapBnd, CapAmb.
const SETS: &str = "grep ^Cap /proc/self/status | tr -d '\\n\\t'";

fn capabilities_are_dockers() {
    let caps = "00000000a80425fb";
    assert_eq!(
        Sandbox::shell(SETS).text(),
        format!("CapInh:0000000000000000CapPrm:{caps}CapEff:{caps}CapBnd:{caps}CapAmb:0000000000000000")
    );
}

fn a_user_has_none() {
    let mut sandbox = Sandbox::shell(SETS);
    sandbox.user = UserSpec::Named("web".to_owned());
    let none = "0000000000000000";
    let expected = format!("CapInh:{none}CapPrm:{none}CapEff:{none}CapBnd:00000000a80425fbCapAmb:{none}");
    assert_eq!(sandbox.text(), expected);
    // Nor has the init process that stays hull's.
    let mut sandbox = Sandbox::shell("grep -E '^Cap(Prm|Eff|Inh)' /proc/1/status | tr -d '\\n\\t'");
    sandbox.user = UserSpec::Named("web".to_owned());
    sandbox.init = true;
    assert_eq!(sandbox.text(), format!("CapInh:{none}CapPrm:{none}CapEff:{none}"));
}

fn ambient_capabilities_reach_a_user() {
    let mut sandbox = Sandbox::shell(SETS);
    sandbox.user = UserSpec::Named("web".to_owned());
    let caps = sandbox.process().capabilities.as_mut().unwrap();
    let one = vec!["CAP_NET_BIND_SERVICE".to_owned()];
    (caps.inheritable, caps.ambient) = (one.clone(), one);
    let one = "0000000000000400";
    let expected = format!("CapInh:{one}CapPrm:{one}CapEff:{one}CapBnd:00000000a80425fbCapAmb:{one}");
    assert_eq!(sandbox.text(), expected);
}

fn privileged_has_all() {
    let mut sandbox = Sandbox::shell(
        "grep ^CapEff /proc/self/status | cut -f2; ls /dev/kmsg >/dev/null; \
         mount -t tmpfs x /srv && echo mounted",
    );
    runtime::make_privileged(&mut sandbox.spec);
    sandbox.seccomp = Seccomp::Unconfined;
    let own = sys::capability::get().unwrap().permitted.bits();
    assert_eq!(sandbox.text(), format!("{own:016x}\nmounted"));
}

fn limits_are_set() {
    let mut sandbox = Sandbox::shell("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj");
    let hard = sys::process::limit(sys::process::LIMIT_DESCRIPTORS).unwrap().1.min(524_288);
    assert_eq!(sandbox.text(), format!("1024\n{hard}\n0"));
    let limit = &mut sandbox.process().rlimits[0];
    (limit.soft, limit.hard) = (64, 65);
    sandbox.process().oom_score_adj = Some(100);
    assert_eq!(sandbox.text(), "64\n65\n100");
    sandbox.process().rlimits[0].soft = 66;
    assert_eq!(
        sandbox.error().to_string(),
        "invalid process.rlimits: soft 66 is above hard 65 of RLIMIT_NOFILE"
    );
}

fn the_filter_is_installed() {
    let command =
        "grep Seccomp: /proc/self/status | cut -f2; chroot / true && echo chroot; mount -t tmpfs x /srv 2>&1";
    for (user, frozen) in [("", false), ("", true), ("web", false), ("web", true)] {
        for init in [false, true] {
            let mut sandbox =
                Sandbox::shell(&command.replace("chroot /", if user.is_empty() { "chroot /" } else { "" }));
            sandbox.user = UserSpec::Named(user.to_owned());
            sandbox.process().no_new_privileges = frozen;
            sandbox.init = init;
            assert_eq!(
                sandbox.output().unwrap().out,
                "2\nchroot\nmount: permission denied (are you root?)\n",
                "{user} {frozen}"
            );
        }
    }
    let mut sandbox = Sandbox::shell("grep Seccomp: /proc/1/status | cut -f2");
    sandbox.init = true;
    assert_eq!(sandbox.text(), "2");
    sandbox.seccomp = Seccomp::Unconfined;
    assert_eq!(sandbox.text(), "0");
}

fn privileges_can_be_frozen() {
    let mut sandbox = Sandbox::shell("grep NoNewPrivs /proc/self/status | cut -f2");
    assert_eq!(sandbox.text(), "0");
    sandbox.process().no_new_privileges = true;
    assert_eq!(sandbox.text(), "1");
}
