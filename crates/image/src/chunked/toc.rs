//! The index of a layer's files, as JSON: a "table of contents" that both formats share.

use std::collections::BTreeMap;

use oci::Digest;
use serde::{Deserialize, Serialize};

use super::PieceCompression;

/// An index of a layer of a million files has some 300 MB; one of 64 MiB stands for 200,000.
pub const MAX_TOC: u64 = 64 << 20;

/// What has to be decompressed in vain for a piece at most; pieces that share a stream are far smaller.
const MAX_SKIP: u64 = 64 << 20;

/// The document.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Toc {
    pub version: u32,
    pub entries: Vec<TocEntry>,
}

/// One file, or one further piece of the file before it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TocEntry {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: u32,
    #[serde(rename = "modtime", skip_serializing_if = "String::is_empty")]
    pub modified: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub dev_major: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub dev_minor: u32,
    /// Base64 of the values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// Of the whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub end_offset: u64,
    /// Where the piece begins in what is decompressed from `offset` on: small pieces may share one stream.
    #[serde(skip_serializing_if = "is_zero")]
    pub inner_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub chunk_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub chunk_offset: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub chunk_digest: String,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why an index is none.
#[derive(Debug, thiserror::Error)]
pub enum TocError {
    #[error("malformed index of the layer's files")]
    Syntax(#[from] serde_json::Error),
    #[error("index of the layer's files is version {0}, which is not known")]
    Version(u32),
    #[error("index of the layer's files has {name:?} with an invalid {field}")]
    Field { name: String, field: &'static str },
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    Directory,
    Regular {
        size: u64,
        pieces: Vec<Piece>,
    },
    Symlink(String),
    /// The path of the same layer's file it is another name of.
    HardLink(String),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// A run of a file's bytes that is compressed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file, and how many bytes it has there.
    pub at: u64,
    pub size: u64,
    /// Where it is in the blob; the end may be that of something behind it.
    pub offset: u64,
    pub end: u64,
    /// Uncompressed bytes of other pieces before it.
    pub skip: u64,
    /// Of the uncompressed bytes.
    pub digest: Digest,
}

/// One entry of a layer; whiteouts have their `.wh.` names here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Without slashes at either end.
    pub path: String,
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: i64,
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// All entries of a layer, in its order.
#[derive(Debug)]
pub struct FileIndex {
    pub compression: PieceCompression,
    pub files: Vec<Indexed>,
}

impl FileIndex {
    /// Reads an index whose digest was verified. `data_end` is where the layer's files end in the blob.
    ///
    /// # Errors
    /// [`TocError`]; pieces that overlap their neighbours, leave gaps or lie outside the blob are refused.
    pub fn parse(json: &[u8], compression: PieceCompression, data_end: u64) -> Result<Self, TocError> {
        let toc: Toc = serde_json::from_slice(json)?;
        if toc.version != 1 {
            return Err(TocError::Version(toc.version));
        }
        let ends = ends(&toc.entries, data_end);
        let mut files: Vec<Indexed> = Vec::with_capacity(toc.entries.len());
        for (entry, end) in toc.entries.iter().zip(ends) {
            let field = |field| TocError::Field { name: entry.name.clone(), field };
            if entry.kind == "chunk" {
                let file = files.last_mut().ok_or_else(|| field("chunk before any file"))?;
                let FileKind::Regular { size, pieces } = &mut file.kind else { return Err(field("chunk")) };
                pieces.push(piece(entry, *size, end, data_end)?);
                continue;
            }
            complete(files.last())?;
            files.push(indexed(entry, end, data_end)?);
        }
        complete(files.last())?;
        Ok(Self { compression, files })
    }
}

/// Where the bytes of each entry's piece end at the latest: where the next stream begins, when the index does not say.
fn ends(entries: &[TocEntry], data_end: u64) -> Vec<u64> {
    let (mut here, mut next) = (data_end, data_end);
    let mut ends: Vec<u64> = entries
        .iter()
        .rev()
        .map(|entry| {
            if entry.offset > 0 && entry.offset != here {
                (here, next) = (entry.offset, here);
            }
            if entry.end_offset > 0 { entry.end_offset } else { next }
        })
        .collect();
    ends.reverse();
    ends
}

fn piece(entry: &TocEntry, file_size: u64, end: u64, data_end: u64) -> Result<Piece, TocError> {
    let field = |field| TocError::Field { name: entry.name.clone(), field };
    // The last piece, and the only one, need not say their size.
    let rest = file_size.checked_sub(entry.chunk_offset).ok_or_else(|| field("chunkOffset"))?;
    let size = if entry.chunk_size > 0 { entry.chunk_size } else { rest };
    let digest = if entry.chunk_digest.is_empty() { &entry.digest } else { &entry.chunk_digest };
    let piece = Piece {
        at: entry.chunk_offset,
        size,
        offset: entry.offset,
        end,
        skip: entry.inner_offset,
        digest: digest.parse().map_err(|_| field("chunkDigest"))?,
    };
    if piece.size == 0 || piece.size > rest || piece.offset >= piece.end || piece.end > data_end {
        return Err(field("offset"));
    }
    if piece.skip > MAX_SKIP {
        return Err(field("innerOffset"));
    }
    Ok(piece)
}

/// Checks that the pieces of a file are all of it.
fn complete(file: Option<&Indexed>) -> Result<(), TocError> {
    let Some(Indexed { path, kind: FileKind::Regular { size, pieces }, .. }) = file else { return Ok(()) };
    let mut at = 0;
    for piece in pieces {
        if piece.at != at {
            return Err(TocError::Field { name: path.clone(), field: "chunkOffset" });
        }
        at += piece.size;
    }
    if at != *size {
        return Err(TocError::Field { name: path.clone(), field: "size" });
    }
    Ok(())
}

fn indexed(entry: &TocEntry, end: u64, data_end: u64) -> Result<Indexed, TocError> {
    use base64::Engine as _;
    let field = |field| TocError::Field { name: entry.name.clone(), field };
    let kind = match entry.kind.as_str() {
        "dir" => FileKind::Directory,
        "reg" if entry.size == 0 => FileKind::Regular { size: 0, pieces: Vec::new() },
        "reg" => {
            let first = piece(entry, entry.size, end, data_end)?;
            FileKind::Regular { size: entry.size, pieces: vec![first] }
        }
        "symlink" => FileKind::Symlink(entry.link_name.clone()),
        "hardlink" => FileKind::HardLink(clean(&entry.link_name).ok_or_else(|| field("linkName"))?),
        "char" => FileKind::Character(entry.dev_major, entry.dev_minor),
        "block" => FileKind::Block(entry.dev_major, entry.dev_minor),
        "fifo" => FileKind::Fifo,
        _ => return Err(field("type")),
    };
    let modified = match entry.modified.as_str() {
        "" => 0,
        text => text.parse::<jiff::Timestamp>().map_err(|_| field("modtime"))?.as_second(),
    };
    let mut xattrs = Vec::with_capacity(entry.xattrs.len());
    for (name, value) in &entry.xattrs {
        let value = base64::engine::general_purpose::STANDARD.decode(value).map_err(|_| field("xattrs"))?;
        xattrs.push((name.clone(), value));
    }
    Ok(Indexed {
        path: clean(&entry.name).ok_or_else(|| field("name"))?,
        kind,
        mode: entry.mode & 0o7777,
        uid: entry.uid,
        gid: entry.gid,
        modified,
        xattrs,
    })
}

/// A path without slashes around it and without `.`; `None` when it leads out of the layer.
fn clean(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part if part.contains('\0') => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(entries: &str) -> Result<FileIndex, TocError> {
        let json = format!(r#"{{"version":1,"entries":[{entries}]}}"#).replace("DIGEST", DIGEST);
        FileIndex::parse(json.as_bytes(), PieceCompression::Zstd, 1000)
    }

    #[test]
    fn pieces_end_where_the_next_begins() {
        let index = parse(
            r#"{"type":"dir","name":"a/"},
               {"type":"reg","name":"./a/b","size":7,"offset":10,"chunkSize":4,"chunkDigest":"DIGEST"},
               {"type":"chunk","name":"a/b","offset":40,"chunkOffset":4,"chunkDigest":"DIGEST"},
               {"type":"reg","name":"/c","size":3,"offset":90,"digest":"DIGEST"}"#,
        )
        .unwrap();
        assert_eq!(index.files.iter().map(|f| &*f.path).collect::<Vec<_>>(), ["a", "a/b", "c"]);
        let spans = |file: &Indexed| match &file.kind {
            FileKind::Regular { pieces, .. } => {
                pieces.iter().map(|p| (p.at, p.size, p.offset, p.end)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(spans(&index.files[1]), [(0, 4, 10, 40), (4, 3, 40, 90)]);
        assert_eq!(spans(&index.files[2]), [(0, 3, 90, 1000)]);
    }

    #[test]
    fn pieces_may_share_a_stream() {
        let index = parse(
            r#"{"type":"reg","name":"a","size":3,"offset":10,"digest":"DIGEST"},
               {"type":"reg","name":"b","size":3,"offset":10,"innerOffset":1024,"digest":"DIGEST"},
               {"type":"dir","name":"c"},
               {"type":"reg","name":"d","size":3,"offset":90,"digest":"DIGEST"}"#,
        )
        .unwrap();
        let spans = index.files.iter().filter_map(|file| match &file.kind {
            FileKind::Regular { pieces, .. } => Some((pieces[0].offset, pieces[0].skip, pieces[0].end)),
            _ => None,
        });
        assert_eq!(spans.collect::<Vec<_>>(), [(10, 0, 90), (10, 1024, 90), (90, 0, 1000)]);
    }

    fn refused(entries: &str, expected: &str) {
        let error = parse(entries).unwrap_err();
        assert_eq!(error.to_string(), format!("index of the layer's files has {expected}"));
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        refused(r#"{"type":"dir","name":"a/../b"}"#, "\"a/../b\" with an invalid name");
        refused(r#"{"type":"door","name":"a"}"#, "\"a\" with an invalid type");
        let file = |rest: &str| format!(r#"{{"type":"reg","name":"a","size":9,"digest":"DIGEST",{rest}}}"#);
        refused(&file(r#""offset":1,"chunkSize":4"#), "\"a\" with an invalid size");
        refused(&file(r#""offset":1,"chunkSize":10"#), "\"a\" with an invalid offset");
        refused(&file(r#""offset":1000"#), "\"a\" with an invalid offset");
        refused(&file(r#""offset":1,"endOffset":1001"#), "\"a\" with an invalid offset");
        refused(&file(r#""offset":1,"innerOffset":67108865"#), "\"a\" with an invalid innerOffset");
        let gap = r#",{"type":"chunk","name":"a","offset":9,"chunkOffset":5,"chunkDigest":"DIGEST"}"#;
        refused(&(file(r#""offset":1,"chunkSize":4"#) + gap), "\"a\" with an invalid chunkOffset");
    }

    proptest! {
        #[test]
        fn any_numbers_are_an_answer(numbers: [u64; 6], kind in "reg|chunk|dir|hardlink") {
            let [size, offset, end, chunk, at, mode] = numbers;
            let entry = format!(
                r#"{{"type":"reg","name":"x","size":8,"offset":1,"digest":"DIGEST"}},{{"type":"{kind}","name":"a","size":{size},
                "offset":{offset},"endOffset":{end},"chunkSize":{chunk},"chunkOffset":{at},"mode":{},"digest":"DIGEST"}}"#,
                mode as u32
            );
            let _ = parse(&entry);
        }
    }
}
