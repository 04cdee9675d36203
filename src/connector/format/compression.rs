//! Opens a file as plain bytes, whatever it is packed with.
//!
//! Owns: which file name means which compression. Does not own: where lines begin; a packed file is always read whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// Compressions other engines write that this one cannot read.
const UNREADABLE: [&str; 6] = ["bz2", "deflate", "lz4", "lzo", "snappy", "xz"];

/// Whether the name says that the file is compressed, so that it cannot be read from the middle.
pub(crate) fn is_compressed(path: &Path) -> bool {
    let extension = extension(path);
    extension == "gz" || extension == "zst" || UNREADABLE.contains(&extension.as_str())
}

/// The plain bytes of `file` from byte `begin` on; `path` says how they are packed. A packed file is read from 0 only.
///
/// # Errors
/// When the file cannot be read, or is packed in a way this crate does not know.
pub(crate) fn unpack(mut file: File, path: &Path, begin: u64) -> io::Result<Box<dyn Read + Send>> {
    match extension(path).as_str() {
        "gz" => Ok(Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, file)))),
        "zst" => Ok(Box::new(zstd::stream::read::Decoder::new(file)?)),
        other if UNREADABLE.contains(&other) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("files packed as .{other} cannot be read; pack them as .gz or .zst"),
        )),
        _ => {
            file.seek(SeekFrom::Start(begin))?;
            Ok(Box::new(file))
        }
    }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(name: &str, bytes: &[u8]) -> io::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        unpack(File::open(&path)?, &path, 0)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn gzip_files_of_several_members_and_zstd_files_are_unpacked() {
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let members = [gzip("one\n"), gzip("two\n")].concat();
        assert_eq!(packed("a.txt.gz", &members).unwrap(), "one\ntwo\n");
        assert_eq!(packed("a.ZST", &zstd::encode_all(&b"three"[..], 1).unwrap()).unwrap(), "three");
    }

    #[test]
    fn an_unknown_compression_is_refused_with_the_remedy() {
        let error = packed("a.bz2", b"BZh9").unwrap_err().to_string();
        assert!(error.contains(".bz2") && error.contains(".gz"), "{error}");
    }
}
