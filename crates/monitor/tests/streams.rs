//! Real monitors, real containers: attached clients, terminals, logs, health.

mod common;

use std::time::Duration;

use common::{ATTACH, Box, read_all};
use monitor::client::{AttachOptions, Frame, StopOptions};
use monitor::logs::{Follow, LogWriter, Query, Stream};
use monitor::plan::{HealthPlan, LogPlan};
use monitor::state::{HealthStatus, Status};

#[test]
fn nothing_between_the_first_instruction_and_the_end_is_lost() {
    let one = Box::new("all", "echo first; seq 1 20000; echo last >&2; exit 5");
    let (out, err, code) = read_all(one.try_launch(Some(ATTACH)).unwrap());
    assert_eq!((err.as_str(), code), ("last\n", Some(5)));
    assert_eq!(out.lines().count(), 20001);
    assert!(out.starts_with("first\n1\n") && out.ends_with("\n20000\n"));
    let mut logged: Vec<_> = one.log().lines().map(str::to_owned).collect();
    logged.retain(|line| line != "last");
    assert_eq!(logged.join("\n"), out.trim_end());
    assert_eq!(one.observe().state.status, Status::Exited);
}

#[test]
fn input_reaches_the_container_and_ends() {
    let mut one = Box::new("input", "cat; echo end");
    (one.plan.open_stdin, one.plan.stdin_once) = (true, true);
    let launched = one.try_launch(Some(ATTACH)).unwrap();
    let (mut reader, mut writer) = launched.stream.unwrap().split();
    // More than all buffers on the way hold, so that both directions have to flow at once.
    let sent: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = [sent.as_slice(), b"end\n"].concat();
    let sender = std::thread::spawn(move || {
        for piece in sent.chunks(100_000) {
            writer.stdin(piece).unwrap();
            writer.flush_all().unwrap();
        }
        writer.close_stdin().unwrap();
        writer.flush_all().unwrap();
        writer
    });
    let mut received = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Frame::Output(Stream::Stdout, bytes) = frame {
            received.extend(bytes);
        }
    }
    sender.join().unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

#[test]
fn the_end_of_the_only_client_ends_its_input() {
    let mut one = Box::new("once", "cat >/dev/null; exit 9");
    (one.plan.open_stdin, one.plan.stdin_once) = (true, true);
    drop(one.try_launch(Some(ATTACH)).unwrap());
    assert_eq!(one.wait_end().exit_code, 9);
}

#[test]
fn clients_come_and_go() {
    let mut one = Box::new("several", "while read line; do echo got $line; done");
    one.plan.open_stdin = true;
    one.launch();
    let mut first = one.client().attach(ATTACH).unwrap();
    let mut second = one.client().attach(AttachOptions { stdout: true, ..AttachOptions::default() }).unwrap();
    first.writer.stdin(b"a\n").unwrap();
    for stream in [&mut first, &mut second] {
        let Some(Frame::Output(Stream::Stdout, bytes)) = stream.reader.next_frame().unwrap() else {
            panic!("no output")
        };
        assert_eq!(bytes, b"got a\n");
    }
    drop(first);
    let mut third = one.client().attach(ATTACH).unwrap();
    third.writer.stdin(b"b\n").unwrap();
    let Some(Frame::Output(_, bytes)) = second.reader.next_frame().unwrap() else { panic!("no output") };
    assert_eq!(bytes, b"got b\n");
    one.client().stop(StopOptions { signal: Some(9), timeout_s: None }).unwrap();
    let Some(Frame::Exited(ended)) = second.reader.next_frame().unwrap() else { panic!("no end") };
    assert_eq!(ended.code, 137);
    assert!(second.reader.next_frame().unwrap().is_none());
}

#[test]
fn a_client_that_does_not_read_holds_up_output_but_not_the_end() {
    let one = Box::new("slow", "while :; do echo 0123456789abcdef0123456789abcdef; done");
    let launched = one.try_launch(Some(ATTACH)).unwrap();
    let mut stream = launched.stream.unwrap();
    // It fills what there is of buffers, and then waits.
    let mut before = 0;
    let full = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(25));
        let now = std::fs::metadata(one.data_dir.join("container.log")).unwrap().len();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(full, "the container was never held up");
    one.client().stop(StopOptions { signal: Some(9), timeout_s: None }).unwrap();
    assert_eq!(one.wait_end().exit_code, 137);
    let mut received = 0;
    let mut code = None;
    while let Some(frame) = stream.reader.next_frame().unwrap() {
        match frame {
            Frame::Output(_, bytes) => received += bytes.len(),
            Frame::Exited(ended) => code = Some(ended.code),
        }
    }
    assert_eq!(code, Some(137));
    assert_eq!(received, one.log().len());
}

#[test]
fn a_terminal_has_a_size_and_one_stream() {
    let mut one = Box::new("terminal", "tty >/dev/null || exit 1; stty size; read x; stty size; echo $x >&2");
    (one.plan.tty, one.plan.open_stdin, one.plan.console_size) = (true, true, Some((24, 80)));
    let launched = one.try_launch(Some(ATTACH)).unwrap();
    let mut stream = launched.stream.unwrap();
    assert!(stream.is_tty());
    let mut seen = String::new();
    let mut code = None;
    let mut answered = false;
    while let Some(frame) = stream.reader.next_frame().unwrap() {
        match frame {
            Frame::Output(stream, bytes) => {
                assert_eq!(stream, Stream::Stdout);
                seen.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            Frame::Exited(ended) => code = Some(ended.code),
        }
        if seen.contains("24 80") && !answered {
            answered = true;
            stream.writer.resize(50, 132).unwrap();
            stream.writer.stdin(b"yes\n").unwrap();
        }
    }
    assert_eq!((seen.as_str(), code), ("24 80\r\nyes\r\n50 132\r\nyes\r\n", Some(0)));
}

#[test]
fn logs_are_turned_over_and_followed_to_the_end() {
    let mut one = Box::new("rotate", "for i in $(seq 1 300); do echo line $i; done");
    let path = one.data_dir.join("container.log");
    one.plan.log = LogPlan::JsonFile { path: path.clone(), max_bytes: 4096, max_files: 3 };
    one.launch();
    one.wait_end();
    assert!(one.data_dir.join("container.log.2").exists() && !one.data_dir.join("container.log.3").exists());
    assert!(one.log().ends_with("line 300\n"));
    // Following a container that has ended is reading.
    let follow = Follow { run_dir: one.run_dir.clone(), data_dir: one.data_dir.clone() };
    let query = Query { tail: Some(2), ..Query::default() };
    let lines: Vec<_> =
        monitor::logs::read(&path, query).unwrap().follow(follow).unwrap().map(|l| l.unwrap().text).collect();
    assert_eq!(lines, [b"line 299\n", b"line 300\n"]);
}

#[test]
fn a_reader_follows_a_running_container() {
    let one = Box::new("follow", "for i in 1 2 3; do echo $i; sleep 0.05; done");
    one.launch();
    let follow = Follow { run_dir: one.run_dir.clone(), data_dir: one.data_dir.clone() };
    let path = one.data_dir.join("container.log");
    let reader = monitor::logs::read(&path, Query::default()).unwrap().follow(follow).unwrap();
    let lines: Vec<_> = reader.map(|line| line.unwrap().text).collect();
    assert_eq!(lines, [b"1\n", b"2\n", b"3\n"]);
}

#[test]
fn without_a_log_output_still_reaches_clients() {
    let mut one = Box::new("nolog", "echo hello");
    one.plan.log = LogPlan::None;
    let (out, ..) = read_all(one.try_launch(Some(ATTACH)).unwrap());
    assert_eq!(out, "hello\n");
    assert!(!one.data_dir.join("container.log").exists());
}

#[test]
fn an_earlier_log_is_continued() {
    let one = Box::new("continue", "echo new");
    let mut writer = LogWriter::open(&one.data_dir.join("container.log"), 1 << 20, 2).unwrap();
    writer.write(Stream::Stdout, b"old\n", 1).unwrap();
    one.launch();
    one.wait_end();
    assert_eq!(one.log(), "old\nnew\n");
}

#[test]
fn health_follows_the_probes() {
    let mut one = Box::new("health", "read line; touch /tmp/well; sleep 100");
    one.plan.open_stdin = true;
    let command = ["sh", "-c", "echo probing; test -e /tmp/well"].map(str::to_owned).to_vec();
    let ms = |n: u64| n * 1_000_000;
    one.plan.health = Some(HealthPlan {
        interval_ns: ms(30),
        timeout_ns: ms(5000),
        retries: 2,
        ..HealthPlan::new(command)
    });
    one.launch();
    let health = |state: &monitor::state::State| state.health.as_ref().map(|health| health.status);
    let state = one.wait_for("illness", |state| health(state) == Some(HealthStatus::Unhealthy));
    let probe = state.health.unwrap().log.pop().unwrap();
    assert_eq!((probe.exit_code, probe.output.as_str()), (1, "probing\n"));
    let mut stream = one.client().attach(ATTACH).unwrap();
    stream.writer.stdin(b"get well\n").unwrap();
    let state = one.wait_for("health", |state| health(state) == Some(HealthStatus::Healthy));
    assert_eq!(state.health.unwrap().failing_streak, 0);
    let events = one.events();
    assert_eq!(events[1..], ["health_status: unhealthy", "attach", "health_status: healthy"]);
}

#[test]
fn a_probe_that_hangs_is_ended() {
    let mut one = Box::new("hang", "sleep 100");
    let command = ["sleep", "50"].map(str::to_owned).to_vec();
    let ms = |n: u64| n * 1_000_000;
    one.plan.health =
        Some(HealthPlan { interval_ns: ms(20), timeout_ns: ms(50), retries: 1, ..HealthPlan::new(command) });
    one.launch();
    let state = one.wait_for("illness", |state| {
        state.health.as_ref().is_some_and(|health| health.status == HealthStatus::Unhealthy)
    });
    let probe = state.health.unwrap().log.pop().unwrap();
    assert_eq!((probe.exit_code, probe.output.as_str()), (-1, "Health check exceeded timeout (50ms)"));
    assert!(Duration::from_nanos((probe.end_ns - probe.start_ns).unsigned_abs()) < Duration::from_secs(5));
}
