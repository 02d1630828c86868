//! What is taken from the cache, and what is not.

use crate::fixture::Fixture;

crate::tests![
    the_same_build_runs_nothing,
    content_decides,
    arguments_and_environment_decide,
    labels_do_not,
    no_cache_runs_everything,
    equal_files_end_a_miss,
    copies_between_stages_follow_content,
];

/// Executed and cached steps.
fn steps(fixture: &Fixture, text: &str) -> (usize, usize) {
    let built = fixture.build(text);
    (built.output.executed_steps, built.output.cached_steps)
}

fn the_same_build_runs_nothing() {
    let fixture = Fixture::new("same");
    fixture.file("f", "f");
    let text = "FROM busybox\nWORKDIR /w\nCOPY f .\nRUN cat f > g\nRUN true\nRUN true\nCMD x";
    let first = fixture.build(text);
    assert_eq!((first.output.executed_steps, first.output.cached_steps), (5, 0));
    let second = fixture.build(text);
    assert_eq!((second.output.executed_steps, second.output.cached_steps), (0, 5));
    assert_eq!(first.output.image_id, second.output.image_id);
    assert!(second.recorder.has("cached 4"));
}

fn content_decides() {
    let fixture = Fixture::new("content");
    fixture.file("f", "one").file("other", "x");
    let text = "FROM busybox\nRUN echo before > /before\nCOPY f /f\nRUN cat /f";
    assert_eq!(steps(&fixture, text), (3, 0));
    fixture.file("other", "y").file("f", "one");
    assert_eq!(steps(&fixture, text), (0, 3), "a new time is no new content");
    fixture.file("f", "two");
    assert_eq!(steps(&fixture, text), (2, 1));
    fixture.file("f", "one");
    assert_eq!(steps(&fixture, text), (0, 3));
    assert_eq!(steps(&fixture, "FROM busybox\nRUN echo before > /before\nCOPY f /g\nRUN cat /g"), (2, 1));
}

fn arguments_and_environment_decide() {
    let fixture = Fixture::new("args");
    let text = "FROM busybox\nRUN echo a\nARG V\nRUN echo $V\nENV E=1\nRUN echo $E";
    let with = |value: &str| {
        let built = fixture.build_with(text, |request| {
            request.build_args.insert("V".to_owned(), value.to_owned());
            request.build_args.insert("HTTPS_PROXY".to_owned(), format!("proxy-{value}"));
        });
        (built.output.executed_steps, built.output.cached_steps)
    };
    assert_eq!(with("1"), (3, 0));
    assert_eq!(with("1"), (0, 3));
    assert_eq!(with("2"), (2, 1));
    assert_eq!(with("1"), (0, 3));
}

fn labels_do_not() {
    let fixture = Fixture::new("labels");
    assert_eq!(steps(&fixture, "FROM busybox\nLABEL a=1\nRUN echo x > /x\nCMD a"), (1, 0));
    assert_eq!(steps(&fixture, "FROM busybox\nLABEL a=2\nRUN echo x > /x\nCMD b"), (0, 1));
}

fn no_cache_runs_everything() {
    let fixture = Fixture::new("nocache");
    let text = "FROM busybox\nRUN echo x > /x\nRUN true";
    steps(&fixture, text);
    let built = fixture.build_with(text, |request| request.no_cache = true);
    assert_eq!((built.output.executed_steps, built.output.cached_steps), (2, 0));
}

fn equal_files_end_a_miss() {
    let fixture = Fixture::new("converge");
    fixture.file("f", "same").file("g", "same");
    let copied = |name: &str| format!("FROM busybox\nCOPY {name} /x\nRUN cat /x");
    // The file's time is part of the layer: make it the same.
    let time = std::fs::metadata(fixture.context.join("f")).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(fixture.context.join("g")).unwrap().set_modified(time).unwrap();
    assert_eq!(steps(&fixture, &copied("f")), (2, 0));
    let (executed, cached) = steps(&fixture, &copied("g"));
    assert_eq!((executed, cached), (1, 1), "another name, the same layer, so RUN is known");
}

fn copies_between_stages_follow_content() {
    let fixture = Fixture::new("stagecopy");
    let text = |comment: &str| {
        format!(
            "FROM busybox AS b\nRUN : {comment}; echo out > /out; date +%N > /noise\nFROM busybox\nCOPY --from=b /out /out\nRUN cat /out"
        )
    };
    assert_eq!(steps(&fixture, &text("1")), (3, 0));
    assert_eq!(steps(&fixture, &text("1")), (0, 3));
    assert_eq!(steps(&fixture, &text("2")), (1, 2), "the copied file is the same");
}
