//! Configurations that say what they may not: refused by the name of the field, before anything is made.

use oci::runtime::{
    Hook, Hooks, IdMapping, LinuxDevice, LinuxNamespace, Mount, NamespaceType, Process, Rlimit, Spec,
};
use runtime::{LaunchError, Stdio};

use crate::sandbox::{Sandbox, exec};

crate::tests![
    every_field_is_checked,
    a_further_process_is_checked_as_well,
    relative_destinations_are_meant_from_the_root,
    a_fifo_is_no_namespace,
];

type Change = fn(&mut Spec);

fn process(spec: &mut Spec) -> &mut Process {
    spec.process.as_mut().unwrap()
}

fn linux(spec: &mut Spec) -> &mut oci::runtime::Linux {
    spec.linux.as_mut().unwrap()
}

fn device(spec: &mut Spec) -> &mut LinuxDevice {
    let null = LinuxDevice {
        path: "/dev/mine".into(),
        r#type: "c".to_owned(),
        major: 1,
        minor: 3,
        ..LinuxDevice::default()
    };
    linux(spec).devices = vec![null];
    &mut linux(spec).devices[0]
}

fn hook(spec: &mut Spec, change: fn(&mut Hook)) {
    let mut hook = Hook { path: "/bin/true".into(), ..Hook::default() };
    change(&mut hook);
    spec.hooks = Some(Hooks {
        poststop: vec![Hook { path: "/x".into(), ..Hook::default() }, hook],
        ..Hooks::default()
    });
}

const CASES: &[(Change, &str)] = &[
    (|s| s.oci_version = "2.0.0".into(), "ociVersion: \"2.0.0\" is not supported, versions 1.x are"),
    (|s| s.oci_version.clear(), "ociVersion: \"\" is not a version (SemVer 2.0.0)"),
    (|s| s.process = None, "process: there is none to run"),
    (|s| process(s).args.clear(), "process.args: no command specified"),
    (|s| process(s).args.push("a\0b".into()), "process.args: \"a\\0b\" contains a NUL byte"),
    (|s| process(s).env = vec!["A".into()], "process.env: \"A\" has no value"),
    (|s| process(s).env = vec!["=b".into()], "process.env: \"=b\" has no name"),
    (|s| process(s).env = vec!["A=\0".into()], "process.env: \"A=\\0\" contains a NUL byte"),
    (
        |s| process(s).cwd = "a".into(),
        "process.cwd: the working directory 'a' is invalid, it needs to be an absolute path",
    ),
    (|s| process(s).cwd = "/\0".into(), "process.cwd: \"/\\0\" contains a NUL byte"),
    (|s| process(s).user.uid = u32::MAX, "process.user.uid: 4294967295 is no id"),
    (|s| process(s).user.gid = u32::MAX, "process.user.gid: 4294967295 is no id"),
    (
        |s| process(s).user.additional_gids = vec![1, u32::MAX],
        "process.user.additionalGids: 4294967295 is no id",
    ),
    (|s| process(s).user.umask = Some(0o1000), "process.user.umask: 0o1000 is more than 0o777"),
    (|s| process(s).oom_score_adj = Some(-1001), "process.oomScoreAdj: -1001 is not between -1000 and 1000"),
    (|s| process(s).terminal = true, "process.terminal: the caller connects no terminal"),
    (
        |s| process(s).rlimits = vec![Rlimit { r#type: "RLIMIT_LUCK".into(), soft: 0, hard: 0 }],
        "process.rlimits: there is none called \"RLIMIT_LUCK\"",
    ),
    (
        |s| process(s).rlimits = vec![Rlimit { r#type: "RLIMIT_CPU".into(), soft: 1, hard: 1 }; 2],
        "process.rlimits: RLIMIT_CPU is given twice",
    ),
    (
        |s| s.hostname = Some("x".repeat(65)),
        "hostname: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" has more than 64 bytes",
    ),
    (|s| s.domainname = Some("\0".into()), "domainname: \"\\0\" contains a NUL byte"),
    (|s| drop(s.annotations.insert(String::new(), "x".into())), "annotations: a key is empty"),
    (
        |s| s.mounts.push(Mount { destination: "/a\0".into(), ..Mount::default() }),
        "mounts[7].destination: \"/a\\0\" contains a NUL byte",
    ),
    (|s| s.mounts[0].options.push("\0".into()), "mounts[0].options: \"\\0\" contains a NUL byte"),
    (|s| s.mounts[1].r#type = Some("\0".into()), "mounts[1].type: \"\\0\" contains a NUL byte"),
    (|s| s.mounts[2].source = Some("\0".into()), "mounts[2].source: \"\\0\" contains a NUL byte"),
    (|s| s.mounts[3].destination = "/".into(), "mount at /: the destination must not be the root"),
    (|s| s.mounts[3].destination = "".into(), "mount at /: the destination must not be the root"),
    (|s| hook(s, |h| h.path = "sh".into()), "hooks.poststop[1].path: \"sh\" is not an absolute path"),
    (|s| hook(s, |h| h.timeout = Some(0)), "hooks.poststop[1].timeout: 0 seconds are no time"),
    (|s| hook(s, |h| h.env = vec!["X".into()]), "hooks.poststop[1].env: \"X\" has no value"),
    (|s| hook(s, |h| h.args = vec!["\0".into()]), "hooks.poststop[1].args: \"\\0\" contains a NUL byte"),
    (
        |s| linux(s).namespaces.push(LinuxNamespace::new(NamespaceType::Network)),
        "linux.namespaces: net is there twice",
    ),
    (
        |s| linux(s).namespaces.push(LinuxNamespace::at(NamespaceType::Time, "proc/1/ns/time")),
        "linux.namespaces: time: \"proc/1/ns/time\" is not an absolute path",
    ),
    (
        |s| linux(s).namespaces.push(LinuxNamespace::at(NamespaceType::Time, "/dev/null")),
        "linux.namespaces: time: /dev/null is not one",
    ),
    (|s| linux(s).masked_paths.push("x".into()), "linux.maskedPaths: \"x\" is not an absolute path"),
    (|s| linux(s).readonly_paths.push("x".into()), "linux.readonlyPaths: \"x\" is not an absolute path"),
    (|s| device(s).path = "dev/x".into(), "linux.devices[0].path: \"dev/x\" is not an absolute path"),
    (|s| device(s).r#type = "x".into(), "linux.devices[0].type: there is no kind of device called \"x\""),
    (|s| device(s).major = -1, "linux.devices[0].major: -1 is not between 0 and 4095"),
    (|s| device(s).minor = 1 << 20, "linux.devices[0].minor: 1048576 is not between 0 and 1048575"),
    (|s| device(s).file_mode = Some(0o1000), "linux.devices[0].fileMode: 0o1000 is more than 0o777"),
    (|s| device(s).uid = Some(u32::MAX), "linux.devices[0].uid: 4294967295 is no id"),
    (
        |s| linux(s).gid_mappings = vec![IdMapping { container_id: 0, host_id: 1, size: 1 }],
        "linux.gidMappings: the container has no user namespace of its own",
    ),
    (
        |s| linux(s).namespaces.push(LinuxNamespace::new(NamespaceType::User)),
        "linux.uidMappings: 0 ranges, not 1 to 340",
    ),
    (
        |s| linux(s).namespaces.retain(|n| n.r#type != NamespaceType::Uts),
        "host name: the container has no uts namespace of its own",
    ),
];

fn every_field_is_checked() {
    for (change, expected) in CASES {
        let mut sandbox = Sandbox::shell("echo ran > /ran");
        change(&mut sandbox.spec);
        let error = sandbox.error();
        assert!(matches!(error, LaunchError::Invalid { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("invalid {expected}"));
        assert_eq!(std::fs::read_dir(sandbox.upper()).unwrap().count(), 0, "{expected}");
        let launch = sandbox.launch(Stdio::Null, runtime::Lifetime::Caller);
        assert_eq!(runtime::check(launch).unwrap_err().to_string(), error.to_string());
    }
}

fn a_further_process_is_checked_as_well() {
    let container = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.process().env.push("nothing".to_owned());
    let error = exec(&container, sandbox.process(), "").unwrap_err().to_string();
    assert_eq!(error, "invalid process.env: \"nothing\" has no value");
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn relative_destinations_are_meant_from_the_root() {
    let mut sandbox = Sandbox::shell("grep -c ' /scratch/deep tmpfs' /proc/mounts");
    sandbox.process().cwd = "/srv".into();
    sandbox.spec.mounts.push(Mount {
        destination: "scratch/deep".into(),
        r#type: Some("tmpfs".to_owned()),
        ..Mount::default()
    });
    assert_eq!(sandbox.text(), "1");
}

fn a_fifo_is_no_namespace() {
    let mut sandbox = Sandbox::new(&["true"]);
    let directory = sys::fs::open_dir(sandbox.directory.as_path()).unwrap();
    sys::fs::mknod_at(&directory, "fifo", sys::fs::Node::Fifo, 0o600).unwrap();
    let path = sandbox.directory.join("fifo");
    sandbox.linux().namespaces.push(LinuxNamespace::at(NamespaceType::Time, &path));
    let error = sandbox.error().to_string();
    assert_eq!(error, format!("invalid linux.namespaces: time: {} is not one", path.display()));
}
