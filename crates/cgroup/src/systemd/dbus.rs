//! As much of D-Bus as talking to systemd takes, over its own socket, where no bus is in between.
//!
//! See the D-Bus specification, "Message Protocol". A library would bring an asynchronous runtime or libdbus for four calls.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long systemd may take for a job or an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// No message of systemd's to us comes near this.
const MAX_MESSAGE: usize = 1 << 20;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A value with its type, as a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    String(String),
    Bytes(Vec<u8>),
    U32s(Vec<u32>),
    Strings(Vec<String>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::String(_) => "s",
            Self::Bytes(_) => "ay",
            Self::U32s(_) => "au",
            Self::Strings(_) => "as",
        }
    }
}

/// Marshals the body of a message.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
}

impl Body {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    pub fn bool(&mut self, value: bool) {
        self.fixed(u32::from(value).to_le_bytes());
    }

    /// Also an object path.
    pub fn string(&mut self, text: &str) {
        self.fixed((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements, aligned to `to`, are what `fill` writes.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.fixed([0; 4]);
        let length_at = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::I32(value) => self.fixed(value.to_le_bytes()),
            Value::U32(value) => self.fixed(value.to_le_bytes()),
            Value::I64(value) => self.fixed(value.to_le_bytes()),
            Value::U64(value) => self.fixed(value.to_le_bytes()),
            Value::String(text) => self.string(text),
            Value::Bytes(bytes) => self.array(1, |body| body.bytes.extend(bytes)),
            Value::U32s(all) => self.numbers(all),
            Value::Strings(all) => self.array(4, |body| all.iter().for_each(|one| body.string(one))),
        }
    }

    /// `au`
    pub fn numbers(&mut self, all: &[u32]) {
        self.array(4, |body| all.iter().for_each(|one| body.fixed(one.to_le_bytes())));
    }

    /// `a(sv)`
    pub fn properties(&mut self, all: &[(String, Value)]) {
        self.array(8, |body| {
            for (name, value) in all {
                body.align(8);
                body.string(name);
                body.variant(value);
            }
        });
    }

    /// `a(sa(sv))` without elements.
    pub fn no_units(&mut self) {
        self.array(8, |_| {});
    }
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    pub object: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    /// Of the body.
    pub signature: &'a str,
}

/// A message from the other side.
#[derive(Debug)]
pub struct Message {
    kind: u8,
    reply_to: u32,
    /// Of a signal.
    pub member: String,
    error: String,
    body: Vec<u8>,
}

impl Message {
    pub fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Unmarshals.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(io::ErrorKind::InvalidData)?;
        let bytes = self.bytes.get(self.at..end).ok_or(io::ErrorKind::InvalidData)?;
        self.at = end;
        Ok(bytes)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    pub fn u32(&mut self) -> io::Result<u32> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four were taken")))
    }

    /// Also an object path.
    pub fn string(&mut self) -> io::Result<String> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.take(1)?[0].into();
        self.text(length)
    }

    fn text(&mut self, length: usize) -> io::Result<String> {
        let text = String::from_utf8(self.take(length)?.to_vec());
        self.take(1)?;
        text.map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The string in a variant.
    pub fn variant_string(&mut self) -> io::Result<String> {
        match self.signature()?.as_str() {
            "s" | "o" => self.string(),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    Io(io::Error),
    /// The other side said no: the error's name and text.
    Refused {
        name: String,
        text: String,
    },
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection to a peer that is no bus.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    /// Signals that arrived while an answer was waited for.
    signals: Vec<Message>,
}

impl Connection {
    /// Connects and says who the caller is, which the kernel confirms.
    pub fn open(socket: &Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let uid = sys::user::effective_uid().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        // All at once: a BEGIN that arrives together with the first message would leave that unread (sd-bus 252).
        stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < 512 {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { stream, serial: 0, signals: Vec::new() })
    }

    /// Calls a method and waits for the answer.
    pub fn call(&mut self, method: Method<'_>, body: Body) -> Result<Message, CallError> {
        self.serial += 1;
        let mut message = Body::default();
        message.bytes.extend([b'l', METHOD_CALL, 0, 1]);
        message.fixed((body.bytes.len() as u32).to_le_bytes());
        message.fixed(self.serial.to_le_bytes());
        message.array(8, |header| {
            let mut field = |code: u8, kind: &str, text: &str| {
                header.align(8);
                header.bytes.push(code);
                header.signature(kind);
                match kind {
                    "g" => header.signature(text),
                    _ => header.string(text),
                }
            };
            field(1, "o", method.object);
            field(2, "s", method.interface);
            field(3, "s", method.member);
            if !method.signature.is_empty() {
                field(8, "g", method.signature);
            }
        });
        message.align(8);
        message.bytes.extend(body.bytes);
        self.stream.write_all(&message.bytes)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                METHOD_RETURN if message.reply_to == self.serial => return Ok(message),
                ERROR if message.reply_to == self.serial => {
                    let text = message.reader().string().unwrap_or_default();
                    return Err(CallError::Refused { name: message.error, text });
                }
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// The next signal.
    pub fn signal(&mut self) -> io::Result<Message> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed)?;
        let word = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes")) as usize;
        let (body, fields) = (word(4), word(12));
        if fixed[0] != b'l' || body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let header = (fixed.len() + fields).next_multiple_of(8);
        let mut bytes = fixed.to_vec();
        bytes.resize(header + body, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        let mut message = Message {
            kind: fixed[1],
            reply_to: 0,
            member: String::new(),
            error: String::new(),
            body: bytes.split_off(header),
        };
        let mut reader = Reader { bytes: &bytes[..16 + fields], at: 16 };
        while reader.at < reader.bytes.len() {
            reader.align(8);
            let code = reader.take(1)?[0];
            match (code, reader.signature()?.as_str()) {
                (5, "u") => message.reply_to = reader.u32()?,
                (3, "s") => message.member = reader.string()?,
                (4, "s") => message.error = reader.string()?,
                (_, "u") => drop(reader.u32()?),
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_aligned() {
        let mut body = Body::default();
        body.string("ab");
        body.properties(&[("P".into(), Value::U64(7))]);
        let expected = [
            &[2, 0, 0, 0, b'a', b'b', 0, 0][..],
            &[24, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'P', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(body.bytes, expected.concat());
        let mut reader = Reader { bytes: &body.bytes, at: 0 };
        assert_eq!(reader.string().unwrap(), "ab");
        assert_eq!(reader.u32().unwrap(), 24);
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        for bytes in [&[9, 0, 0, 0, b'a'][..], &[255, 255, 255, 255], &[1, 0, 0, 0, 0xff, 0]] {
            assert!(Reader { bytes, at: 0 }.string().is_err());
        }
    }
}
