//! The name server, asked from inside a container's namespace.

mod world;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use net::dns::{ADDRESS, Config, Server, Upstream};
use net::names::NamesDir;
use sys::event::PollFlags;
use world::{Container, REMOTE, World, inside};

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

/// A server and the loop a monitor would run it in.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(world: &World, container: &Container, upstream: Upstream) -> Self {
        let network = &container.endpoint.network;
        let networks = vec![NamesDir::new(&world.context, &network.id, &network.name)];
        let mut server = world
            .host(|| Server::bind(container.netns.as_fd(), Config { networks, upstream }).expect("bind"));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, host) = (stop.clone(), world.host.try_clone().expect("a descriptor"));
        let thread = thread::spawn(move || {
            inside(host.as_fd(), || {
                while !stopped.load(Ordering::Relaxed) {
                    let left = server.deadline().map(|at| at.saturating_duration_since(Instant::now()));
                    let wait = left.unwrap_or(Duration::MAX).min(Duration::from_millis(20));
                    sys::event::poll_one(server.as_fd(), PollFlags::IN, Some(wait)).expect("poll");
                    server.ready();
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// What an answer says: code, whether it was cut, and the data of its records.
#[derive(Debug, PartialEq)]
struct Answer {
    code: u8,
    cut: bool,
    data: Vec<Vec<u8>>,
}

impl Answer {
    /// Reads an answer whose records all point to the question's name.
    fn of(question: &[u8], answer: &[u8]) -> Self {
        assert_eq!(answer[..2], question[..2], "the id");
        assert_eq!(answer[12..question.len()], question[12..], "the question");
        let count = u16::from_be_bytes([answer[6], answer[7]]);
        let mut rest = &answer[question.len()..];
        let data = (0..count)
            .map(|_| {
                let len = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
                let (record, after) = rest.split_at(12 + len);
                rest = after;
                record[12..].to_vec()
            })
            .collect();
        Self { code: answer[3] & 0xf, cut: answer[2] & 2 != 0, data }
    }

    fn addresses(&self) -> Vec<Ipv4Addr> {
        self.data.iter().map(|data| <[u8; 4]>::try_from(&data[..]).expect("an address").into()).collect()
    }
}

fn ask_at(server: SocketAddr, name: &str, kind: u16) -> Option<Answer> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(6))).expect("a timeout");
    socket.connect(server).expect("connect");
    let question = question(0x4242, name, kind);
    socket.send(&question).expect("send");
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).ok()?;
    Some(Answer::of(&question, &buffer[..len]))
}

fn ask(container: &Container, name: &str, kind: u16) -> Answer {
    container.run(|| ask_at((ADDRESS, 53).into(), name, kind)).expect("an answer")
}

fn ask_tcp(container: &Container, names: &[&str]) -> Vec<Answer> {
    container.run(|| {
        let mut stream = TcpStream::connect((ADDRESS, 53)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(6))).expect("a timeout");
        let questions: Vec<_> = names.iter().map(|name| question(7, name, A)).collect();
        for question in &questions {
            // In two pieces, as networks do.
            let framed = [&(question.len() as u16).to_be_bytes()[..], question].concat();
            stream.write_all(&framed[..1]).expect("write");
            stream.write_all(&framed[1..]).expect("write");
        }
        let mut next = || {
            let mut len = [0; 2];
            stream.read_exact(&mut len).expect("a length");
            let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut answer).expect("an answer");
            answer
        };
        questions.iter().map(|question| Answer::of(question, &next())).collect()
    })
}

fn ok(data: &[&[u8]]) -> Answer {
    Answer { code: 0, cut: false, data: data.iter().map(|data| data.to_vec()).collect() }
}

#[test]
fn names_of_the_network_are_answered() {
    let world = World::new(false);
    let network = world.network("front");
    let web = world.container(&network, 2, "Web");
    let client = world.container(&network, 3, "client");
    let _server = Running::start(&world, &client, Upstream::None);
    let address = web.address().octets();
    for name in ["web", "WEB", "web.front"] {
        assert_eq!(ask(&client, name, A), ok(&[&address]), "{name}");
    }
    assert_eq!(ask(&client, "web", AAAA), ok(&[]), "no such record, but the name exists");
    let [a, b, c, d] = address;
    assert_eq!(ask(&client, &format!("{d}.{c}.{b}.{a}.in-addr.arpa"), PTR), ok(&[b"\x03web\x05front\0"]));
    let failure = Answer { code: 2, cut: false, data: vec![] };
    for name in ["nobody", "example.com", "web.other", "1.0.0.10.in-addr.arpa"] {
        assert_eq!(ask(&client, name, A), failure, "{name}: nobody to ask");
    }
    drop(world.container(&network, 4, "late"));
    assert_eq!(ask(&client, "late", A).addresses(), [network.subnet.nth(4).unwrap()], "known at once");
}

#[test]
fn several_addresses_take_turns() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _web: Vec<_> = (3..6).map(|n| world.container(&network, n, "web")).collect();
    let _server = Running::start(&world, &client, Upstream::None);
    let firsts: Vec<_> = (0..3).map(|_| ask(&client, "web", A).addresses()).map(|found| found[0]).collect();
    let mut sorted = firsts.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 3, "{firsts:?}");
}

#[test]
fn port_53_is_left_to_the_container() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _server = Running::start(&world, &client, Upstream::None);
    let (udp, tcp) = client.run(|| {
        (
            UdpSocket::bind("0.0.0.0:53").expect("port 53 is free"),
            TcpListener::bind("0.0.0.0:53").expect("for TCP too"),
        )
    });
    assert_eq!(ask(&client, "client", A).addresses(), [client.address()]);
    assert_eq!(ask_tcp(&client, &["client"])[0].addresses(), [client.address()]);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        let (len, from) = udp.recv_from(&mut buffer).expect("a question");
        buffer[2] |= 0x80;
        buffer[3] = 5;
        udp.send_to(&buffer[..len], from).expect("send");
    });
    let own = client.run(|| ask_at(([127, 0, 0, 1], 53).into(), "client", A)).expect("an answer");
    assert_eq!(own.code, 5, "the container's own server");
    drop(tcp);
}

/// Answers `count` questions on UDP port 53 of the remote host, each as `reply` says.
fn upstream(
    world: &World,
    count: usize,
    reply: impl Fn(&UdpSocket, SocketAddr, &[u8]) + Send + Sync + 'static,
) {
    let socket = world.remote(|| UdpSocket::bind((REMOTE, 53)).expect("bind"));
    let remote = world.remote.try_clone().expect("a descriptor");
    thread::spawn(move || {
        inside(remote.as_fd(), || {
            let mut buffer = [0; 4096];
            for _ in 0..count {
                let (len, from) = socket.recv_from(&mut buffer).expect("a question");
                reply(&socket, from, &buffer[..len]);
            }
        });
    });
}

/// The answer `203.0.113.<last>` to a question.
fn record(question: &[u8], last: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[7] = 1;
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, last]);
    answer
}

#[test]
fn other_names_are_forwarded_and_only_true_answers_believed() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let refusing: SocketAddr = "127.0.0.1:5".parse().expect("an address");
    let servers = vec![refusing, (REMOTE, 53).into()];
    let _server = Running::start(&world, &client, Upstream::Fixed(servers));
    upstream(&world, 2, |socket, from, question| {
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut answer = record(question, 66);
            change(&mut answer);
            socket.send_to(&answer, from).expect("send");
        };
        assert_ne!(question[..2], [0x42, 0x42], "the client's id is not used outside");
        forged(|answer| answer[0] ^= 1);
        forged(|answer| answer[13] ^= 1);
        forged(|answer| answer[2] &= 0x7f);
        forged(|answer| answer.truncate(11));
        let other = UdpSocket::bind((REMOTE, 0)).expect("another port");
        other.send_to(&record(question, 66), from).expect("send");
        socket.send_to(&record(question, 1), from).expect("send");
    });
    assert_eq!(ask(&client, "example.com", A), ok(&[&[203, 0, 113, 1]]));
    assert_eq!(ask(&client, "example.com", AAAA).code, 0);
}

#[test]
fn a_silent_server_is_given_up() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _server = Running::start(&world, &client, Upstream::Fixed(vec![(REMOTE, 53).into()]));
    upstream(&world, 1, |_, _, _| {});
    let started = Instant::now();
    assert_eq!(ask(&client, "example.com", A).code, 2);
    assert!(started.elapsed() < Duration::from_secs(5), "before the client gives up");
    assert_eq!(ask(&client, "client", A).addresses(), [client.address()], "and the server lives on");
}

#[test]
fn tcp_is_answered_and_forwarded() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _server = Running::start(&world, &client, Upstream::Fixed(vec![(REMOTE, 53).into()]));
    let listener = world.remote(|| TcpListener::bind((REMOTE, 53)).expect("listen"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut framed = [0; 512];
        let len = stream.read(&mut framed).expect("a question");
        let answer = record(&framed[2..len], 9);
        stream.write_all(&(answer.len() as u16).to_be_bytes()).expect("write");
        stream.write_all(&answer).expect("write");
    });
    let answers = ask_tcp(&client, &["client", "example.com", "client"]);
    let local = ok(&[&client.address().octets()]);
    assert_eq!(answers[0], local);
    assert_eq!(answers[1], ok(&[&[203, 0, 113, 9]]));
    assert_eq!(answers[2], local);
    // A client that promises more than any question has is cut off.
    client.run(|| {
        let mut stream = TcpStream::connect((ADDRESS, 53)).expect("connect");
        stream.write_all(&[0xff, 0xff, 1]).expect("write");
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    });
}

#[test]
fn a_flood_of_unanswered_questions_does_no_harm() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _server = Running::start(&world, &client, Upstream::Fixed(vec![(REMOTE, 53).into()]));
    upstream(&world, 1000, |_, _, _| {});
    client.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for id in 0..300 {
            socket.send_to(&question(id, "example.com", A), (ADDRESS, 53)).expect("send");
            socket.send_to(&[id as u8; 20], (ADDRESS, 53)).expect("send");
        }
    });
    // A datagram that found the queue full is lost, as ever; clients ask again.
    let answered = client.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        (0..20).any(|_| {
            socket.send_to(&question(9, "client", A), (ADDRESS, 53)).expect("send");
            socket.recv(&mut [0; 512]).is_ok()
        })
    });
    assert!(answered);
}

#[test]
fn an_answer_too_long_for_a_datagram_is_asked_for_over_tcp() {
    let world = World::new(false);
    let network = world.network("n");
    let client = world.container(&network, 2, "client");
    let _server = Running::start(&world, &client, Upstream::Fixed(vec![(REMOTE, 53).into()]));
    upstream(&world, 1, |socket, from, question| {
        let mut answer = record(question, 1);
        answer.resize(5000, 0);
        socket.send_to(&answer, from).expect("send");
    });
    assert_eq!(ask(&client, "example.com", A), Answer { code: 0, cut: true, data: vec![] });
}
