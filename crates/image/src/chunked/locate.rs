//! Finding a layer's index, by what the manifest says of the layer.

use std::collections::BTreeMap;
use std::io::Read;

use oci::Digest;
use oci::image::Descriptor;

use super::toc::MAX_TOC;
use super::{FileIndex, PieceCompression, TocError};
use crate::archive::Reader;

const ZSTD_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
const ZSTD_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
const STARGZ_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
const STARGZ_FOOTER: u64 = 51;
const STARGZ_NAME: &[u8] = b"stargz.index.json";

/// Where a layer's index is in its blob, by what is known so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexPlace {
    /// Compressed at these bytes; the digest is that of the compressed bytes.
    Zstd { start: u64, end: u64, size: u64, digest: Digest },
    /// Named by the last bytes of the blob, which are to be read first; the digest is that of the document.
    StargzFooter { start: u64, end: u64, digest: Digest },
    /// A gzip stream with a tar archive of one file.
    Stargz { start: u64, end: u64, digest: Digest },
}

/// Why a layer's index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error("annotation {name} of the layer is invalid: {value:?}")]
    Annotation { name: &'static str, value: String },
    #[error("the layer's footer does not say where its index is")]
    Footer,
    #[error("index of the layer's files is larger than {MAX_TOC} bytes")]
    TooLarge,
    #[error("index of the layer's files is {found}, not {expected}")]
    Digest { expected: Digest, found: Digest },
    #[error("index of the layer's files cannot be decompressed")]
    Decompress(#[source] std::io::Error),
    #[error(transparent)]
    Toc(#[from] TocError),
}

impl IndexPlace {
    /// Where the index of `layer` is; `None` when it has none.
    ///
    /// # Errors
    /// [`LocateError::Annotation`].
    pub fn of(layer: &Descriptor) -> Result<Option<Self>, LocateError> {
        let Annotated { digest, name, value } = match annotated(&layer.annotations) {
            Some(annotated) => annotated,
            None => return Ok(None),
        };
        let invalid = |name, value: &str| LocateError::Annotation { name, value: value.to_owned() };
        let digest = digest.parse().map_err(|_| invalid(name, digest))?;
        if name == STARGZ_DIGEST {
            let start = layer.size.checked_sub(STARGZ_FOOTER).ok_or(LocateError::Footer)?;
            return Ok(Some(Self::StargzFooter { start, end: layer.size, digest }));
        }
        let numbers: Option<Vec<u64>> = value.split(':').map(|part| part.parse().ok()).collect();
        // The fourth says that the index is of the kind that is read here.
        let Some([start, length, size, 1]) = numbers.as_deref() else {
            return Err(invalid(ZSTD_POSITION, value));
        };
        let end = start.checked_add(*length).filter(|end| *end <= layer.size && *length > 0);
        let end = end.ok_or_else(|| invalid(ZSTD_POSITION, value))?;
        if *size > MAX_TOC || *length > MAX_TOC {
            return Err(LocateError::TooLarge);
        }
        Ok(Some(Self::Zstd { start: *start, end, size: *size, digest }))
    }

    /// The bytes of the blob to read next.
    pub fn range(&self) -> (u64, u64) {
        match *self {
            Self::Zstd { start, end, .. }
            | Self::StargzFooter { start, end, .. }
            | Self::Stargz { start, end, .. } => (start, end),
        }
    }

    /// Takes in the bytes of [`IndexPlace::range`]: the index, or where it is.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn read(&self, bytes: &[u8]) -> Result<Result<FileIndex, Self>, LocateError> {
        match *self {
            Self::Zstd { start, size, digest, .. } => {
                verify(bytes, digest)?;
                let json = zstd::Decoder::with_buffer(bytes).map_err(LocateError::Decompress)?;
                let json = bounded(json, size)?;
                // The frame's own header stands before it.
                Ok(Ok(FileIndex::parse(&json, PieceCompression::Zstd, start)?))
            }
            Self::StargzFooter { start, digest, .. } => {
                let toc = footer(bytes).filter(|toc| *toc < start).ok_or(LocateError::Footer)?;
                if start - toc > MAX_TOC {
                    return Err(LocateError::TooLarge);
                }
                Ok(Err(Self::Stargz { start: toc, end: start, digest }))
            }
            Self::Stargz { start, digest, .. } => {
                let json = stargz_document(bytes)?;
                verify(&json, digest)?;
                Ok(Ok(FileIndex::parse(&json, PieceCompression::Gzip, start)?))
            }
        }
    }
}

struct Annotated<'a> {
    digest: &'a str,
    name: &'static str,
    value: &'a str,
}

fn annotated(annotations: &BTreeMap<String, String>) -> Option<Annotated<'_>> {
    let get = |name: &str| annotations.get(name).map(String::as_str);
    if let (Some(digest), Some(value)) = (get(ZSTD_DIGEST), get(ZSTD_POSITION)) {
        return Some(Annotated { digest, name: ZSTD_DIGEST, value });
    }
    get(STARGZ_DIGEST).map(|digest| Annotated { digest, name: STARGZ_DIGEST, value: "" })
}

/// The annotations by which a zstd:chunked layer's index is found.
pub(super) fn zstd_annotations(start: u64, compressed: &[u8], size: u64) -> BTreeMap<String, String> {
    BTreeMap::from([
        (ZSTD_DIGEST.to_owned(), Digest::of(compressed).to_string()),
        (ZSTD_POSITION.to_owned(), format!("{start}:{}:{size}:1", compressed.len())),
    ])
}

fn verify(bytes: &[u8], expected: Digest) -> Result<(), LocateError> {
    match Digest::of(bytes) {
        found if found == expected => Ok(()),
        found => Err(LocateError::Digest { expected, found }),
    }
}

fn bounded(input: impl Read, size: u64) -> Result<Vec<u8>, LocateError> {
    let mut bytes = Vec::new();
    input.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(LocateError::Decompress)?;
    if bytes.len() as u64 > size {
        return Err(LocateError::TooLarge);
    }
    Ok(bytes)
}

/// An empty gzip stream whose extra field is 16 hexadecimal digits and `STARGZ`.
fn footer(bytes: &[u8]) -> Option<u64> {
    let extra = bytes.strip_prefix(&[0x1f, 0x8b, 8, 4])?.get(8..)?;
    let text = extra.strip_prefix(&[b'S', b'G', 22, 0])?.get(..22)?.strip_suffix(b"STARGZ")?;
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn stargz_document(bytes: &[u8]) -> Result<Vec<u8>, LocateError> {
    let damaged = |e| LocateError::Decompress(std::io::Error::new(std::io::ErrorKind::InvalidData, e));
    let input = std::io::BufReader::new(flate2::bufread::GzDecoder::new(bytes).take(MAX_TOC + 4096));
    let mut archive = Reader::new(input);
    let entry = archive.next_entry().map_err(damaged)?;
    if entry.is_none_or(|entry| entry.path != STARGZ_NAME || entry.size > MAX_TOC) {
        return Err(LocateError::Footer);
    }
    let mut json = Vec::new();
    loop {
        let data = archive.data().map_err(damaged)?;
        if data.is_empty() {
            return Ok(json);
        }
        json.extend_from_slice(data);
        let length = data.len();
        archive.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_outside_the_blob_are_refused() {
        let mut layer = Descriptor::new(oci::media::OCI_LAYER_ZSTD, Digest::of(b""), 100);
        assert_eq!(IndexPlace::of(&layer).unwrap(), None);
        let mut check = |position: &str, is_good| {
            layer.annotations = zstd_annotations(0, b"", 0);
            layer.annotations.insert(ZSTD_POSITION.to_owned(), position.to_owned());
            assert_eq!(IndexPlace::of(&layer).is_ok(), is_good, "{position}");
        };
        check("10:90:900:1", true);
        check("10:91:900:1", false);
        check("10:90:900:2", false);
        check("10:0:900:1", false);
        check("10:90:99999999999:1", false);
        check("18446744073709551615:90:9:1", false);
        check("", false);
    }

    #[test]
    fn footers() {
        let mut bytes = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0];
        bytes.extend_from_slice(b"00000000000000ffSTARGZ");
        bytes.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.len() as u64, STARGZ_FOOTER);
        assert_eq!(footer(&bytes), Some(255));
        bytes[30] = b'x';
        assert_eq!(footer(&bytes), None);
    }
}
