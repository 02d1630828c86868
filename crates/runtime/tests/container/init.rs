//! hull as PID 1.

use std::fs;

use runtime::{Exit, Stdio};

use crate::sandbox::{Sandbox, until};

crate::tests![
    exit_codes_pass_through,
    orphans_are_reaped,
    signals_are_forwarded,
    hull_is_out_of_reach,
    a_sealed_program_is_executed_as_it_is
];

fn with_init(command: &str) -> Sandbox {
    let mut sandbox = Sandbox::shell(command);
    sandbox.init = true;
    sandbox
}

fn exit_codes_pass_through() {
    assert_eq!(with_init("exit 9").output().unwrap().exit, Exit::Code(9));
    assert_eq!(with_init("kill -TERM $$").output().unwrap().exit, Exit::Code(143));
    assert_eq!(with_init("test $$ -ne 1").output().unwrap().exit, Exit::Code(0));
    let mut sandbox = with_init("");
    sandbox.process().args = vec!["/etc/garbage".to_owned()];
    assert_eq!(sandbox.error().to_string(), "exec /etc/garbage: exec format error");
}

fn orphans_are_reaped() {
    let process = with_init("for i in $(seq 20); do (sleep 0.01 &); done; touch /srv/done; sleep 100");
    let started = process.start(Stdio::Null).unwrap();
    until("the orphans", || process.upper().join("srv/done").exists());
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", started.pid());
        match fs::read_to_string(path) {
            Ok(text) => text.split_whitespace().count(),
            // Without CONFIG_PROC_CHILDREN: count by parent.
            Err(_) => children_by_parent(started.pid()),
        }
    };
    until("PID 1 to have one child", || children() == 1);
    started.kill(9).unwrap();
    started.wait().unwrap();
}

fn children_by_parent(pid: i32) -> usize {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    });
    stats.filter(|parent| *parent == pid).count()
}

fn signals_are_forwarded() {
    let sandbox = with_init("trap 'exit 5' TERM; touch /srv/ready; while true; do sleep 0.01; done");
    let process = sandbox.start(Stdio::Null).unwrap();
    until("the trap", || sandbox.upper().join("srv/ready").exists());
    process.kill(15).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Code(5));
}

fn hull_is_out_of_reach() {
    // CVE-2019-5736: neither through PID 1, which is hull, nor by executing it as oneself.
    let text = with_init("cat /proc/1/exe 2>&1 >/dev/null; readlink /proc/1/fd/1; cat /proc/1/comm").text();
    assert_eq!(text, "cat: can't open '/proc/1/exe': Permission denied\nhull-init");
    let sandbox = Sandbox::new(&["/srv/me"]);
    fs::create_dir_all(sandbox.upper().join("srv")).unwrap();
    fs::write(sandbox.upper().join("srv/me"), "#!/proc/self/exe --no-such-test\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(sandbox.upper().join("srv/me"), fs::Permissions::from_mode(0o755)).unwrap();
    // It may run hull's program, but the file is on a read-only mount for it.
    let process = sandbox.start(Stdio::Null).unwrap();
    let exe = format!("/proc/{}/exe", process.pid());
    if let Ok(file) = sys::fs::open(exe.as_str(), sys::fs::OFlags::PATH, 0) {
        assert!(sys::mount::is_read_only(file).unwrap());
    }
    let _ = process.kill(9);
    process.wait().unwrap();
}

fn a_sealed_program_is_executed_as_it_is() {
    use std::os::fd::AsFd;
    let program = runtime::seal::program().unwrap();
    let path = sys::fs::fd_path(&program);
    let null = sys::fs::open("/dev/null", sys::fs::OFlags::RDWR, 0).unwrap();
    let request = sys::spawn::Spawn {
        program: path.as_ref(),
        args: &["again".as_ref(), "no-test-is-called-so".as_ref()],
        fds: &[(null.as_fd(), 1), (null.as_fd(), 2)],
        new_session: false,
    };
    let pid = sys::spawn::spawn(&request).unwrap();
    let pidfd = sys::process::open(pid).unwrap();
    assert_eq!(sys::process::wait(pidfd.as_fd()).unwrap(), sys::process::Ended::Exited(0));
}
