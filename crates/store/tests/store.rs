//! The store on a real filesystem, with real processes.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci::{DiffId, Digest, Reference};
use store::db::build_cache::CacheRecord;
use store::db::containers::{ContainerRecord, Found, NameError};
use store::db::images::ImageRecord;
use store::db::layers::LayerRecord;
use store::db::leases::{LeaseError, LeaseRequest};
use store::db::{self, DatabaseError};
use store::{Durability, Roots, Store, StoreError};

struct Scratch {
    base: PathBuf,
    roots: Roots,
}

impl Scratch {
    fn new(test: &str) -> Self {
        let base = std::env::temp_dir().join(format!("store-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        Self { roots: Roots::new(base.join("data"), base.join("run")), base }
    }

    fn open(&self) -> Store {
        Store::open(&self.roots).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn container(id: &str, name: &str) -> ContainerRecord {
    ContainerRecord {
        id: id.to_owned(),
        name: name.to_owned(),
        created_ns: db::now_ns(),
        image: None,
        layers: vec![],
        record: "{}".repeat(1500),
    }
}

/// Runs `child` of this test binary as a process of its own, with the data and run root in its environment.
fn spawn(child: &str, scratch: &Scratch, argument: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env("TEST_BASE", &scratch.base)
        .env("TEST_ARGUMENT", argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_store() -> (Store, String) {
    let base = PathBuf::from(std::env::var_os("TEST_BASE").expect("only run as a child of another test"));
    let store = Store::open(&Roots::new(base.join("data"), base.join("run"))).unwrap();
    (store, std::env::var("TEST_ARGUMENT").unwrap())
}

fn insert(store: &Store, id: &str, name: &str) -> Result<(), NameError> {
    store.database().write(Durability::Full, |w| db::containers::insert(w, &container(id, name)))
}

#[test]
fn trees_are_made_far_from_each_other() {
    const EXT: i64 = 0xef53;
    let scratch = Scratch::new("spread");
    let store = scratch.open();
    let tmp = sys::fs::open_dir(store.data().join("tmp")).unwrap();
    let flags = rustix::fs::ioctl_getflags(&tmp);
    let is_spread = flags.is_ok_and(|flags| flags.contains(rustix::fs::IFlags::TOPDIR));
    assert_eq!(is_spread, sys::fs::filesystem(&tmp).unwrap().kind == EXT);
}

#[test]
fn blobs_are_named_by_what_they_hold() {
    let scratch = Scratch::new("blobs");
    let store = scratch.open();
    let digest = store.blobs().put(b"hello").unwrap();
    assert_eq!(store.blobs().put(b"hello").unwrap(), digest);
    assert_eq!(store.blobs().read(&digest).unwrap(), b"hello");
    assert_eq!(store.blobs().size(&digest).unwrap(), 5);
    let mut ingest = store.blobs().ingest().unwrap();
    ingest.write_all(b"other").unwrap();
    let error = ingest.commit(Some(&digest)).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { expected, .. } if expected == digest));
    let missing = Digest::of(b"other");
    assert!(matches!(store.blobs().open(&missing), Err(StoreError::Missing(d)) if d == missing));
    assert_eq!(std::fs::read_dir(scratch.base.join("data/blobs/sha256")).unwrap().count(), 1);
}

#[test]
fn snapshots_appear_whole_or_not_at_all() {
    let scratch = Scratch::new("snapshots");
    let store = scratch.open();
    let id = DiffId(Digest::of(b"layer"));
    let dropped = store.snapshots().stage().unwrap();
    std::fs::write(dropped.path().join("file"), "x").unwrap();
    drop(dropped);
    assert_eq!(std::fs::read_dir(scratch.base.join("data/tmp")).unwrap().count(), 0);
    for text in ["first", "second"] {
        let staged = store.snapshots().stage().unwrap();
        std::fs::write(staged.path().join("file"), text).unwrap();
        assert!(text == "second" || !store.snapshots().contains(&id));
        staged.commit(&id).unwrap();
    }
    assert_eq!(std::fs::read(store.snapshots().path(&id).join("file")).unwrap(), b"first");
    assert_eq!(std::fs::read_dir(scratch.base.join("data/tmp")).unwrap().count(), 0);
}

#[test]
#[ignore = "a child process of temporary_directories_die_with_their_maker"]
fn child_holding_a_temporary_directory() {
    let (store, _) = child_store();
    let tmp = store.tmp_dir("work").unwrap();
    std::fs::create_dir_all(tmp.path().join("deep/er")).unwrap();
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn temporary_directories_die_with_their_maker() {
    use std::io::BufRead;
    let scratch = Scratch::new("tmp");
    drop(scratch.open());
    let mut child = spawn("child_holding_a_temporary_directory", &scratch, "");
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("ready")));
    let count = || std::fs::read_dir(scratch.base.join("data/tmp")).unwrap().count();
    drop(scratch.open());
    assert_eq!(count(), 2, "a living process keeps its directory");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(scratch.open());
    assert_eq!(count(), 0);
}

#[test]
fn names_are_unique_and_prefixes_found() {
    let scratch = Scratch::new("names");
    let store = scratch.open();
    insert(&store, "aa11", "web").unwrap();
    insert(&store, "aa22", "db").unwrap();
    let error = insert(&store, "bb33", "web").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Conflict. The container name \"/web\" is already in use by container \"aa11\". \
         You have to remove (or rename) that container to be able to reuse that name."
    );
    let find = |key: &str| {
        store.database().read(|r| db::containers::find(r, key)).map(|found: Found<_>| match found {
            Found::None => "none".to_owned(),
            Found::One(c) => c.id,
            Found::Ambiguous => "ambiguous".to_owned(),
        })
    };
    let check = |key: &str, expected: &str| assert_eq!(find(key).unwrap(), expected, "{key}");
    check("web", "aa11");
    check("/db", "aa22");
    check("aa2", "aa22");
    check("aa", "ambiguous");
    check("b", "none");
    check("", "none");
    let renamed = store.database().write(Durability::Relaxed, |w| db::containers::rename(w, "aa22", "web"));
    assert!(matches!(renamed, Err(NameError::Taken { .. })));
    store.database().write(Durability::Relaxed, |w| db::containers::remove(w, "aa11")).unwrap();
    store.database().write(Durability::Relaxed, |w| db::containers::rename(w, "aa22", "web")).unwrap();
    check("web", "aa22");
}

#[test]
fn leases_are_exclusive() {
    let scratch = Scratch::new("leases");
    let store = scratch.open();
    let gateway = [Ipv4Addr::new(10, 0, 0, 1)];
    let request = |container: &'static str, wanted: Option<Ipv4Addr>| LeaseRequest {
        network: "n",
        container,
        range: Ipv4Addr::new(10, 0, 0, 1)..=Ipv4Addr::new(10, 0, 0, 4),
        reserved: &gateway,
        wanted,
        mac: None,
    };
    let allocate = |container, wanted: Option<[u8; 4]>| {
        let request = request(container, wanted.map(Ipv4Addr::from));
        store.database().write(Durability::Full, |w| db::leases::allocate(w, &request))
    };
    assert_eq!(allocate("a", None).unwrap().address, Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(allocate("a", None).unwrap().address, Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(allocate("b", Some([10, 0, 0, 3])).unwrap().mac, "02:42:0a:00:00:03");
    assert!(
        matches!(allocate("c", Some([10, 0, 0, 3])), Err(LeaseError::Taken { holder, .. }) if holder == "b")
    );
    assert_eq!(allocate("c", None).unwrap().address, Ipv4Addr::new(10, 0, 0, 4));
    assert!(matches!(allocate("d", None), Err(LeaseError::Exhausted { .. })));
    store.database().write(Durability::Full, |w| db::leases::release_all(w, "b")).unwrap();
    assert_eq!(allocate("d", None).unwrap().address, Ipv4Addr::new(10, 0, 0, 3));
}

#[test]
fn collect_keeps_what_rows_name() {
    let scratch = Scratch::new("collect");
    let store = scratch.open();
    let make = |text: &str| {
        let id = DiffId(store.blobs().put(text.as_bytes()).unwrap());
        store.snapshots().stage().unwrap().commit(&id).unwrap();
        id
    };
    let (by_container, by_cache, by_nobody) = (make("container"), make("cache"), make("nobody"));
    let mut record = container("aa", "web");
    record.layers = vec![by_container];
    store.database().write(Durability::Full, |w| db::containers::insert(w, &record)).unwrap();
    let cached = CacheRecord {
        key: "k".into(),
        diff_id: Some(by_cache),
        blob: Some(by_cache.0),
        size: 5,
        config: "{}".into(),
        created_ns: 1,
        used_ns: 1,
    };
    store.database().write(Durability::Relaxed, |w| db::build_cache::put(w, &cached)).unwrap();
    let collected = {
        let shared = store.lock_shared().unwrap();
        assert!(store.try_lock_exclusive().unwrap().is_none());
        drop(shared);
        store.collect(&store.lock_exclusive().unwrap()).unwrap()
    };
    assert_eq!(collected.snapshots, [by_nobody]);
    collected.finish();
    assert!(store.snapshots().contains(&by_container) && store.snapshots().contains(&by_cache));
    assert!(store.blobs().contains(&by_cache.0) && !store.blobs().contains(&by_container.0));
    // After a reboot (another boot id is simulated by clearing the mark's truth) unsynced rows stay only when marked synced.
    let rows = || store.database().read(db::build_cache::list).map(|r: Vec<_>| r.len());
    store.database().write(Durability::Full, |w| db::unsettled::mark_synced(w, i64::MAX)).unwrap();
    std::fs::remove_dir_all(scratch.base.join("run")).unwrap();
    drop(scratch.open());
    assert_eq!(rows().unwrap(), 1);
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let scratch = Scratch::new("rollback");
    let store = scratch.open();
    let result: Result<(), NameError> = store.database().write(Durability::Full, |w| {
        db::containers::insert(w, &container("aa", "web"))?;
        db::containers::insert(w, &container("bb", "web"))
    });
    assert!(result.is_err());
    let left: Result<Vec<_>, DatabaseError> = store.database().read(db::containers::list);
    assert!(left.unwrap().is_empty());
}

#[test]
#[ignore = "a child process of fifty_processes_at_once"]
fn child_creating_a_record() {
    let (store, argument) = child_store();
    insert(&store, &argument, &format!("name-{argument}")).unwrap();
}

/// Correctness under contention; the time is printed and only a stall fails.
#[test]
fn fifty_processes_at_once() {
    let scratch = Scratch::new("fifty");
    let start = Instant::now();
    let children: Vec<_> =
        (0..50).map(|n| spawn("child_creating_a_record", &scratch, &format!("{n:04x}"))).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let elapsed = start.elapsed();
    eprintln!("50 processes: {elapsed:?}");
    let store = scratch.open();
    let count = store.database().read(db::containers::list).map(|l: Vec<_>| l.len());
    assert_eq!(count.unwrap(), 50);
    // An emulated machine takes 20 s.
    assert!(elapsed < Duration::from_secs(90));
}

/// Prints what opening costs; run by hand with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn opening_is_cheap() {
    let scratch = Scratch::new("opening");
    let mut inserts = Vec::new();
    for n in 0..300 {
        let store = scratch.open();
        let start = Instant::now();
        insert(&store, &format!("{n:04x}"), &format!("name-{n}")).unwrap();
        inserts.push(start.elapsed());
    }
    let mut times: Vec<_> = (0..300)
        .map(|n| {
            let start = Instant::now();
            let store = scratch.open();
            let found = store.database().read(|r| db::containers::find(r, &format!("name-{n}")));
            assert!(matches!(found.unwrap(), Found::One(_)));
            start.elapsed()
        })
        .collect();
    times.sort();
    inserts.sort();
    println!("open + read: min {:?} median {:?} p99 {:?}", times[0], times[150], times[297]);
    println!(
        "open db + durable insert: min {:?} median {:?} p99 {:?}",
        inserts[0], inserts[150], inserts[297]
    );
}

/// Makes what a layer has: snapshot, blob and row.
fn layer(store: &Store, text: &str) -> DiffId {
    let blob = store.blobs().put(text.as_bytes()).unwrap();
    let diff_id = DiffId(blob);
    let staged = store.snapshots().stage().unwrap();
    std::fs::write(staged.path().join("file"), text).unwrap();
    staged.commit(&diff_id).unwrap();
    let record = LayerRecord { diff_id, blob, media_type: "m".into(), blob_size: 1, size: 1 };
    store.database().write(Durability::Full, |w| db::layers::put(w, &record)).unwrap();
    diff_id
}

#[test]
fn a_power_cut_takes_images_that_were_not_settled() {
    let scratch = Scratch::new("unsettled");
    let store = scratch.open();
    let [base, whole, cut] = ["base", "whole", "cut"].map(|text| layer(&store, text));
    let image = |name: &str, layers: Vec<DiffId>| {
        let id = store.blobs().put(name.as_bytes()).unwrap();
        let record = ImageRecord { id, manifest: id, created_ns: 1, stored_ns: 1, size: 2, layers };
        let reference = Reference::parse(name).unwrap();
        let write = store.database().write(Durability::Full, |w| {
            db::images::put(w, &record)?;
            db::images::tag(w, &reference, &id, &id)?;
            db::unsettled::note(w, &id)
        });
        write.map(|()| id).unwrap()
    };
    let settled = image("settled", vec![base, whole]);
    store.settle().unwrap();
    let lost = image("lost", vec![base, cut]);
    let mut record = container("aa", "web");
    record.layers = vec![base, cut];
    store.database().write(Durability::Full, |w| db::containers::insert(w, &record)).unwrap();
    let images = |store: &Store| {
        let all: Result<Vec<_>, DatabaseError> = store.database().read(db::images::list);
        all.unwrap().into_iter().map(|image| image.id).collect::<Vec<_>>()
    };
    // A reboot alone changes nothing of what belongs to this boot.
    std::fs::remove_dir_all(scratch.base.join("run")).unwrap();
    assert_eq!(images(&scratch.open()).len(), 2);

    let file = rusqlite::Connection::open(scratch.base.join("data/hull.db")).unwrap();
    file.execute("UPDATE unsettled SET boot = 'an earlier one'", []).unwrap();
    std::fs::remove_dir_all(scratch.base.join("run")).unwrap();
    let store = scratch.open();
    assert_eq!(images(&store), [settled]);
    assert!(!store.blobs().contains(&lost) && !store.blobs().contains(&cut.0));
    // A container may use it; pulled again, it is whole.
    assert!(!store.snapshots().contains(&cut));
    assert!(store.snapshots().contains(&base) && store.snapshots().contains(&whole));
    assert!(store.database().read(|r| db::layers::get(r, &cut)).unwrap().is_none());
}

#[test]
fn a_release_waits_for_a_collector_and_is_collected_after_it() {
    let scratch = Scratch::new("release");
    let store = scratch.open();
    let blob = store.blobs().put(b"held").unwrap();
    let hold = |w: &db::Writer<'_>| db::manifests::hold_blob(w, &blob, i64::MAX);
    store.database().write(Durability::Relaxed, hold).unwrap();
    let lock = store.try_lock_exclusive().unwrap().unwrap();
    std::thread::scope(|scope| {
        let release = || {
            store.release(Durability::Relaxed, |w| Ok::<_, StoreError>(db::manifests::forget_hold(w, &blob)?))
        };
        let releasing = scope.spawn(release);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!releasing.is_finished());
        assert!(store.collect(&lock).unwrap().is_empty());
        drop(lock);
        releasing.join().unwrap().unwrap();
    });
    assert!(store.blobs().contains(&blob));
    drop(scratch.open());
    assert!(!store.blobs().contains(&blob));
}
