//! The wire format: `nlmsghdr`, attributes, nesting; see netlink(7).

/// Bytes of a `nlmsghdr`.
pub const HEADER: usize = 16;
pub(crate) const ERROR: u16 = libc::NLMSG_ERROR as u16;
pub(crate) const DONE: u16 = libc::NLMSG_DONE as u16;

const NESTED: u16 = libc::NLA_F_NESTED as u16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// Rounds up to netlink's alignment of four bytes.
pub(crate) fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// Messages that travel in one system call.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
    count: usize,
    about: Vec<(usize, String)>,
    transaction: bool,
    dump: bool,
}

impl Batch {
    /// A batch of independent messages, sequence numbers from 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks that the messages stand or fall together, the first one opening the transaction.
    pub(crate) fn set_transaction(&mut self) {
        self.transaction = true;
    }

    pub(crate) fn is_dump(&self) -> bool {
        self.dump
    }

    pub(crate) fn is_transaction(&self) -> bool {
        self.transaction
    }

    /// Appends a message of type `kind` that `fill` completes.
    pub fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        self.count += 1;
        self.dump |= flags & DUMP == DUMP;
        let mut header = [0; HEADER];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&(self.count as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&header);
        fill(&mut Writer { bytes: &mut self.bytes });
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.last = start;
    }

    /// Asks the kernel to acknowledge the last message, so that somebody answers when nothing is wrong.
    pub fn acknowledge(&mut self) {
        if self.count > 0 {
            let flags = &mut self.bytes[self.last + 6..self.last + 8];
            let value = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&value.to_ne_bytes());
        }
    }

    /// Says what the last message is about, for the error that names it.
    pub fn label(&mut self, about: String) {
        self.about.push((self.count - 1, about));
    }

    pub(crate) fn about(&self, index: usize) -> Option<String> {
        self.about.iter().find(|(i, _)| *i == index).map(|(_, text)| text.clone())
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The index of the last message that asks for an acknowledgement or a dump.
    pub(crate) fn last(&self) -> usize {
        // The closing message of a transaction is not answered.
        self.count - if self.transaction { 2 } else { 1 }
    }

    /// The message an answer with this sequence number belongs to.
    pub(crate) fn index_of(&self, sequence: u32) -> Option<usize> {
        (sequence as usize).checked_sub(1).filter(|index| *index < self.count)
    }
}

/// Appends headers and attributes to a message.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Appends a family header or padding as it is.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(align(self.bytes.len()), 0);
        self
    }

    /// Appends one attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// Appends a string and its terminator.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&((value.len() + 5) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.resize(start + align(value.len() + 5), 0);
        self
    }

    /// Appends a number in the machine's byte order, as rtnetlink wants it.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a number in network byte order, as nf_tables wants it.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends an attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(&mut Writer { bytes: self.bytes });
        let len = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self
    }
}

/// One message of an answer.
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages in one datagram; stops at the first malformed one.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let len = u32::from_ne_bytes(header[..4].try_into().ok()?) as usize;
        let payload = bytes.get(HEADER..len)?;
        let answer = Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            payload,
        };
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some(answer)
    })
}

/// The attributes in a payload, as type without flags and value.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The value of the first attribute of type `kind`.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes inside the attribute of type `kind`; none when it is absent.
    pub fn nested(&self, kind: u16) -> Attributes<'a> {
        Attributes::new(self.get(kind).unwrap_or_default())
    }

    /// A string without its terminator.
    pub fn string(&self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// A number in the machine's byte order.
    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A number in network byte order.
    pub fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.bytes.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & libc::NLA_TYPE_MASK as u16;
        let value = self.bytes.get(4..len)?;
        self.bytes = self.bytes.get(align(len)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aligned_and_numbered() {
        let mut batch = Batch::new();
        batch.message(16, 0, |w| {
            w.raw(&[1, 2, 3]).string(3, "eth0").nest(18, |w| {
                w.u32(1, 7);
            });
        });
        batch.message(17, 0, |_| {});
        batch.acknowledge();
        let found: Vec<_> =
            answers(batch.bytes()).map(|a| (a.kind, a.flags, a.sequence, a.payload.len())).collect();
        assert_eq!(found, [(16, REQUEST, 1, 4 + 12 + 12), (17, REQUEST | ACK, 2, 0)]);
        let first = answers(batch.bytes()).next().unwrap();
        let attributes = Attributes::new(&first.payload[4..]);
        assert_eq!(attributes.string(3).as_deref(), Some("eth0"));
        assert_eq!(attributes.nested(18).u32(1), Some(7));
    }

    #[test]
    fn malformed_bytes_end_the_iteration() {
        for bytes in
            [&[][..], &[3, 0, 1, 0], &[0, 0, 0, 0, 1], &[255, 255, 1, 0, 0], &[1, 0, 0, 0, 8, 0, 1, 0]]
        {
            assert_eq!(Attributes::new(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(answers(&[0xff; 40]).count(), 0);
        assert_eq!(answers(&[0; 40]).count(), 0);
    }
}
