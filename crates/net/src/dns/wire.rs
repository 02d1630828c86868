//! DNS messages: as much of RFC 1035 and RFC 6891 as a server of addresses and a careful forwarder need.
//!
//! Bytes come from programs in the container and from resolvers outside; nothing here panics, recurses or follows pointers.

use std::net::Ipv4Addr;

pub(crate) const TYPE_A: u16 = 1;
pub(crate) const TYPE_PTR: u16 = 12;
pub(crate) const TYPE_ANY: u16 = 255;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

const HEADER: usize = 12;
/// What a client without EDNS can take over UDP.
const PLAIN_UDP: usize = 512;
/// What we say we can take, and give at most: the size that is never fragmented.
const EDNS_UDP: u16 = 1232;
/// Seconds an answer may be kept. Addresses change hands when containers are replaced, and asking again costs 0.1 ms.
const TTL: u32 = 5;

/// Response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NotImplemented = 4,
}

/// Whether the answer is a server's admission that it cannot help, so that the next one should be asked.
pub(crate) fn is_failure(answer: &[u8]) -> bool {
    // SERVFAIL, NOTIMP, REFUSED
    answer.get(3).is_some_and(|flags| matches!(flags & 0xf, 2 | 4 | 5))
}

/// A question, as far as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// Opcode and the wish for recursion, to be repeated.
    flags: u8,
    /// Lower-case, labels joined by dots, without the last one; `None` when a label contains what names do not.
    pub(crate) name: Option<String>,
    pub(crate) kind: u16,
    class: u16,
    /// The question section as it was sent.
    question: Vec<u8>,
    /// How much the client takes over UDP, when it said so.
    edns: Option<u16>,
}

/// What to do with bytes that are no question we answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Not even a header, or itself an answer: silence.
    Ignore,
    /// Say so.
    Reply(Vec<u8>),
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    A(Ipv4Addr),
    Ptr(String),
}

impl Query {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Rejection> {
        let header: &[u8; HEADER] = message.first_chunk().ok_or(Rejection::Ignore)?;
        let flags = header[2];
        if flags & 0x80 != 0 {
            return Err(Rejection::Ignore);
        }
        let reject = |code: Code| {
            let mut reply = header.to_vec();
            reply[2] = 0x80 | flags & 0x79;
            reply[3] = 0x80 | code as u8;
            reply[4..].fill(0);
            Rejection::Reply(reply)
        };
        if flags & 0x78 != 0 {
            return Err(reject(Code::NotImplemented));
        }
        let (end, name) = read_name(message, HEADER).ok_or_else(|| reject(Code::FormatError))?;
        let question = message.get(HEADER..end + 4).filter(|_| header[4..6] == [0, 1]);
        let question = question.ok_or_else(|| reject(Code::FormatError))?;
        Ok(Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            flags: flags & 0x79,
            name,
            kind: word(message, end).unwrap_or_default(),
            class: word(message, end + 2).unwrap_or_default(),
            question: question.to_vec(),
            edns: read_edns(message, end + 4),
        })
    }

    /// Whether the question is about the Internet, as opposed to CHAOS and the like.
    pub(crate) fn is_internet(&self) -> bool {
        matches!(self.class, CLASS_IN | CLASS_ANY)
    }

    /// The address a reverse look-up asks for.
    pub(crate) fn reverse(&self) -> Option<Ipv4Addr> {
        let mut labels = self.name.as_deref()?.strip_suffix(".in-addr.arpa")?.rsplit('.');
        let mut octets = [0; 4];
        for octet in &mut octets {
            *octet = labels.next()?.parse().ok()?;
        }
        labels.next().is_none().then(|| octets.into())
    }

    /// The answer that consists of `records`; `datagram` cuts it to what the client takes over UDP.
    pub(crate) fn answer(&self, code: Code, records: &[Record], datagram: bool) -> Vec<u8> {
        let limit = match (datagram, self.edns) {
            (false, _) => usize::from(u16::MAX),
            (true, Some(size)) => usize::from(size.clamp(PLAIN_UDP as u16, EDNS_UDP)),
            (true, None) => PLAIN_UDP,
        };
        let full = self.encode(code, records, false);
        if full.len() <= limit { full } else { self.cut() }
    }

    /// The answer that tells the client to ask again over TCP.
    pub(crate) fn cut(&self) -> Vec<u8> {
        self.encode(Code::NoError, &[], true)
    }

    fn encode(&self, code: Code, records: &[Record], truncated: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.question.len() + 16 * records.len() + 11);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(0x80 | self.flags | (u8::from(code == Code::NoError) << 2) | u8::from(truncated) << 1);
        out.push(0x80 | code as u8);
        for count in [1, records.len() as u16, 0, u16::from(self.edns.is_some())] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        out.extend_from_slice(&self.question);
        for record in records {
            let (kind, data) = match record {
                Record::A(address) => (TYPE_A, address.octets().to_vec()),
                Record::Ptr(name) => (TYPE_PTR, encode_name(name)),
            };
            // The name is the question's, which follows the header.
            out.extend_from_slice(&[0xc0, HEADER as u8]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&CLASS_IN.to_be_bytes());
            out.extend_from_slice(&TTL.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        if self.edns.is_some() {
            out.push(0);
            out.extend_from_slice(&TYPE_OPT.to_be_bytes());
            out.extend_from_slice(&EDNS_UDP.to_be_bytes());
            out.extend_from_slice(&[0; 6]);
        }
        out
    }

    /// Whether `message` answers this question under the id `id`.
    pub(crate) fn is_answered_by(&self, id: u16, message: &[u8]) -> bool {
        let Some(header) = message.first_chunk::<HEADER>() else { return false };
        let question = message.get(HEADER..HEADER + self.question.len());
        header[..2] == id.to_be_bytes()
            && header[2] & 0x80 != 0
            && header[4..6] == [0, 1]
            && question.is_some_and(|question| question.eq_ignore_ascii_case(&self.question))
    }
}

/// Writes another id into a message.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.first_chunk_mut() {
        *bytes = id.to_be_bytes();
    }
}

/// Where the name at `start` ends, and the name itself unless it has a byte that no registered name has.
///
/// `None` when it is malformed or compressed, which makes no sense in a question.
fn read_name(message: &[u8], start: usize) -> Option<(usize, Option<String>)> {
    let mut at = start;
    let mut name = String::new();
    let mut plain = true;
    loop {
        let len = usize::from(*message.get(at)?);
        if len == 0 {
            return Some((at + 1, plain.then_some(name)));
        }
        let label = message.get(at + 1..at + 1 + len).filter(|_| len < 64)?;
        at += 1 + len;
        if at - start > 254 {
            return None;
        }
        plain &= label.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'.' | b'/'));
        if plain {
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        }
    }
}

/// The client's UDP size, when the record after the question is OPT.
fn read_edns(message: &[u8], at: usize) -> Option<u16> {
    let sections_before = message.get(6..10)?;
    if sections_before != [0; 4] || message.get(at) != Some(&0) || word(message, at + 1)? != TYPE_OPT {
        return None;
    }
    word(message, at + 3)
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
    out
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(encode_name(name));
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }

    fn with_edns(mut message: Vec<u8>, size: u16) -> Vec<u8> {
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41]);
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&[0; 6]);
        message
    }

    #[test]
    fn questions_are_understood() {
        let query = Query::parse(&ask("Web.Front", TYPE_A)).unwrap();
        assert_eq!((query.id, query.name.as_deref(), query.kind), (0x1234, Some("web.front"), TYPE_A));
        assert_eq!(Query::parse(&with_edns(ask("a", 28), 4096)).unwrap().edns, Some(4096));
        let query = Query::parse(&ask("2.0.18.172.in-addr.arpa", TYPE_PTR)).unwrap();
        assert_eq!(query.reverse(), Some(Ipv4Addr::new(172, 18, 0, 2)));
        for name in [
            "0.18.172.in-addr.arpa",
            "1.2.0.18.172.in-addr.arpa",
            "300.0.18.172.in-addr.arpa",
            "in-addr.arpa",
        ] {
            assert_eq!(Query::parse(&ask(name, TYPE_PTR)).unwrap().reverse(), None, "{name}");
        }
    }

    #[test]
    fn answers_have_the_shape_of_the_question() {
        let query = Query::parse(&with_edns(ask("Web", TYPE_A), 1232)).unwrap();
        let answer = query.answer(Code::NoError, &[Record::A(Ipv4Addr::new(10, 0, 0, 2))], true);
        let mut expected =
            vec![0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1, 3, b'W', b'e', b'b', 0, 0, 1, 0, 1];
        expected.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 2]);
        expected.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer, expected);
        assert!(query.is_answered_by(0x1234, &answer));
        assert!(!query.is_answered_by(0x1235, &answer));
        assert!(!Query::parse(&ask("other", TYPE_A)).unwrap().is_answered_by(0x1234, &answer));
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_left_to_tcp() {
        let many: Vec<_> = (0..200).map(|n| Record::A(Ipv4Addr::from_bits(n))).collect();
        let query = Query::parse(&ask("web", TYPE_A)).unwrap();
        let cut = query.answer(Code::NoError, &many, true);
        assert_eq!((cut[2] & 2, &cut[6..8], cut.len() <= 512), (2, &[0, 0][..], true));
        let whole = query.answer(Code::NoError, &many, false);
        assert_eq!((whole[2] & 2, &whole[6..8]), (0, &[0, 200][..]));
    }

    #[test]
    fn nonsense_is_refused_or_ignored() {
        let reply = |message: &[u8]| match Query::parse(message) {
            Err(Rejection::Reply(reply)) => Some(reply[3] & 0xf),
            Err(Rejection::Ignore) => None,
            Ok(query) => panic!("{query:?}"),
        };
        let good = ask("web", TYPE_A);
        let change = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            message
        };
        assert_eq!(reply(&[]), None);
        assert_eq!(reply(&good[..11]), None);
        assert_eq!(reply(&change(2, 0x81)), None, "an answer");
        assert_eq!(reply(&change(2, 0x28)), Some(4), "an update");
        assert_eq!(reply(&good[..good.len() - 1]), Some(1));
        assert_eq!(reply(&change(5, 2)), Some(1), "two questions");
        assert_eq!(reply(&change(12, 0xc0)), Some(1), "a pointer");
        assert_eq!(reply(&change(12, 63)), Some(1), "a label beyond the end");
        let endless: Vec<u8> = good[..12].iter().copied().chain([1, b'a'].repeat(200)).collect();
        assert_eq!(reply(&endless), Some(1));
        for byte in [b'/', b'.', 0, b' ', 0xff] {
            assert_eq!(Query::parse(&change(13, byte)).unwrap().name, None, "{byte}");
        }
    }

    /// Every message that differs from a good one in one byte, or ends early, or is noise, is handled without a panic.
    #[test]
    fn no_bytes_are_dangerous() {
        let good = with_edns(ask("web.front.example", TYPE_A), 4096);
        let try_all = |message: &[u8]| {
            if let Ok(query) = Query::parse(message) {
                let answer = query.answer(Code::NoError, &[Record::Ptr("a..b".repeat(40))], true);
                assert!(answer.len() <= 1232 && query.is_answered_by(query.id, &answer));
                query.reverse();
                assert!(!query.is_answered_by(query.id, message), "a question is no answer");
            }
            is_failure(message);
        };
        for at in 0..good.len() {
            try_all(&good[..at]);
            for byte in 0..=255 {
                let mut message = good.clone();
                message[at] = byte;
                try_all(&message);
            }
        }
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            let len = noise[0] as usize % 40;
            try_all(&noise[..len]);
            try_all(&[&good[..12], &noise[..]].concat());
        }
    }
}
