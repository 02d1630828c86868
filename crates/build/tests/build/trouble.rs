//! Failures, cancellation and hostile input.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use build::{BuildError, Cancel, Event, Progress};

use crate::fixture::{Fixture, files, snapshot};

crate::tests![
    a_failing_step_is_explained,
    syntax_errors_name_the_line,
    a_missing_dockerfile_is_explained,
    what_cannot_be_read_whole_is_not_read_in_part,
    cancelling_leaves_nothing,
    a_flood_of_output_can_be_cancelled,
    a_killed_build_takes_its_step_along,
    a_failure_stops_the_other_stages,
    background_processes_end_with_their_step,
    hostile_links_stay_in_the_context,
    hostile_stages_stay_in_their_layers,
];

fn a_failing_step_is_explained() {
    let fixture = Fixture::new("failing");
    let text = "FROM busybox\n\nRUN echo begin && \\\n    echo why >&2 && \\\n    exit 7";
    let (result, recorder) = fixture.try_build(text, |_| {});
    let error = result.unwrap_err();
    assert_eq!(error.output(), ["begin", "why"]);
    let BuildError::Step { location, .. } = &error else { panic!("{error:?}") };
    assert_eq!((location.line, location.end_line), (3, 5));
    let text = diag::render(&error.into());
    assert!(text.starts_with("error: Dockerfile:3-5: RUN echo begin &&"), "{text}");
    assert!(text.contains("did not complete successfully: exit code: 7"), "{text}");
    assert!(recorder.lines.lock().unwrap().iter().any(|line| line.starts_with("failed process")));
    let error = fixture.fails("FROM busybox\nRUN [\"/no/such\"]");
    assert!(error.contains("no such file or directory"), "{error}");
    let error = fixture.fails("FROM scratch\nRUN true");
    assert!(error.contains("Dockerfile:2"), "{error}");
    let error = fixture.fails("FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?");
    assert!(error.contains("exit code: 137"), "{error}");
}

fn syntax_errors_name_the_line() {
    let fixture = Fixture::new("syntax");
    let error = fixture.fails("FROM busybox\nRUM x");
    assert_eq!(error, "error: Dockerfile:2\n  caused by: RUM: unknown instruction: RUM (did you mean RUN?)");
    let error = fixture.fails("FROM busybox\nENV a=\"${b:?is needed}\"");
    assert!(
        error.contains("Dockerfile:2: ENV a=\"${b:?is needed}\"") && error.contains("b: is needed"),
        "{error}"
    );
    let error = fixture.fails("ARG a=\"x\nFROM busybox");
    assert!(error.contains("Dockerfile:1"), "{error}");
}

fn a_missing_dockerfile_is_explained() {
    let fixture = Fixture::new("missing");
    let error = fixture.fails_with("", |request| {
        request.dockerfile = build::DockerfileSource::InContext("Other".into());
    });
    assert!(error.starts_with("error: failed to read dockerfile: open Other"), "{error}");
    let error = fixture.fails_with("", |request| request.context = build::Source::Dir("/no/such".into()));
    assert!(error.contains("cannot read build context /no/such"), "{error}");
}

fn what_cannot_be_read_whole_is_not_read_in_part() {
    let fixture = Fixture::new("whole");
    let dockerfile = fixture.dir.join("Dockerfile.other");
    std::fs::write(&dockerfile, "FROM busybox").unwrap();
    let build = || {
        fixture.fails_with("", |request| {
            request.dockerfile = build::DockerfileSource::File(dockerfile.clone());
        })
    };
    let ignore = fixture.dir.join("Dockerfile.other.dockerignore");
    std::fs::create_dir(&ignore).unwrap();
    let error = build();
    assert!(error.starts_with("error: cannot read ignore file") && error.contains("directory"), "{error}");
    std::fs::remove_dir(&ignore).unwrap();
    File::create(&ignore).unwrap().set_len(100 << 20).unwrap();
    let error = build();
    assert!(error.contains("Dockerfile.other.dockerignore\n  caused by: file too large"), "{error}");
    File::options().write(true).open(&dockerfile).unwrap().set_len(100 << 20).unwrap();
    let error = build();
    assert!(error.contains("Dockerfile.other\n  caused by: file too large"), "{error}");
}

/// Cancels when a line appears.
struct CancelAt {
    line: &'static [u8],
    cancel: Cancel,
    seen: Mutex<Vec<String>>,
}

impl Progress for CancelAt {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Output { line, .. } if line == self.line => self.cancel.cancel(),
            Event::Cancelled { step } => self.seen.lock().unwrap().push(format!("cancelled {}", step.0)),
            _ => {}
        }
    }
}

fn cancelling_leaves_nothing() {
    let fixture = Fixture::new("cancel");
    let flag = Arc::new(AtomicBool::new(false));
    let cancel = Cancel::from_flag(Arc::clone(&flag));
    let progress = Arc::new(CancelAt { line: b"running", cancel: cancel.clone(), seen: Mutex::default() });
    let started = std::time::Instant::now();
    let (result, _) = fixture.try_build(
        "FROM busybox\nRUN echo half > /half\nRUN (trap '' TERM INT; sleep 1000) & trap '' TERM INT; echo running; sleep 1000",
        |request| {
            request.cancel = cancel;
            request.progress = Arc::clone(&progress) as Arc<dyn Progress>;
        },
    );
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
    assert!(flag.load(Ordering::SeqCst));
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
    assert_eq!(*progress.seen.lock().unwrap(), ["cancelled 3"]);
    // What was finished is kept.
    let again = fixture.build("FROM busybox\nRUN echo half > /half");
    assert_eq!(again.output.cached_steps, 1);
}

fn a_flood_of_output_can_be_cancelled() {
    let fixture = Fixture::new("flood");
    let cancel = Cancel::default();
    let progress = Arc::new(CancelAt { line: b"y", cancel: cancel.clone(), seen: Mutex::default() });
    let (result, _) = fixture.try_build("FROM busybox\nRUN yes", |request| {
        request.cancel = cancel;
        request.progress = progress;
    });
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
}

/// The other program of the next test: a build that never ends.
pub fn victim(dir: &std::path::Path) {
    let fixture = Fixture::open(dir);
    struct Announce;
    impl Progress for Announce {
        fn event(&self, event: Event<'_>) {
            if let Event::Output { line, .. } = event {
                println!("{}", String::from_utf8_lossy(line));
            }
        }
    }
    let _ = fixture.try_build("FROM busybox\nRUN echo running; sleep 1000", |request| {
        request.progress = Arc::new(Announce);
    });
}

fn a_killed_build_takes_its_step_along() {
    let fixture = Fixture::new("killed");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("victim")
        .arg(&fixture.dir)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "running\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let builds = fixture.dir.join("run/builds").display().to_string();
    testkit::eventually("the step ended with its build", 5, || {
        let output = std::process::Command::new("ps").args(["-eo", "args"]).output().unwrap();
        (!String::from_utf8_lossy(&output.stdout).contains(&builds)).then_some(())
    });
    // The next command removes what is left; the fixture looks whether it did.
    assert!(std::fs::read_dir(fixture.dir.join("run/builds")).unwrap().count() > 0);
    let fixture = fixture.reopen();
    fixture.build("FROM busybox\nRUN true");
}

fn a_failure_stops_the_other_stages() {
    let fixture = Fixture::new("stop");
    let started = std::time::Instant::now();
    let error = fixture.fails(
        "FROM busybox AS slow\nRUN sleep 1000\nFROM busybox AS bad\nRUN sleep 0.2; exit 3\nFROM scratch\nCOPY --from=slow / /\nCOPY --from=bad / /",
    );
    assert!(error.contains("Dockerfile:4") && error.contains("exit code: 3"), "{error}");
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
}

fn background_processes_end_with_their_step() {
    let fixture = Fixture::new("background");
    let built = fixture.build(
        "FROM busybox\nRUN (sleep 1000; echo late) & echo started\nRUN ps | grep -c 'sleep 1000' || true",
    );
    assert!(built.recorder.has("out started"));
}

fn hostile_links_stay_in_the_context() {
    let fixture = Fixture::new("hostile");
    let secret = fixture.dir.join("secret");
    std::fs::write(&secret, "host secret").unwrap();
    symlink(&secret, fixture.context.join("link")).unwrap();
    symlink("/", fixture.context.join("root")).unwrap();
    fixture.file("d/ok", "");
    symlink("../../../../../../../../etc", fixture.context.join("d/up")).unwrap();
    let inside = secret.strip_prefix("/").unwrap().display().to_string();
    for source in ["link".to_owned(), format!("root/{inside}"), "d/up/passwd".to_owned()] {
        let error = fixture.fails(&format!("FROM scratch\nCOPY {source} /x"));
        assert!(error.contains("file not found"), "{error}");
        let error = fixture.fails(&format!("FROM busybox\nRUN --mount=source={source},target=/x cat /x"));
        assert!(error.contains("not found"), "{error}");
    }
    // The Dockerfile itself, and the ignore file.
    std::fs::remove_file(fixture.context.join("link")).unwrap();
    let built = fixture.build("FROM scratch\nCOPY d /d");
    assert_eq!(files(&snapshot(&fixture, &built, 0)), ["d", "d/ok", "d/up"]);
    let error = fixture.fails_with("", |request| {
        symlink(&secret, fixture.context.join("Linked")).unwrap();
        request.dockerfile = build::DockerfileSource::InContext("Linked".into());
    });
    assert!(!error.contains("host secret"), "{error}");
}

fn hostile_stages_stay_in_their_layers() {
    let fixture = Fixture::new("stage");
    let host = fixture.dir.join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("secret"), "host secret").unwrap();
    let path = host.display();
    let text = |last: &str| {
        format!(
            "FROM busybox AS evil\nRUN ln -s {path} /out && ln -s {path}/secret /file\nFROM busybox\n{last}"
        )
    };
    for line in [
        "COPY --from=evil /out/secret /x",
        "COPY --from=evil /file /x",
        "RUN --mount=from=evil,source=/out,target=/m cat /m/secret",
        "RUN --mount=from=evil,source=/file,target=/m cat /m",
    ] {
        let error = fixture.fails(&text(line));
        assert!(error.contains("not found"), "{line}: {error}");
    }
    // Writing through a link of the image stays in the image.
    fixture.file("f", "f");
    let (result, _) = fixture.try_build(
        &format!("FROM busybox\nRUN ln -s {path} /out\nCOPY f /out/f\nWORKDIR /out/made\nRUN echo x > /out/g 2>/dev/null || true"),
        |_| {},
    );
    result.unwrap();
    assert_eq!(std::fs::read_dir(&host).unwrap().count(), 1);
    // A mount target that is a link to the host's files is resolved in the container.
    let (result, _) = fixture.try_build(
        &format!("FROM busybox\nRUN ln -s {path} /t\nRUN --mount=type=tmpfs,target=/t echo x > /t/y"),
        |_| {},
    );
    let _ = result;
    assert_eq!(std::fs::read_dir(&host).unwrap().count(), 1);
}
