//! Records as bytes.
//!
//! Owns: the envelope around every record but state: `magic(4) kind(1) version(2) length(4) xxh3(8) payload`, numbers little-endian,
//! payload by bincode. Does not own: what the records say (`records`).
//!
//! bincode does not describe itself, so the version says how to read the payload; a test holds the bytes of every version.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::serde::{decode_from_slice, encode_to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

const MAGIC: [u8; 4] = *b"MLST";
const HEADER: usize = 19;

/// No record is near this size; a length beyond it is a corrupt one.
const LIMIT: usize = 1 << 30;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> =
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>();

/// Something that is kept in an envelope.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Tells records apart that lie in each other's place.
    const KIND: u8;
    /// The version that is written, and the highest that is read.
    const VERSION: u16;
}

/// The record as bytes.
pub(super) fn encode<R: Record>(record: &R) -> Result<Vec<u8>> {
    let payload = encode_to_vec(record, CONFIG)
        .map_err(|error| Error::internal(format!("a record cannot be encoded: {error}")).with_source(error))?;
    let length = u32::try_from(payload.len()).map_err(|_| Error::state("a record is beyond 4 GiB"))?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(R::KIND);
    bytes.extend_from_slice(&R::VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// The record in `bytes`, which came from the object `name`.
///
/// # Errors
/// When they are no such record, are damaged, or were written by a newer version of this library.
pub(super) fn decode<R: Record>(name: &str, bytes: &[u8]) -> Result<R> {
    let damaged = |how: &str| Error::state(format!("`{name}` of the checkpoint is damaged: {how}"));
    let (header, payload) = bytes.split_at_checked(HEADER).ok_or_else(|| damaged("it is cut off in its header"))?;
    if header[..4] != MAGIC || header[4] != R::KIND {
        return Err(damaged("it is not the kind of record that belongs there"));
    }
    let version = u16::from_le_bytes([header[5], header[6]]);
    if version > R::VERSION {
        return Err(Error::state(format!(
            "`{name}` of the checkpoint was written by a newer version of millstream (record version {version}, this one \
             reads up to {}); use that version, or a new checkpoint",
            R::VERSION
        )));
    }
    let length = u32::from_le_bytes([header[7], header[8], header[9], header[10]]) as usize;
    if length != payload.len() {
        return Err(damaged(&format!("it has {} bytes of {length}", payload.len())));
    }
    let checksum = u64::from_le_bytes(array(&header[11..]));
    if xxh3_64(payload) != checksum {
        return Err(damaged("its checksum does not fit"));
    }
    match decode_from_slice(payload, CONFIG) {
        Ok((record, read)) if read == payload.len() => Ok(record),
        Ok(_) => Err(damaged("there are bytes behind the record")),
        Err(error) => Err(damaged(&error.to_string()).with_source(error)),
    }
}

/// The first eight of the bytes.
fn array(bytes: &[u8]) -> [u8; 8] {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[..8]);
    array
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl Record for Note {
        const KIND: u8 = 9;
        const VERSION: u16 = 2;
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other(u64);

    impl Record for Other {
        const KIND: u8 = 8;
        const VERSION: u16 = 1;
    }

    fn says<R: Record + std::fmt::Debug>(bytes: &[u8]) -> String {
        decode::<R>("commits/3", bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_record_comes_back_and_damage_of_every_byte_is_seen() {
        let bytes = encode(&Note("hello".to_string())).unwrap();
        assert_eq!(decode::<Note>("x", &bytes).unwrap(), Note("hello".to_string()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(says::<Note>(&damaged).contains("`commits/3`"), "byte {at}");
            assert!(says::<Note>(&bytes[..at]).contains("damaged"), "cut at {at}");
        }
    }

    #[test]
    fn newer_versions_and_other_kinds_are_told_apart_from_damage() {
        let mut bytes = encode(&Note("hello".to_string())).unwrap();
        assert!(says::<Other>(&bytes).contains("not the kind"));
        bytes[5] = 3;
        let error = says::<Note>(&bytes);
        assert!(error.contains("newer version") && error.contains("reads up to 2"), "{error}");
    }
}
