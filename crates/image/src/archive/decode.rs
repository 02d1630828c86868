//! Compressed streams, recognised by their first bytes.

use std::io::{self, BufRead, BufReader, Cursor, Read};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Recognises the magic numbers; anything else is taken as uncompressed.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A zstd frame, or a skippable frame before it (as made by pzstd).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// The media type of a layer compressed like this; `None` where the specification has none.
    pub fn layer_media_type(self) -> Option<&'static str> {
        match self {
            Self::None => Some(oci::media::OCI_LAYER),
            Self::Gzip => Some(oci::media::OCI_LAYER_GZIP),
            Self::Zstd => Some(oci::media::OCI_LAYER_ZSTD),
            Self::Bzip2 | Self::Xz => None,
        }
    }
}

/// Reads `input` uncompressed, whatever it is; several concatenated streams are one.
///
/// # Errors
/// Those of reading the first bytes.
pub fn decode<'a, R: Read + Send + 'a>(
    mut input: R,
) -> io::Result<(Compression, Box<dyn BufRead + Send + 'a>)> {
    let mut start = Vec::with_capacity(6);
    input.by_ref().take(6).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    Ok((compression, decode_as(compression, Cursor::new(start).chain(input))?))
}

/// Reads `input`, which is compressed as said.
///
/// # Errors
/// Those of setting the decoder up.
pub fn decode_as<'a, R: Read + Send + 'a>(
    compression: Compression,
    input: R,
) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    const BUFFER: usize = 128 << 10;
    let input = BufReader::with_capacity(BUFFER, input);
    let buffered = |decoder: Box<dyn Read + Send + 'a>| Box::new(BufReader::with_capacity(BUFFER, decoder));
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => buffered(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
        Compression::Zstd => buffered(Box::new(zstd::Decoder::with_buffer(input)?)),
        Compression::Bzip2 => buffered(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
        Compression::Xz => buffered(Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(input))),
    })
}
