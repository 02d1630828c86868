//! Configurations that other runtimes write, broken in every way that comes to mind: each is refused or honoured, nothing
//! panics, hangs or is left half made.
//!
//! The documents are mutated from a fixed seed, so that a failure comes back; its message is the document. `fuzz/` looks
//! further.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use oci::runtime::Spec;
use runtime::seccomp::Seccomp;
use runtime::{LaunchError, Lifetime, Stdio, UserSpec};
use serde_json::{Map, Value};
use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned, Ended};

use crate::sandbox::Sandbox;

crate::tests![
    the_corpus_is_what_runtimes_write,
    thousands_of_mutants_are_read_and_planned,
    hundreds_of_mutants_are_created,
];

const CORPUS: [(&str, &str); 6] = [
    ("runc", include_str!("../corpus/runc.json")),
    ("runc-rootless", include_str!("../corpus/runc-rootless.json")),
    ("crun", include_str!("../corpus/crun.json")),
    ("podman", include_str!("../corpus/podman.json")),
    ("everything", include_str!("../corpus/everything.json")),
    ("rest", include_str!("../corpus/rest.json")),
];

const PLANNED: usize = 12_000;
const CREATED: usize = 400;

/// A quarter of the mutants is enough when it takes longer than this: an emulated processor needs ten times as long for each.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_enough(done: usize, most: usize, began: Instant) -> bool {
    done >= most || done >= most / 4 && began.elapsed() > PATIENCE
}

/// Says something now and then: an emulated machine that is silent for long is taken for one that hangs.
fn still_at_it(number: usize) {
    if number.is_multiple_of(100) {
        println!("  mutant {number}");
    }
}

/// Xorshift: no test needs better numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// A value that is wrong in most places.
fn strange(random: &mut Random) -> Value {
    const TEXTS: [&str; 24] = [
        "",
        "/",
        ".",
        "..",
        "../../..",
        "/../x",
        "\0",
        "a\0b",
        "/proc/self/fd/0",
        "/proc/self/exe",
        "/dev/null",
        "-1",
        "0",
        "99999999999999999999",
        "0-18446744073709551615",
        "%s%n",
        "=",
        "A=\u{1f600}",
        "rbind",
        "user",
        "SCHED_DEADLINE",
        "MPOL_INTERLEAVE",
        "CAP_",
        "SCMP_ACT_NOTIFY",
    ];
    match random.below(12) {
        0 => Value::Null,
        1 => Value::Bool(random.one_in(2)),
        2 => Value::from([0, 1, -1, i64::MIN, i64::MAX, 1 << 31, 1 << 32, 0o777, 0o1777][random.below(9)]),
        3 => Value::from(u64::MAX - random.below(2) as u64),
        4 => Value::from([0.5, -0.0, 1e308][random.below(3)]),
        5 => Value::Array(Vec::new()),
        6 => Value::Object(Map::new()),
        7 => Value::from("x".repeat(1 << random.below(14))),
        8 => (0..random.below(200)).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
        _ => Value::from(TEXTS[random.below(TEXTS.len())]),
    }
}

/// The places of a document, as JSON pointers.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(number, inner)| places(inner, format!("{at}/{number}"), found));
        }
        _ => {}
    }
    found.push(at);
}

fn mutate_value(document: &mut Value, random: &mut Random) {
    let mut all = Vec::new();
    places(document, String::new(), &mut all);
    let from = document.pointer(&all[random.below(all.len())]).cloned().unwrap_or(Value::Null);
    let Some(place) = document.pointer_mut(&all[random.below(all.len())]) else { return };
    let kind = random.below(6);
    match place {
        Value::Object(map) if kind < 3 => {
            let key = map.keys().nth(random.below(map.len())).cloned();
            let taken = key.as_ref().and_then(|key| map.remove(key));
            // Gone, or under another name.
            if kind == 1
                && let Some(taken) = taken
            {
                map.insert(["type", "path", "", "linux", "source"][random.below(5)].to_owned(), taken);
            }
        }
        Value::Array(list) if kind < 3 && !list.is_empty() => {
            let number = random.below(list.len());
            match kind {
                0 => drop(list.remove(number)),
                1 => list.push(list[number].clone()),
                _ => (0..random.below(400)).for_each(|_| list.push(list[number].clone())),
            }
        }
        Value::Number(number) if kind < 3 => {
            let value = number.as_i64().unwrap_or(0);
            *place = Value::from(value.wrapping_add([1, -1, 1 << 32][kind]));
        }
        Value::String(text) if kind < 3 => {
            let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            match kind {
                0 => text.truncate(middle),
                1 => text.insert_str(middle, ["\0", "/", "..", "=", ",", "\u{fe0f}"][random.below(6)]),
                _ => text.push_str(&text.clone()),
            }
        }
        place if kind < 5 => *place = strange(random),
        // What belongs elsewhere.
        place => *place = from,
    }
}

fn mutate_bytes(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    match random.below(5) {
        0 => text[at] ^= 1 << random.below(8),
        1 => text.insert(at, random.next() as u8),
        2 => drop(text.remove(at)),
        3 => text.truncate(at),
        _ => {
            let end = (at + random.below(60)).min(text.len());
            let piece = text[at..end].to_vec();
            let to = random.below(text.len());
            text.splice(to..to, piece);
        }
    }
}

fn mutant(random: &mut Random) -> Vec<u8> {
    let (_, original) = CORPUS[random.below(CORPUS.len())];
    let mut document: Value = serde_json::from_str(original).unwrap();
    if random.one_in(4) {
        let mut text = original.as_bytes().to_vec();
        (0..=random.below(4)).for_each(|_| mutate_bytes(&mut text, random));
        return text;
    }
    (0..=random.below(3)).for_each(|_| mutate_value(&mut document, random));
    serde_json::to_vec(&document).unwrap()
}

/// Plans what the document says on the sandbox's root; whether that was possible.
fn plan(sandbox: &Sandbox, spec: &Spec) -> bool {
    let seccomp = Seccomp::of(spec);
    let launch = sandbox.launch(Stdio::Null, Lifetime::Caller);
    runtime::check(runtime::Launch { spec, user: &UserSpec::Ids, seccomp: &seccomp, ..launch }).is_ok()
}

fn the_corpus_is_what_runtimes_write() {
    let sandbox = Sandbox::new(&["true"]);
    for (name, text) in CORPUS {
        let mut spec: Spec = oci::runtime::from_json(text.as_bytes()).unwrap();
        let process = spec.process.as_mut().unwrap();
        process.terminal = false;
        assert_eq!(plan(&sandbox, &spec), name != "rest", "{name}");
    }
}

fn thousands_of_mutants_are_read_and_planned() {
    // Where the mutants find what to join and to move, nothing is the host's.
    sys::namespace::unshare(KindSet::EMPTY.with(Kind::Network).with(Kind::Uts)).unwrap();
    let sandbox = Sandbox::new(&["true"]);
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (mounts_before, open_before) = (mounts(), descriptors());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut tried, mut read, mut planned) = (0, 0, 0);
    let began = Instant::now();
    while !is_enough(tried, PLANNED, began) {
        still_at_it(tried);
        tried += 1;
        let text = mutant(&mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            oci::runtime::from_json::<Spec>(&text).ok().map(|mut spec| {
                // No terminal is connected here, which would end every one that asks for it.
                let Some(process) = &mut spec.process else { return plan(&sandbox, &spec) };
                process.terminal = false;
                plan(&sandbox, &spec)
            })
        }));
        match outcome {
            Ok(None) => {}
            Ok(Some(possible)) => (read, planned) = (read + 1, planned + usize::from(possible)),
            Err(_) => panic!("it panicked: {}", String::from_utf8_lossy(&text)),
        }
    }
    // The mutations are neither harmless nor hopeless.
    assert!(
        read > tried / 4 && planned > tried / 20 && planned < read,
        "{read} of {tried} read, {planned} planned"
    );
    assert_eq!(std::fs::read_dir(sandbox.upper()).unwrap().count(), 0);
    assert_eq!((mounts(), descriptors()), (mounts_before, open_before));
    assert!(matches!(sys::process::reap_any(), Ok(None)), "a process was left");
}

/// Whether a mutant can be let loose: it writes only to what is its own.
fn is_harmless(spec: &Spec, own: &Path) -> bool {
    let bind = |mount: &oci::runtime::Mount| {
        mount.options.iter().any(|option| option == "bind" || option == "rbind")
            || mount.r#type.as_deref().is_none_or(|kind| kind == "bind")
    };
    let sources = spec.mounts.iter().filter(|mount| bind(mount)).filter_map(|mount| mount.source.as_deref());
    sources.into_iter().all(|source| source.starts_with(own))
}

fn hundreds_of_mutants_are_created() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut tried, mut ran) = (0, 0);
    let began = Instant::now();
    while !is_enough(tried, CREATED, began) {
        still_at_it(tried);
        let text = mutant(&mut random);
        let Ok(mut spec) = oci::runtime::from_json::<Spec>(&text) else { continue };
        // Programs of the host: not what this is about.
        spec.hooks = None;
        let mut sandbox = Sandbox::new(&["true"]);
        if !is_harmless(&spec, &sandbox.directory) {
            continue;
        }
        if let Some(process) = &mut spec.process {
            (process.terminal, process.args) = (false, vec!["/bin/true".to_owned()]);
        }
        tried += 1;
        sandbox.seccomp = Seccomp::of(&spec);
        sandbox.user = UserSpec::Ids;
        sandbox.spec = spec;
        ran += usize::from(run(&sandbox, &text));
        std::fs::remove_dir_all(&sandbox.directory).unwrap();
    }
    assert!(ran > tried / 20 && ran < tried, "{ran} of {tried} ran");
}

/// Runs it in a process of its own, which sees that nothing of it is left; whether it ran.
fn run(sandbox: &Sandbox, text: &[u8]) -> bool {
    match sys::process::clone(Clone::default()).unwrap() {
        Cloned::Child => {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                sys::namespace::unshare(KindSet::EMPTY.with(Kind::Network).with(Kind::Uts)).unwrap();
                let outcome = sandbox.create(Stdio::Null).and_then(|created| created.start());
                // A panic in there would end it with a status; a limit ends it with a signal.
                let panicked =
                    matches!(&outcome, Err(LaunchError::Died { how, .. }) if how.starts_with("status"));
                assert!(!panicked, "{outcome:?}");
                let ran = outcome.as_ref().is_ok_and(|process| process.wait().is_ok());
                assert!(matches!(sys::process::reap_any(), Ok(None)), "a process was left");
                let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                let place = sandbox.directory.file_name().unwrap().to_str().unwrap();
                assert!(!mounts.contains(&format!("{place}/upper")), "a mount was left: {mounts}");
                ran
            }));
            sys::process::exit(outcome.map_or(2, u8::from))
        }
        Cloned::Parent { pidfd, .. } => match sys::process::wait(std::os::fd::AsFd::as_fd(&pidfd)).unwrap() {
            Ended::Exited(code @ (0 | 1)) => code == 1,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(text)),
        },
    }
}
