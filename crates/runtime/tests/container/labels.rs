//! What takes a security module or hardware that a host may lack: refused by name there.

use std::fs;

use oci::runtime::LinuxIntelRdt;

use crate::sandbox::Sandbox;

crate::tests![
    labels_need_their_module,
    a_process_is_confined_by_a_profile_that_is_loaded,
    empty_labels_are_none,
    intel_rdt_needs_its_file_system,
];

fn has_apparmor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

/// Only one profile is always there; no other one is brought to the host.
fn a_process_is_confined_by_a_profile_that_is_loaded() {
    if !has_apparmor() {
        return;
    }
    let mut sandbox = Sandbox::new(&["cat", "/proc/self/attr/current"]);
    sandbox.process().apparmor_profile = Some("unconfined".to_owned());
    assert_eq!(sandbox.text(), "unconfined");
    sandbox.process().apparmor_profile = Some("hull-of-nobody".to_owned());
    let error = crate::sandbox::chain(&sandbox.error());
    assert!(error.contains("process.apparmorProfile hull-of-nobody"), "{error}");
}

fn labels_need_their_module() {
    if !has_apparmor() {
        let mut sandbox = Sandbox::new(&["true"]);
        sandbox.process().apparmor_profile = Some("docker-default".to_owned());
        let error = sandbox.error().to_string();
        assert_eq!(error, "invalid process.apparmorProfile: AppArmor is not enabled on this host");
    }
    if !fs::exists("/sys/fs/selinux/enforce").unwrap() {
        let label = || Some("system_u:system_r:container_t:s0".to_owned());
        let mut sandbox = Sandbox::new(&["true"]);
        sandbox.process().selinux_label = label();
        let error = sandbox.error().to_string();
        assert_eq!(error, "invalid process.selinuxLabel: SELinux is not enabled on this host");
        let mut sandbox = Sandbox::new(&["true"]);
        sandbox.linux().mount_label = label();
        let error = sandbox.error().to_string();
        assert_eq!(error, "invalid linux.mountLabel: SELinux is not enabled on this host");
    }
}

fn empty_labels_are_none() {
    let mut sandbox = Sandbox::new(&["true"]);
    let process = sandbox.process();
    (process.apparmor_profile, process.selinux_label) = (Some(String::new()), Some(String::new()));
    sandbox.linux().mount_label = Some(String::new());
    assert_eq!(sandbox.text(), "");
}

fn intel_rdt_needs_its_file_system() {
    let with = |group: &str| {
        let mut sandbox = Sandbox::new(&["true"]);
        sandbox.linux().intel_rdt =
            Some(LinuxIntelRdt { clos_id: Some(group.to_owned()), ..LinuxIntelRdt::default() });
        sandbox.error().to_string()
    };
    for group in ["", "..", "a/b"] {
        let expected = format!("invalid linux.intelRdt.closID: {group:?} is not the name of a group");
        assert_eq!(with(group), expected);
    }
    if !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        let expected = "invalid linux.intelRdt: there is no resctrl file system on this host";
        assert_eq!(with("group"), expected);
    }
}
