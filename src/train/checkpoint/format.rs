//! The file: safetensors, with everything that is not a tensor in `__metadata__`, and a CRC-32C over the whole
//! file. The `safetensors` crate reads it; it is written here because that streams the tensors instead of
//! copying them, and because the crate orders metadata at random, which would give equal states unequal files.

use std::collections::BTreeMap;
use std::io::{self, Write};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use crate::tensor::NamedTensor;

/// What precedes the checksum in the header; inside any other JSON string its quotes would be escaped. The
/// checksum is computed with its own eight digits as zeros.
const MARK: &[u8] = b"\"crc32c\":\"";
const DIGITS: usize = 8;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub metadata: BTreeMap<String, String>,
    pub tensors: Vec<NamedTensor>,
}

/// Writes `tensors` in their order, and `metadata`.
pub(super) fn write(
    out: &mut dyn Write,
    metadata: &BTreeMap<&str, String>,
    tensors: &[(String, &NamedTensor)],
) -> io::Result<()> {
    let mut notes: Map<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    notes.insert("crc32c".into(), json!("0".repeat(DIGITS)));
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(notes))]);
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += 4 * tensor.data.len();
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]}),
        );
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let length = (text.len() as u64).to_le_bytes();

    let mut crc = crc32c::crc32c_append(crc32c::crc32c(&length), &text);
    payload(tensors, |bytes| {
        crc = crc32c::crc32c_append(crc, bytes);
        Ok(())
    })?;
    let place = mark(&text).ok_or_else(|| io::Error::other("the header has no place for its checksum"))?;
    text[place..place + DIGITS].copy_from_slice(format!("{crc:08x}").as_bytes());

    out.write_all(&length)?;
    out.write_all(&text)?;
    payload(tensors, |bytes| out.write_all(bytes))
}

/// The elements of all tensors as little-endian bytes, a block at a time.
fn payload(
    tensors: &[(String, &NamedTensor)],
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const BLOCK: usize = 1 << 14;
    let mut bytes = Vec::with_capacity(4 * BLOCK);
    for block in tensors.iter().flat_map(|(_, tensor)| tensor.data.chunks(BLOCK)) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
        each(&bytes)?;
    }
    Ok(())
}

/// Where the digits of the checksum begin, if there is exactly one place.
fn mark(header: &[u8]) -> Option<usize> {
    let mut places =
        header.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK).map(|(i, _)| i + MARK.len());
    places.next().filter(|place| places.next().is_none() && place + DIGITS <= header.len())
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let cut = |need: u64| format!("is cut short: {} bytes where at least {need} belong", bytes.len());
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| cut(8))?;
    let length = u64::from_le_bytes(*length);
    if length > 1 << 28 {
        return Err("is not a checkpoint (its header would be larger than 256 MiB)".into());
    }
    let header = rest.get(..length as usize).ok_or_else(|| cut(length + 8))?;
    let Some(place) = mark(header) else {
        return Err("has no checksum, so it was not written by `hdc` or its header is damaged".into());
    };
    let place = place + 8;
    let crc =
        [&bytes[..place], b"00000000", &bytes[place + DIGITS..]].into_iter().fold(0, crc32c::crc32c_append);
    if format!("{crc:08x}").as_bytes() != &bytes[place..place + DIGITS] {
        return Err("is damaged: its checksum does not match its contents".into());
    }

    let invalid = |e: safetensors::SafeTensorError| format!("is not a valid safetensors file: {e}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(invalid)?;
    let file = SafeTensors::deserialize(bytes).map_err(invalid)?;
    let tensors = metadata.offset_keys().into_iter().map(|name| {
        let view = file.tensor(&name).map_err(invalid)?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("holds `{name}` as {:?} where F32 belongs", view.dtype()));
        }
        let data = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(NamedTensor { name, shape: view.shape().to_vec(), data })
    });
    Ok(Contents {
        tensors: tensors.collect::<Result<_, _>>()?,
        metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let a = NamedTensor {
            name: "a".into(),
            shape: vec![2, 3],
            data: vec![1.0, -2.5, f32::NAN, 0.0, -0.0, 7.0],
        };
        let b = NamedTensor { name: "b".into(), shape: vec![], data: vec![3.0] };
        let e = NamedTensor { name: "e".into(), shape: vec![0], data: vec![] };
        let notes = BTreeMap::from([("config", "x = \"crc32c\":\"\n".to_owned()), ("step", "3".into())]);
        let mut file = Vec::new();
        let all = [("a".to_owned(), &a), ("momentum.a".into(), &a), ("b".into(), &b), ("e".into(), &e)];
        write(&mut file, &notes, &all).unwrap();
        file
    }

    #[test]
    fn what_is_written_reads_back_in_every_bit() {
        let file = sample();
        let contents = read(&file).unwrap();
        assert_eq!(contents.metadata["config"], "x = \"crc32c\":\"\n");
        let names: Vec<_> = contents.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(names[..3], ["a", "momentum.a", "b"]);
        let bits: Vec<_> = contents.tensors[0].data.iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits[2], f32::NAN.to_bits());
        assert_eq!(bits[4], (-0.0_f32).to_bits());
        assert_eq!(contents.tensors[0].shape, [2, 3]);
        assert_eq!(file, sample(), "equal contents give equal files");
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let file = sample();
        for length in 0..file.len() {
            read(&file[..length]).unwrap_err();
        }
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[place] ^= 1 << bit;
                assert!(read(&bad).is_err(), "bit {bit} of byte {place} of {} went unnoticed", file.len());
            }
        }
        let mut longer = file;
        longer.push(0);
        read(&longer).unwrap_err();
    }
}
