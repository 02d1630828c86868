//! A `config.json` from anywhere: read, checked, planned. Nothing may panic or hang, and nothing is made.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci::runtime::Spec;
use runtime::seccomp::Seccomp;
use runtime::{Launch, Lifetime, Rootfs, Stdio, UserSpec};

fuzz_target!(|json: &[u8]| {
    let Ok(mut spec) = oci::runtime::from_json::<Spec>(json) else { return };
    if let Some(process) = &mut spec.process {
        // No terminal is connected here, which would end every one that asks for it.
        process.terminal = false;
    }
    let _ = runtime::warnings(&spec.process.clone().unwrap_or_default(), spec.linux.as_ref());
    let _ = runtime::check(Launch {
        id: "fuzz",
        spec: &spec,
        rootfs: &Rootfs::Directory("/none".into()),
        user: &UserSpec::Ids,
        extra_groups: &[],
        cgroup: None,
        seccomp: &Seccomp::of(&spec),
        stdio: Stdio::Null,
        join: &[],
        init: false,
        bundle: Path::new("/none"),
        lifetime: Lifetime::Caller,
        preserve_fds: 0,
        no_pivot: false,
    });
});
