//! The specification a container starts from: Docker's defaults.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oci::runtime::{
    Linux, LinuxCapabilities, LinuxDevice, LinuxDeviceCgroup, LinuxNamespace, LinuxResources, Mount,
    NamespaceType, Process, Rlimit, Root, Spec, VERSION,
};
use sys::capability::Capability;

/// The capabilities Docker leaves a container.
pub const DEFAULT_CAPABILITIES: [Capability; 14] = [
    Capability::CHOWN,
    Capability::DAC_OVERRIDE,
    Capability::FSETID,
    Capability::FOWNER,
    Capability::MKNOD,
    Capability::NET_RAW,
    Capability::SETGID,
    Capability::SETUID,
    Capability::SETFCAP,
    Capability::SETPCAP,
    Capability::NET_BIND_SERVICE,
    Capability::SYS_CHROOT,
    Capability::KILL,
    Capability::AUDIT_WRITE,
];

/// A confined container: all namespaces of its own but the user namespace, 14 capabilities, masked and read-only paths.
///
/// The caller adds the command, the environment, its mounts and limits; seccomp is not part of it, see
/// [`Launch`](crate::Launch).
pub fn default_spec() -> Spec {
    use NamespaceType::*;
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut masked_paths = paths(&[
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]);
    masked_paths.extend(thermal_throttles());
    let linux = Linux {
        namespaces: [Mount, Pid, Network, Ipc, Uts, Cgroup].map(LinuxNamespace::new).to_vec(),
        masked_paths,
        readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        resources: Some(LinuxResources { devices: device_rules(), ..LinuxResources::default() }),
        ..Linux::default()
    };
    Spec {
        oci_version: VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root { path: "rootfs".into(), readonly: false }),
        mounts: mounts(),
        linux: Some(linux),
        ..Spec::default()
    }
}

/// Turns a confined container into one that may do what its caller may (`--privileged`): every capability and device, no
/// path masked or read-only. The caller also leaves seccomp unconfined.
pub fn make_privileged(spec: &mut Spec) {
    if let Some(process) = &mut spec.process {
        let own = sys::capability::get().map(|sets| sets.permitted).unwrap_or_default();
        process.capabilities = Some(capabilities(own.iter()));
        process.no_new_privileges = false;
    }
    for mount in &mut spec.mounts {
        if matches!(mount.r#type.as_deref(), Some("sysfs" | "cgroup" | "cgroup2")) {
            mount.options.retain(|option| option != "ro");
        }
    }
    let linux = spec.linux.get_or_insert_default();
    linux.masked_paths.clear();
    linux.readonly_paths.clear();
    linux.devices = host_devices();
    linux.resources.get_or_insert_default().devices = vec![LinuxDeviceCgroup {
        allow: true,
        access: Some("rwm".to_owned()),
        ..LinuxDeviceCgroup::default()
    }];
}

/// The sets of a process with these capabilities: inheritable and ambient stay empty (CVE-2022-24769).
pub fn capabilities(members: impl IntoIterator<Item = Capability>) -> LinuxCapabilities {
    let names: Vec<String> = members.into_iter().map(|capability| capability.to_string()).collect();
    LinuxCapabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..LinuxCapabilities::default()
    }
}

fn process() -> Process {
    // Not those of the shell that happened to start it; but only CAP_SYS_RESOURCE could exceed the caller's hard limit.
    let own = sys::process::limit(sys::process::LIMIT_DESCRIPTORS).map_or(u64::MAX, |(_, hard)| hard);
    let hard = own.min(524_288);
    Process {
        cwd: "/".into(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        capabilities: Some(capabilities(DEFAULT_CAPABILITIES)),
        rlimits: vec![Rlimit { r#type: "RLIMIT_NOFILE".to_owned(), soft: hard.min(1024), hard }],
        ..Process::default()
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| Mount {
        destination: destination.into(),
        r#type: Some(kind.to_owned()),
        source: Some(source.into()),
        options: options.split(',').map(str::to_owned).collect(),
        ..Mount::default()
    };
    vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
}

/// Everything may be made, nothing but these may be used.
fn device_rules() -> Vec<LinuxDeviceCgroup> {
    let rule = |allow, kind: &str, major, minor, access: &str| LinuxDeviceCgroup {
        allow,
        r#type: Some(kind.to_owned()),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    let mut rules = vec![
        rule(false, "a", None, None, "rwm"),
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
        rule(true, "c", Some(136), None, "rwm"),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(rule(true, "c", Some(major), Some(minor), "rwm"));
    }
    rules
}

/// Power side channels, one directory per CPU where the hardware has them.
fn thermal_throttles() -> impl Iterator<Item = PathBuf> {
    let path = |n: usize| PathBuf::from(format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle"));
    (0..).map(path).take_while(|path| path.exists())
}

/// Every device node of the host's `/dev`, for privileged containers.
fn host_devices() -> Vec<LinuxDevice> {
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), &mut devices);
    devices
}

fn collect_devices(directory: &Path, devices: &mut Vec<LinuxDevice>) {
    // What cannot be read is not there for the container either, as in Docker.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let kind = metadata.file_type();
        let own_of_the_container = ["pts", "shm", "mqueue", "fd", ".lxc", ".udev", ".lxd-mounts"];
        if kind.is_dir() {
            if !own_of_the_container.iter().any(|name| entry.file_name() == *name) {
                collect_devices(&path, devices);
            }
        } else if (kind.is_char_device() || kind.is_block_device())
            && !["console", "ptmx"].iter().any(|name| entry.file_name() == *name)
        {
            let (major, minor) = sys::fs::device_numbers(metadata.rdev());
            devices.push(LinuxDevice {
                path,
                r#type: if kind.is_block_device() { "b" } else { "c" }.to_owned(),
                major: major.into(),
                minor: minor.into(),
                file_mode: Some(metadata.permissions().mode() & 0o777),
                uid: Some(metadata.uid()),
                gid: Some(metadata.gid()),
            });
        }
    }
}
