//! A blob on its way that ends well only when it is what it should be.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oci::image::Descriptor;
use oci::{Digest, Hasher};

/// Why a stream ended badly, for who only sees what became of it.
pub type Failure = Arc<Mutex<Option<io::Error>>>;

/// Passes bytes on while hashing them.
pub struct Verified {
    inner: Box<dyn Read + Send>,
    hasher: Option<Hasher>,
    expected: Digest,
    left: u64,
    stop: Arc<AtomicBool>,
    failure: Failure,
}

/// A blob that is not what its descriptor says.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("content is {0}")]
    Digest(Digest),
    #[error("content has {0} bytes too few")]
    Short(u64),
    #[error("content has more bytes than announced")]
    Long,
}

impl Verified {
    pub fn new(
        inner: Box<dyn Read + Send>,
        descriptor: &Descriptor,
        stop: Arc<AtomicBool>,
        failure: Failure,
    ) -> Self {
        let Descriptor { digest, size, .. } = *descriptor;
        Self { inner, hasher: Some(Hasher::new()), expected: digest, left: size, stop, failure }
    }

    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.verify()?;
            return match self.inner.read(&mut buffer[..1])? {
                0 => Ok(0),
                _ => Err(invalid(ContentError::Long)),
            };
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let length = self.inner.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(invalid(ContentError::Short(self.left)));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..length]);
        }
        self.left -= length as u64;
        if self.left == 0 {
            // Before the last bytes are given away: who knows their number asks for no more.
            self.verify()?;
        }
        Ok(length)
    }

    fn verify(&mut self) -> io::Result<()> {
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.expected => Err(invalid(ContentError::Digest(found))),
            _ => Ok(()),
        }
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another blob failed"));
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            told
        })
    }
}

fn invalid(error: ContentError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &'static [u8], expected: Option<&str>) {
        let descriptor = Descriptor::new("x", Digest::of(b"content"), 7);
        let mut stream = Verified::new(Box::new(bytes), &descriptor, Arc::default(), Arc::default());
        let mut read = Vec::new();
        let error = stream.read_to_end(&mut read).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), expected);
        assert!(read.len() <= 7);
    }

    #[test]
    fn only_the_announced_bytes_end_well() {
        check(b"content", None);
        check(b"conten", Some("content has 1 bytes too few"));
        check(b"contents", Some("content has more bytes than announced"));
        check(b"CONTENT", Some(&format!("content is {}", Digest::of(b"CONTENT"))));
    }
}
