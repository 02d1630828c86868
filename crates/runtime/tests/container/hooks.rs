//! Hooks, each at its point and in its place.

use std::fs;

use oci::runtime::{Hook, Hooks};

use crate::sandbox::Sandbox;

crate::tests![hooks_run_in_order_and_place, a_failing_hook_leaves_nothing];

/// Writes its name, whether it is in the container's pid and mount namespaces, and the status it is told.
fn note(sandbox: &Sandbox, name: &str) -> Hook {
    let log = sandbox.directory.join("log");
    let script = format!(
        "s=$(cat); s=${{s#*status\\\":\\\"}}; m=host; test -e /only-inside && m=inside; \
         p=$(readlink /proc/self/ns/pid); test \"$p\" = \"{}\" && p=host || p=own; echo {name} $m $p ${{s%%\\\"*}} >> {}",
        fs::read_link("/proc/self/ns/pid").unwrap().display(),
        log.display()
    );
    Hook {
        path: "/bin/sh".into(),
        args: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        ..Hook::default()
    }
}

fn hooks_run_in_order_and_place() {
    let mut sandbox = Sandbox::shell("cat /log; echo program");
    // The hook of the last point runs inside: what it writes goes to the container's root.
    let mut inside = note(&sandbox, "startContainer");
    inside.path = "/bin/sh".into();
    inside.args[2] = inside.args[2].replace(&sandbox.directory.join("log").display().to_string(), "/log");
    fs::write(sandbox.upper().join("only-inside"), "").unwrap();
    sandbox.spec.hooks = Some(Hooks {
        prestart: vec![note(&sandbox, "prestart")],
        create_runtime: vec![note(&sandbox, "createRuntime")],
        create_container: vec![note(&sandbox, "createContainer")],
        start_container: vec![inside],
        ..Hooks::default()
    });
    assert_eq!(sandbox.text(), "startContainer inside own created\nprogram");
    let log = fs::read_to_string(sandbox.directory.join("log")).unwrap();
    assert_eq!(
        log,
        "prestart host host creating\ncreateRuntime host host creating\ncreateContainer host own creating\n"
    );
}

fn a_failing_hook_leaves_nothing() {
    let fail = Hook {
        path: "/bin/sh".into(),
        args: ["sh", "-c", "echo sorry >&2; exit 7"].map(str::to_owned).to_vec(),
        ..Hook::default()
    };
    type List = fn(&mut Hooks) -> &mut Vec<Hook>;
    let points: [(&str, List); 4] = [
        ("prestart", |hooks| &mut hooks.prestart),
        ("createRuntime", |hooks| &mut hooks.create_runtime),
        ("createContainer", |hooks| &mut hooks.create_container),
        ("startContainer", |hooks| &mut hooks.start_container),
    ];
    for (name, list) in points {
        let mut sandbox = Sandbox::shell("echo ran > /ran");
        list(sandbox.spec.hooks.get_or_insert_default()).push(fail.clone());
        let error = sandbox.error().to_string();
        assert_eq!(error, format!("{name} hook /bin/sh failed: exit status 7: sorry"));
        assert!(!sandbox.upper().join("ran").exists());
    }
}
