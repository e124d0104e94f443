use cairn_proto::ids::{ChunkHandle, ChunkIndex, ChunkVersion, InodeId};
use uuid::Uuid;

use super::*;

fn header(state: ChunkState) -> Header {
    Header {
        cluster: ClusterId(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)),
        id: ChunkId { handle: ChunkHandle(300), version: ChunkVersion(2), inode: InodeId(17), index: ChunkIndex(1) },
        state,
        length: 70_000,
        allocated: 73_728,
    }
}

fn file(slots: &[(u64, ChunkState)]) -> Vec<u8> {
    let mut file = vec![0; TABLE_OFFSET];
    for (sequence, state) in slots {
        let (at, slot) = encode_slot(*sequence, &header(*state)).unwrap();
        file[at as usize..at as usize + SLOT_BYTES].copy_from_slice(&slot);
    }
    file
}

/// These bytes are on people's disks. If this fails, the format changed: raise `FORMAT`, and go on reading these.
#[test]
fn golden_slot() {
    let (at, slot) = encode_slot(5, &header(ChunkState::Dirty)).unwrap();
    assert_eq!(at, 512);
    let hex: String = slot[..46].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "434149524e43484b01001e00be369464051000112233445566778899aabbccddeeffac0202110101f0a20480c004");
    assert!(slot[46..].iter().all(|b| *b == 0));
}

#[test]
fn golden_entries() {
    let entries = [Entry { sum: BlockSum(0x0403_0201), previous: BlockSum(0x0807_0605) }, Entry::default()];
    let bytes = encode_entries(entries.into_iter());
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(decode_entries(&bytes).collect::<Vec<_>>(), entries);
    assert_eq!(decode_entries(&bytes[..12]).count(), 1);
    assert_eq!(entry_offset(384), 4096);
    assert_eq!(DATA_OFFSET, 135_168);
}

#[test]
fn the_later_slot_counts() {
    let slots = decode_slots(&file(&[(4, ChunkState::Clean), (5, ChunkState::Dirty)])).unwrap();
    assert_eq!(slots, Slots { sequence: 5, header: header(ChunkState::Dirty) });
    let slots = decode_slots(&file(&[(6, ChunkState::Clean), (5, ChunkState::Dirty)])).unwrap();
    assert_eq!(slots, Slots { sequence: 6, header: header(ChunkState::Clean) });
    assert_eq!(decode_slots(&file(&[(1, ChunkState::Clean)])).unwrap().sequence, 1);
}

#[test]
fn beside_a_damaged_slot_a_chunk_is_dirty() {
    let mut bytes = file(&[(4, ChunkState::Clean), (5, ChunkState::Dirty)]);
    bytes[512 + 20] ^= 1;
    let slots = decode_slots(&bytes).unwrap();
    assert_eq!(slots, Slots { sequence: 4, header: header(ChunkState::Dirty) });
    bytes[20] ^= 1;
    assert_eq!(decode_slots(&bytes), Err(HeaderError::Damaged(SealError::Checksum)));
}

#[test]
fn nothing_written_is_empty_not_damaged() {
    assert_eq!(decode_slots(&[]), Err(HeaderError::Empty));
    assert_eq!(decode_slots(&[0; 4096]), Err(HeaderError::Empty));
}

#[test]
fn lengths_beyond_a_chunk_are_refused() {
    let mut too_long = header(ChunkState::Clean);
    too_long.length = CHUNK_SIZE as u32 + 1;
    let (_, slot) = encode_slot(2, &too_long).unwrap();
    assert_eq!(decode_slots(&slot), Err(HeaderError::Length { length: CHUNK_SIZE as u32 + 1 }));
}
