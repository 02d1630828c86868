//! Volumes and binds.

use crate::world::{World, isolated, sleeper};
use diag::{Class, Diagnose};
use engine::model::{Filters, Mount, RemoveOptions, VolumeSpec};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub const TESTS: &[(&str, fn())] = &[
    ("a_new_volume_is_filled_from_the_image", a_new_volume_is_filled_from_the_image),
    ("volumes_in_use_stay", volumes_in_use_stay),
    ("anonymous_volumes_go_with_their_container", anonymous_volumes_go_with_their_container),
    ("binds", binds),
    ("driver_options", driver_options),
    ("volumes_from_another_container", volumes_from_another_container),
];

fn volume(text: &str) -> Mount {
    engine::parse::volume(text, Path::new("/")).unwrap()
}

fn a_new_volume_is_filled_from_the_image() {
    let world = World::new();
    // Nothing is at /data in the image, so nothing is copied; `home` has an owner of its own there.
    assert_eq!(world.sh("ls /data | wc -l", |s| s.mounts.push(volume("empty:/data"))).trim(), "0");
    let image = world.sh("stat -c '%u:%g %a' /tmp", |_| {});
    let copied = world.sh("stat -c '%u:%g %a' /tmp", |s| s.mounts.push(volume("sticky:/tmp")));
    assert_eq!(copied, image);
    let skipped = world.sh("ls /etc | grep -c passwd || true", |s| s.mounts.push(volume("bare:/etc:nocopy")));
    assert_eq!(skipped.trim(), "0");
}

fn volumes_in_use_stay() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("holder".into());
    spec.mounts.push(volume("kept:/etc"));
    let created = world.engine.run_detached(spec).unwrap();
    let info = world.engine.volume_inspect("kept").unwrap();
    assert_eq!(info.used_by, std::slice::from_ref(&created.id));
    // Filled from the image's /etc, with its owner and mode.
    let passwd = info.mountpoint.join("passwd");
    assert!(passwd.exists() && info.mountpoint.metadata().unwrap().uid() == 0);
    std::fs::write(info.mountpoint.join("mark"), "mine").unwrap();
    std::fs::remove_file(&passwd).unwrap();
    let seen = world.sh("cat /etc/mark; test -e /etc/passwd || echo not again", |s| {
        s.mounts.push(volume("kept:/etc:ro"))
    });
    assert_eq!(seen, "minenot again\n");
    let error = world.engine.volume_remove("kept", false).unwrap_err();
    assert_eq!(error.to_string(), format!("remove kept: volume is in use - [{}]", created.id));
    world.engine.remove("holder", &RemoveOptions { force: true, volumes: true }).unwrap();
    assert_eq!(world.engine.volumes(&Filters::default()).unwrap().len(), 1);
    world.engine.volume_remove("kept", false).unwrap();
    assert_eq!(
        world.engine.volume_remove("kept", false).unwrap_err().to_string(),
        "get kept: no such volume"
    );
    assert!(!world.roots.data.join("volumes/kept").exists());
}

fn anonymous_volumes_go_with_their_container() {
    let world = World::new();
    let mut spec = isolated(&["true"]);
    spec.name = Some("anon".into());
    spec.mounts.push(volume("/srv"));
    world.run(spec);
    let volumes = world.engine.volumes(&Filters::default()).unwrap();
    assert!(volumes.len() == 1 && volumes[0].anonymous);
    world.engine.remove("anon", &RemoveOptions::default()).unwrap();
    assert_eq!(world.engine.volumes(&Filters::default()).unwrap().len(), 1);
    let pruned = world.engine.volume_prune(&Filters::default(), false).unwrap();
    assert_eq!(pruned.volumes.len(), 1);
    world.sh("touch /srv/x", |s| s.mounts.push(volume("/srv")));
    assert!(world.engine.volumes(&Filters::default()).unwrap().is_empty());
}

fn binds() {
    let world = World::new();
    let source = world.path("made");
    let text = format!("{}:/mnt", source.display());
    assert_eq!(world.sh("echo hi > /mnt/file && cat /mnt/file", |s| s.mounts.push(volume(&text))), "hi\n");
    assert_eq!(std::fs::read_to_string(source.join("file")).unwrap(), "hi\n");
    let refused = world.sh("touch /mnt/x 2>/dev/null || echo refused", |s| {
        s.mounts.push(volume(&format!("{text}:ro")));
    });
    assert_eq!(refused, "refused\n");
    let mut spec = isolated(&["true"]);
    let missing = world.path("missing");
    let mount = format!("type=bind,source={},target=/mnt", missing.display());
    spec.mounts.push(engine::parse::mount(&mount, Path::new("/")).unwrap());
    let error = world.engine.create(spec).unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert!(error.to_string().contains("bind source path does not exist"), "{error}");
    assert!(!missing.exists());
}

fn driver_options() {
    let world = World::new();
    let device = world.path("chosen/by/user");
    let options = [("type", "none"), ("o", "bind"), ("device", device.to_str().unwrap())];
    let spec = VolumeSpec {
        name: Some("mine".into()),
        driver_opts: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Default::default()
    };
    world.engine.volume_create(spec.clone()).unwrap();
    world.engine.volume_create(spec).unwrap();
    world.sh("echo data > /v/file; chmod 750 /v", |s| s.mounts.push(volume("mine:/v")));
    assert_eq!(std::fs::read_to_string(device.join("file")).unwrap(), "data\n");
    assert_eq!(device.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    world.engine.volume_remove("mine", false).unwrap();
    assert!(device.join("file").exists(), "the user's directory is his");
    let tmpfs = VolumeSpec {
        name: Some("quick".into()),
        driver_opts: [("type", "tmpfs"), ("device", "tmpfs")]
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        ..Default::default()
    };
    world.engine.volume_create(tmpfs).unwrap();
    world.sh("echo x > /q/file", |s| s.mounts.push(volume("quick:/q")));
    assert_eq!(world.sh("cat /q/file", |s| s.mounts.push(volume("quick:/q"))), "x\n");
}

fn volumes_from_another_container() {
    let world = World::new();
    let mut spec = sleeper();
    spec.name = Some("source".into());
    spec.mounts.push(volume("shared:/data"));
    world.engine.run_detached(spec).unwrap();
    assert_eq!(world.exec("source", &["sh", "-c", "echo there > /data/x"]).0, 0);
    assert_eq!(world.sh("cat /data/x", |s| s.volumes_from = vec!["source:ro".into()]), "there\n");
}
