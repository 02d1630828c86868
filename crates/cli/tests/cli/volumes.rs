//! Volumes, binds and tmpfs.

use crate::world;

#[test]
fn volumes_outlive_containers() {
    let world = world();
    assert_eq!(world.hull(["volume", "create", "data", "--label", "a=b"]).success().text(), "data");
    world.hull(["run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/f"]).success();
    let read = world.hull(["run", "--rm", "-v", "data:/d:ro", "busybox", "sh", "-c", "cat /d/f; touch /d/g"]);
    assert_eq!(read.status(1).says("Read-only file system").stdout, "kept\n");
    assert_eq!(world.hull(["volume", "ls", "-q"]).success().text(), "data");
    assert_eq!(world.hull(["volume", "inspect", "-f", "{{.Labels.a}}", "data"]).success().text(), "b");
    world.hull(["create", "--name", "user", "-v", "data:/d", "busybox", "true"]).success();
    world.hull(["volume", "rm", "data"]).status(1).says("volume is in use");
    world.hull(["rm", "user"]).success();
    assert_eq!(world.hull(["volume", "rm", "data"]).success().text(), "data");
    world.hull(["volume", "rm", "data"]).status(1).says("no such volume");
    world.hull(["volume", "rm", "-f", "data"]).success();
}

#[test]
fn a_new_volume_is_filled_from_the_image() {
    let world = world();
    let listed = world.hull(["run", "--rm", "-v", "conf:/etc", "busybox", "ls", "/etc/passwd"]).success();
    assert_eq!(listed.text(), "/etc/passwd");
    let kept = world.hull(["run", "--rm", "-v", "conf:/other", "busybox", "ls", "/other"]).success();
    assert!(kept.stdout.contains("passwd"), "{kept}");
}

#[test]
fn binds_and_tmpfs() {
    let world = world();
    let file = world.file("host/f", "from the host\n");
    let directory = file.parent().expect("it has one").display().to_string();
    let bind = format!("{directory}:/h");
    let ran = world
        .hull(["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "cat /h/f; echo new > /h/g"])
        .success();
    assert_eq!(ran.stdout, "from the host\n");
    assert_eq!(std::fs::read_to_string(format!("{directory}/g")).expect("it was written"), "new\n");
    let mount = format!("type=bind,src={directory},dst=/h,readonly");
    world.hull(["run", "--rm", "--mount", &mount, "busybox", "touch", "/h/x"]).status(1).says("Read-only");
    let tmpfs = ["run", "--rm", "--tmpfs", "/t:size=1m", "busybox", "sh", "-c", "mount | grep -c ' /t '"];
    assert_eq!(world.hull(tmpfs).success().text(), "1");
    let missing = format!("type=bind,src={directory}/none,dst=/h");
    world
        .hull(["run", "--rm", "--mount", &missing, "busybox", "true"])
        .status(125)
        .says("bind source path does not exist");
}

#[test]
fn anonymous_volumes_go_with_rm() {
    let world = world();
    world.hull(["run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"]).success();
    assert_eq!(world.hull(["volume", "ls", "-q"]).text(), "");
    world.hull(["run", "--name", "one", "-v", "/data", "busybox", "true"]).success();
    assert_eq!(world.hull(["volume", "ls", "-q"]).text().len(), 64);
    world.hull(["rm", "one"]).success();
    let pruned = world.hull(["volume", "prune", "-f"]).success();
    assert!(pruned.stdout.starts_with("Deleted Volumes:\n"), "{pruned}");
    assert_eq!(world.hull(["volume", "ls", "-q"]).text(), "");
}
