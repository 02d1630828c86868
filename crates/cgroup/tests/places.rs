//! Groups where `linux.cgroupsPath` puts them, in the file systems. Scopes have a program of their own, `systemd`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cgroup::{Cgroup, CgroupError, Hierarchy, Manager, Place};
use oci::runtime::{LinuxCpu, LinuxPids, LinuxResources};

fn hierarchies() -> Vec<Hierarchy> {
    let found = Hierarchy::detect().expect("control groups are mounted");
    let beside = match &found {
        Hierarchy::V1 { unified: Some(point), .. } => Some(Hierarchy::V2 { point: point.clone() }),
        _ => None,
    };
    std::iter::once(found).chain(beside).collect()
}

/// Every directory that `path` is in some hierarchy.
fn directories(hierarchy: &Hierarchy, path: &str) -> Vec<PathBuf> {
    let points: Vec<&Path> = match hierarchy {
        Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
        Hierarchy::V1 { mounts, .. } => mounts.iter().map(|mount| mount.point.as_path()).collect(),
        Hierarchy::V2 { point } => vec![point],
    };
    let path = path.trim_start_matches('/');
    points.iter().map(|point| point.join(path)).filter(|directory| directory.exists()).collect()
}

fn place(path: &str) -> Place {
    Place::parse(Manager::Cgroupfs, Some(Path::new(path)), "id").expect("any path will do")
}

fn remove(hierarchy: &Hierarchy, path: &str) {
    directories(hierarchy, path).iter().for_each(|directory| fs::remove_dir(directory).expect("it is empty"));
}

#[test]
fn an_absolute_path_is_below_the_root_of_every_hierarchy() {
    for (number, hierarchy) in hierarchies().iter().enumerate() {
        let parent = format!("/hull-place{}a{number}", std::process::id());
        let path = format!("{parent}/b/c");
        let place = place(&path);
        let resources = LinuxResources {
            pids: hierarchy.controllers().contains(&"pids".into()).then_some(LinuxPids { limit: 9 }),
            ..Default::default()
        };
        let made = place.create(hierarchy, &resources, &BTreeMap::new()).expect("it can be made");
        assert_eq!(made.path, Path::new(&path));
        assert!(made.until_joined.is_none());
        let wanted = match hierarchy {
            Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
            Hierarchy::V1 { mounts, .. } => {
                mounts.iter().filter(|mount| !mount.controllers[0].starts_with("name=")).count()
            }
            Hierarchy::V2 { .. } => 1,
        };
        assert_eq!(directories(hierarchy, &path).len(), wanted);
        let mut child = Command::new("sleep").arg("100").spawn().expect("sleep");
        made.group.add(child.id() as i32).expect("it can be moved");
        let memberships = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("it lives");
        assert!(memberships.contains(&format!(":{path}\n")), "{memberships}");
        // What somebody else lives in is not taken over, nor disturbed.
        let error = place.create(hierarchy, &resources, &BTreeMap::new()).expect_err("there is one");
        assert!(matches!(error, CgroupError::Create { .. }), "{error}");
        assert_eq!(made.group.pids().expect("they are listed"), [child.id() as i32]);
        place.update(hierarchy, &made.group, &resources).expect("it can be updated");
        let group = Cgroup::at(hierarchy, &made.path).expect("it is plain");
        group.kill_all().expect("it can be killed");
        child.wait().expect("it is dead");
        place.remove(&group).expect("it can be removed");
        assert_eq!(directories(hierarchy, &path), Vec::<PathBuf>::new());
        assert!(!directories(hierarchy, &parent).is_empty(), "the parents are somebody else's");
        remove(hierarchy, &format!("{parent}/b"));
        remove(hierarchy, &parent);
    }
}

#[test]
fn a_failed_creation_takes_back_the_parents_it_made() {
    let resources = LinuxResources {
        cpu: Some(LinuxCpu { cpus: Some("4000".into()), ..Default::default() }),
        ..Default::default()
    };
    for (number, hierarchy) in hierarchies().iter().enumerate() {
        let parent = format!("/hull-place{}f{number}", std::process::id());
        let place = place(&format!("{parent}/b/c"));
        place.create(hierarchy, &resources, &BTreeMap::new()).expect_err("there is no such CPU");
        assert_eq!(directories(hierarchy, &parent), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_set_of_cpus_reaches_down_to_a_nested_group() {
    let hierarchy = &hierarchies()[0];
    let parent = format!("/hull-place{}s", std::process::id());
    let place = place(&format!("{parent}/c"));
    let resources = LinuxResources {
        cpu: Some(LinuxCpu { cpus: Some("0".into()), ..Default::default() }),
        ..Default::default()
    };
    let made = place.create(hierarchy, &resources, &BTreeMap::new()).expect("it can be made");
    let mut child = Command::new("sleep").arg("100").spawn().expect("sleep");
    made.group.add(child.id() as i32).expect("it can be moved");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
    made.group.kill_all().expect("it can be killed");
    child.wait().expect("it is dead");
    place.remove(&made.group).expect("it can be removed");
    remove(hierarchy, &parent);
}

#[test]
fn a_relative_path_is_near_the_caller_s_group() {
    let hierarchy = &hierarchies()[0];
    let id = format!("hull-place{}r", std::process::id());
    let place = Place::parse(Manager::Cgroupfs, None, &id).expect("an id is plain");
    let made = place.create(hierarchy, &LinuxResources::default(), &BTreeMap::new()).expect("it can be made");
    let own = fs::read_to_string("/proc/self/cgroup").expect("it can be read");
    let own = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match hierarchy {
            Hierarchy::Delegated(_) | Hierarchy::Withheld => unreachable!("tests run as root"),
            Hierarchy::V1 { .. } => (controllers == "pids").then(|| PathBuf::from(path)),
            Hierarchy::V2 { .. } => {
                controllers.is_empty().then(|| Path::new(path).parent().unwrap_or(Path::new("/")).to_owned())
            }
        }
    });
    assert_eq!(made.path, own.expect("there is one").join(&id));
    assert!(made.group.exists());
    place.remove(&made.group).expect("it can be removed");
    assert!(!made.group.exists());
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in ["/", ".", "..", "/a/../b", "../a", "/a/.."] {
        let error = place(path).create(&hierarchies()[0], &LinuxResources::default(), &BTreeMap::new());
        assert_eq!(error.expect_err(path).to_string(), format!("invalid linux.cgroupsPath: `{path}`"),);
    }
    for path in ["/a/b", "a.slice:b", "a:b:c"] {
        let error = Place::parse(Manager::Systemd, Some(Path::new(path)), "id").expect_err(path);
        assert_eq!(error.to_string(), format!("invalid linux.cgroupsPath: `{path}`"));
    }
}

#[test]
fn a_scope_needs_systemd() {
    if Path::new("/run/systemd/private").exists() {
        return;
    }
    let place = Place::parse(Manager::Systemd, None, "id").expect("an id is plain");
    let group = Cgroup::at(&hierarchies()[0], Path::new("/hull-none")).expect("it is plain");
    assert_eq!(
        place.remove(&group).expect_err("there is nobody to ask").to_string(),
        "cannot have a scope hull-id.scope: systemd does not answer at `/run/systemd/private`"
    );
}
