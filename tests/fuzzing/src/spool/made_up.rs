//! A directory that an input makes up, with checksums that are right where it asks for them:
//! whatever sound bytes say, they are read or refused.

use std::path::{Path, PathBuf};

use meridian_agent::spool::SpoolError;

use super::damage::is_the_same_again;
use super::opened::{DIR, EXPORTER, Files, clock, disk_of, read_all, with_spool};
use crate::choices::Choices;

const FILES_MAX: usize = 6;
const RECORDS_MAX: usize = 12;
const IDENTITY: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef";
const IDENTITY_TEXT: &str = "01234567-89ab-4def-8123-456789abcdef\n";

pub(crate) fn run(mut choices: Choices<'_>) {
    let mut files = Files::new();
    if choices.flag() {
        files.insert(Path::new(DIR).join("identity"), IDENTITY_TEXT.into());
    }
    for _ in 0..FILES_MAX {
        if choices.is_over() {
            break;
        }
        let (path, bytes) = file(&mut choices);
        files.insert(path, bytes);
    }
    let disk = disk_of(&files);
    let found = with_spool(&disk, &clock(), async |spool| {
        let records = read_all(spool);
        assert!(records.is_sorted_by_key(|record| record.seq));
        assert!(spool.pending(EXPORTER).items_by_signal.len() == 3);
        spool.backlog(EXPORTER, std::time::Duration::from_secs(5));
        spool.late(EXPORTER);
        spool.watermark([0; 3]);
        read_all(spool)
    });
    match found {
        Ok(found) => is_the_same_again(&disk, &found),
        Err(SpoolError::Later { version, .. }) => assert!(version > 2, "this release knows version 2"),
        Err(other) => unreachable!("a directory does not keep a spool from opening: {other}"),
    }
}

fn file(choices: &mut Choices<'_>) -> (PathBuf, Vec<u8>) {
    let dir = Path::new(DIR);
    match choices.byte() % 8 {
        0 => (dir.join("identity"), choices.part().to_vec()),
        1 => (dir.join("alive"), alive(choices)),
        2 => (dir.join("hashes"), hashes(choices)),
        3 => (dir.join("cursors").join(EXPORTER), cursors(choices)),
        4 => {
            let name = format!("{:020}.seg.bad", choices.u64());
            (dir.join(name), choices.part().to_vec())
        }
        5 => {
            let name = format!("{:020}.seg", choices.u64());
            (dir.join(name), choices.part().to_vec())
        }
        6 => {
            let first_seq = choices.u64();
            (
                dir.join(format!("{first_seq:020}.seg")),
                cold_segment(first_seq, choices),
            )
        }
        _ => {
            let first_seq = choices.u64();
            (
                dir.join(format!("{first_seq:020}.seg")),
                segment(first_seq, choices),
            )
        }
    }
}

/// A checksum over all that follows its place.
fn seal(bytes: &mut [u8], at: usize, from: usize) {
    if let Some(sealed) = bytes.get(from..) {
        let crc = crc32c::crc32c(sealed);
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }
}

fn alive(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let mut slot = b"MAlv\0\0\0\0".to_vec();
        slot.extend(choices.u64().to_le_bytes());
        slot.extend(choices.u64().to_le_bytes());
        slot.extend(u32::from(choices.byte()).to_le_bytes());
        slot.extend(choices.u32().to_le_bytes());
        seal(&mut slot, 4, 8);
        bytes.extend(slot);
    }
    bytes
}

fn hashes(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = b"MHsh\0\0\0\0".to_vec();
    let count = choices.byte() % 4;
    bytes.extend(
        if choices.flag() {
            choices.u64()
        } else {
            u64::from(count)
        }
        .to_le_bytes(),
    );
    for _ in 0..count {
        bytes.extend(u128::from(choices.byte()).to_le_bytes());
        bytes.extend(choices.u64().to_le_bytes());
        bytes.extend(choices.u64().to_le_bytes());
    }
    seal(&mut bytes, 4, 8);
    bytes
}

fn cursors(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = b"MerCurs2\0\0\0\0".to_vec();
    bytes.extend(u32::from(choices.byte() & 1).to_le_bytes());
    let counts = [(); 3].map(|()| choices.byte() % 4);
    for count in counts {
        bytes.extend(u32::from(count).to_le_bytes());
    }
    for count in counts {
        for _ in 0..=2 * count {
            bytes.extend(choices.u64().to_le_bytes());
        }
    }
    bytes.extend_from_slice(choices.part());
    seal(&mut bytes, 8, 12);
    bytes
}

fn segment_header(first_seq: u64, version: u32, salt: u32, from_40: [u64; 2]) -> Vec<u8> {
    let mut bytes = b"MerSpool".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(salt.to_le_bytes());
    bytes.extend(IDENTITY);
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(from_40[0].to_le_bytes());
    bytes.extend(from_40[1].to_le_bytes());
    bytes.extend([0; 4]);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn segment(first_seq: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    let salt = u32::from(choices.byte());
    let version = match choices.byte() {
        0 => choices.u32(),
        _ => 1,
    };
    let recycled = u64::from(choices.byte() & 1);
    let mut bytes = segment_header(first_seq, version, salt, [recycled, 0]);
    let mut seq = first_seq;
    for _ in 0..choices.byte() as usize % RECORDS_MAX {
        let (header, data) = record(salt, &mut seq, choices);
        bytes.extend(header);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend_from_slice(choices.part());
    bytes
}

/// A record with sound checksums, unless its lengths are made up.
fn record(salt: u32, seq: &mut u64, choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u8>) {
    let kind = choices.byte();
    let data = choices.part().to_vec();
    let mut header = b"MRec\0\0\0\0".to_vec();
    header.extend(crc32c::crc32c(&data).to_le_bytes());
    let length = u32::try_from(data.len()).expect("16 bits");
    let (body, overlay) = match kind & 3 {
        0 => (choices.u32(), choices.u32()),
        1 => (length.saturating_sub(3), length.min(3)),
        _ => (length, 0),
    };
    header.extend(body.to_le_bytes());
    header.extend(overlay.to_le_bytes());
    header.extend(choices.u32().to_le_bytes());
    let this = if kind & 4 == 0 { *seq } else { choices.u64() };
    *seq = this.saturating_add(1);
    header.extend(this.to_le_bytes());
    header.extend(choices.u64().to_le_bytes());
    header.extend(u128::from(choices.byte()).to_le_bytes());
    header.extend([choices.byte() % 5, kind >> 3 & 1, 0, 0, 0, 0, 0, 0]);
    let crc = crc32c::crc32c_append(salt, &header[8..]);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    (header, data)
}

/// A compressed segment whose index says what the input wants.
fn cold_segment(first_seq: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    let salt = u32::from(choices.byte());
    let (mut frames, mut heads, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    let (mut seq, mut place, mut count) = (first_seq, 64_u64, 0_u32);
    for _ in 0..choices.byte() as usize % RECORDS_MAX {
        let (header, data) = record(salt, &mut seq, choices);
        let mut whole = [header.as_slice(), &data].concat();
        whole.resize(whole.len().next_multiple_of(8), 0);
        let lies = choices.byte();
        let at = if lies & 1 == 0 { place } else { choices.u64() };
        heads.extend(at.to_le_bytes());
        heads.extend(header);
        let frame = zstd::bulk::compress(&whole, 1).expect("memory takes all");
        let bytes = u32::try_from(whole.len()).expect("16 bits");
        entries.extend(if lies & 2 == 0 { place } else { choices.u64() }.to_le_bytes());
        entries.extend((64 + frames.len() as u64).to_le_bytes());
        entries.extend(if lies & 4 == 0 { bytes } else { choices.u32() }.to_le_bytes());
        let stored = u32::try_from(frame.len()).expect("16 bits");
        entries.extend(if lies & 8 == 0 { stored } else { choices.u32() }.to_le_bytes());
        entries.extend(crc32c::crc32c(&frame).to_le_bytes());
        frames.extend(frame);
        place += u64::from(bytes);
        count += 1;
    }
    let lies = choices.byte();
    let former = if lies & 1 == 0 { place } else { choices.u64() };
    let tail_at = 64 + frames.len() as u64;
    let tail_at = if lies & 2 == 0 { tail_at } else { choices.u64() };
    let heads = zstd::bulk::compress(&heads, 1).expect("memory takes all");
    let mut tail = vec![0; 4];
    tail.extend(u32::try_from(heads.len()).expect("small").to_le_bytes());
    tail.extend(count.to_le_bytes());
    tail.extend(heads);
    tail.extend(entries);
    seal(&mut tail, 0, 4);
    [
        segment_header(first_seq, 2, salt, [former, tail_at]),
        frames,
        tail,
    ]
    .concat()
}
