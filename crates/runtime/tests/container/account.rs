//! Users and groups.

use runtime::UserSpec;

use crate::sandbox::Sandbox;

crate::tests![
    users_are_resolved_in_the_container,
    numeric_ids_are_taken_as_they_are,
    unknown_names_are_refused,
    hostile_account_files_are_refused
];

fn check(user: &str, groups: &[&str], expected: &str) {
    let mut sandbox = Sandbox::shell("echo $(id -u) $(id -g) $(id -G) $HOME");
    sandbox.user = UserSpec::Named(user.to_owned());
    sandbox.extra_groups = groups.iter().map(|group| (*group).to_owned()).collect();
    assert_eq!(sandbox.text(), expected, "{user}");
}

fn users_are_resolved_in_the_container() {
    check("", &[], "0 0 0 /root");
    check("web", &[], "33 34 34 4 /srv");
    check("web:adm", &[], "33 4 4 /srv");
    check("33", &["tty", "77"], "33 34 34 4 5 77 /srv");
    // CVE-2022-36109: a bare number has no group of the caller's.
    check("4242", &[], "4242 0 0 /");
}

fn numeric_ids_are_taken_as_they_are() {
    let mut sandbox = Sandbox::shell("echo $(id -u) $(id -g) $(id -G); umask");
    sandbox.user = UserSpec::Ids;
    let user = &mut sandbox.process().user;
    (user.uid, user.gid, user.additional_gids, user.umask) = (7, 8, vec![9], Some(0o027));
    assert_eq!(sandbox.text(), "7 8 8 9\n0027");
}

fn unknown_names_are_refused() {
    let mut sandbox = Sandbox::new(&["true"]);
    sandbox.user = UserSpec::Named("ghost".to_owned());
    assert_eq!(sandbox.error().to_string(), "unable to find user ghost: no matching entries in passwd file");
    sandbox.user = UserSpec::Named("web:ghosts".to_owned());
    assert_eq!(sandbox.error().to_string(), "unable to find group ghosts: no matching entries in group file");
}

fn hostile_account_files_are_refused() {
    // A FIFO would block for ever, a magic link would have us read one of our own descriptors.
    let sandbox = Sandbox::new(&["true"]);
    let etc = sandbox.upper().join("etc");
    std::fs::create_dir(&etc).unwrap();
    let dir = sys::fs::open_dir(etc.as_path()).unwrap();
    sys::fs::mknod_at(&dir, "passwd", sys::fs::Node::Fifo, 0o644).unwrap();
    assert_eq!(sandbox.error().to_string(), "cannot read /etc/passwd");
    std::fs::remove_file(etc.join("passwd")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/0", etc.join("passwd")).unwrap();
    assert_eq!(sandbox.error().to_string(), "cannot read /etc/passwd");
}
