//! TensorBoard event files: TFRecord framing around two protocol-buffer messages, encoded by hand because no
//! kept crate does it.
//!
//! A record is `length (u64) · masked CRC-32C of length · data · masked CRC-32C of data`, little-endian.
//! `Event { 1: wall_time double, 2: step int64, 3: file_version string, 5: summary, 7: session_log }`,
//! `Summary { 1: repeated Value { 1: tag string, 2: simple_value float } }`, `SessionLog { 1: status (START = 1) }`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// An event file, open for writing.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Starts a new file in `folder`. Its first event tells TensorBoard that a run begins after `step`, so that
    /// it drops what an interrupted one wrote of later steps.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        let now = now();
        // TensorBoard reads the files of a folder in order of their names.
        let path =
            folder.join(format!("events.out.tfevents.{:010}.{:09}", now.as_secs(), now.subsec_nanos()));
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        let mut events = Self { path, file };
        events.write(&[text(3, b"brain.Event:2")].concat())?;
        events.write(&[varint(2, step + 1), text(7, &varint(1, 1))].concat())?;
        Ok(events)
    }

    /// Adds scalars of one step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let value = [text(1, tag.as_bytes()), fixed32(2, (*value as f32).to_bits())].concat();
            summary.extend(text(1, &value));
        }
        self.write(&[varint(2, step), text(5, &summary)].concat())
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let event = [&fixed64(1, now().as_secs_f64().to_bits()), event].concat();
        self.file.write_all(&record(&event)).map_err(|e| Error::io("write", &self.path, e))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()].concat()
}

/// TFRecord's masking: a CRC stored beside its data would otherwise be part of what later CRCs run over.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

// Protocol-buffer fields: a tag `field << 3 | wire type`, then the value.

fn base128(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint(field: u64, value: u64) -> Vec<u8> {
    [base128(field << 3), base128(value)].concat()
}

fn fixed64(field: u64, bits: u64) -> Vec<u8> {
    [base128(field << 3 | 1), bits.to_le_bytes().to_vec()].concat()
}

fn text(field: u64, bytes: &[u8]) -> Vec<u8> {
    [base128(field << 3 | 2), base128(bytes.len() as u64), bytes.to_vec()].concat()
}

fn fixed32(field: u64, bits: u32) -> Vec<u8> {
    [base128(field << 3 | 5), bits.to_le_bytes().to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a message, decoded independently of the encoder above.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Int(u64),
        Bits64(u64),
        Bytes(Vec<u8>),
        Bits32(u32),
    }

    fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
        let (head, tail) = bytes.split_first_chunk().unwrap();
        *bytes = tail;
        *head
    }

    fn int(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for i in 0.. {
            let [b] = take(bytes);
            value |= u64::from(b & 0x7F) << (7 * i);
            if b < 0x80 {
                break;
            }
        }
        value
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = int(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Int(int(&mut bytes)),
                1 => Field::Bits64(u64::from_le_bytes(take(&mut bytes))),
                2 => {
                    let n = int(&mut bytes) as usize;
                    let (head, tail) = bytes.split_at(n);
                    bytes = tail;
                    Field::Bytes(head.to_vec())
                }
                5 => Field::Bits32(u32::from_le_bytes(take(&mut bytes))),
                wire => panic!("wire type {wire}"),
            };
            found.push((tag >> 3, field));
        }
        found
    }

    fn records(mut bytes: &[u8]) -> Vec<Vec<(u64, Field)>> {
        let unmask = |crc: u32| crc.wrapping_sub(0xA282_EAD8).rotate_left(15);
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length: [u8; 8] = take(&mut bytes);
            assert_eq!(unmask(u32::from_le_bytes(take(&mut bytes))), crc32c::crc32c(&length));
            let (data, tail) = bytes.split_at(u64::from_le_bytes(length) as usize);
            bytes = tail;
            assert_eq!(unmask(u32::from_le_bytes(take(&mut bytes))), crc32c::crc32c(data));
            found.push(fields(data));
        }
        found
    }

    #[test]
    fn the_file_decodes_to_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::create(dir.path(), 299).unwrap();
        events.scalars(300, &[("loss/total", 1.5), ("lr", 0.1)]).unwrap();
        let all = records(&std::fs::read(&events.path).unwrap());
        assert_eq!(all.len(), 3);
        for event in &all {
            assert!(matches!(event[0], (1, Field::Bits64(t)) if f64::from_bits(t) > 1.6e9));
        }
        assert_eq!(all[0][1], (3, Field::Bytes(b"brain.Event:2".to_vec())));
        assert_eq!(all[1][1..], [(2, Field::Int(300)), (7, Field::Bytes(vec![8, 1]))]);
        assert_eq!(all[2][1], (2, Field::Int(300)));
        let (5, Field::Bytes(summary)) = &all[2][2] else { panic!("{:?}", all[2]) };
        let values: Vec<_> = fields(summary)
            .into_iter()
            .map(|(n, f)| match (n, f) {
                (1, Field::Bytes(value)) => fields(&value),
                other => panic!("{other:?}"),
            })
            .collect();
        let expect = |tag: &str, v: f32| vec![(1, Field::Bytes(tag.into())), (2, Field::Bits32(v.to_bits()))];
        assert_eq!(values, [expect("loss/total", 1.5), expect("lr", 0.1)]);
    }

    #[test]
    fn masked_crc_of_a_known_value() {
        // CRC-32C of "123456789" is E3069283 (RFC 3720's polynomial).
        assert_eq!(masked_crc(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
        assert_eq!(base128(300), [0xAC, 0x02]);
    }
}
