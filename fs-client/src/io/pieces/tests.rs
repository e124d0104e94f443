//! Gathering, ordering and limits of pieces.

use proptest::prelude::*;

use super::*;

const BLOCK: u64 = BLOCK_SIZE as u64;

fn bytes(len: usize, fill: u8) -> Bytes {
    Bytes::from(vec![fill; len])
}

fn take_off(pieces: &mut Pieces) -> Option<(u64, usize)> {
    pieces.take_off(usize::MAX, usize::MAX).map(|flight| (flight.start, flight.data.len()))
}

fn read(pieces: &Pieces, range: Range<u64>) -> Bytes {
    let mut parts = Parts::new();
    pieces.parts(&range, &mut parts);
    view::flatten(&range, &parts)
}

#[test]
fn a_whole_slot_is_sent_as_it_came() {
    let mut pieces = Pieces::default();
    let data = bytes(2 * MAX_PIECE_BYTES, 1);
    pieces.write(SLOT_BYTES, data.clone());
    for slot in [1, 2] {
        let flight = pieces.take_off(usize::MAX, usize::MAX).unwrap();
        assert_eq!((flight.start, flight.data.len()), (slot * SLOT_BYTES, MAX_PIECE_BYTES));
        assert_eq!(flight.data.as_ptr(), data[(slot as usize - 1) * MAX_PIECE_BYTES..].as_ptr(), "no copy");
    }
    assert_eq!(take_off(&mut pieces), None);
}

#[test]
fn small_writes_gather_until_the_slot_is_full_or_pushed() {
    let mut pieces = Pieces::default();
    for i in 0..SLOT_BYTES / BLOCK {
        assert_eq!(take_off(&mut pieces), None);
        pieces.write(i * BLOCK, bytes(BLOCK_SIZE, i as u8));
    }
    assert_eq!(take_off(&mut pieces), Some((0, MAX_PIECE_BYTES)));
    pieces.write(SLOT_BYTES, bytes(10, 1));
    assert_eq!(take_off(&mut pieces), None);
    pieces.push_all();
    assert_eq!(take_off(&mut pieces), Some((SLOT_BYTES, 10)));
}

#[test]
fn what_overlaps_a_flight_by_a_block_waits_for_it() {
    let mut pieces = Pieces::default();
    pieces.write(0, bytes(100, 1));
    pieces.push_all();
    assert_eq!(take_off(&mut pieces), Some((0, 100)));
    pieces.write(200, bytes(100, 2));
    pieces.write(BLOCK, bytes(100, 3));
    pieces.push_all();
    assert_eq!(take_off(&mut pieces), Some((BLOCK, 100)), "the older one is held back");
    assert_eq!(take_off(&mut pieces), None);
    assert_eq!(pieces.land(0).data, bytes(100, 1));
    assert_eq!(take_off(&mut pieces), Some((200, 100)));
}

#[test]
fn knows_its_oldest_write() {
    let mut pieces = Pieces::default();
    assert_eq!(pieces.write(0, bytes(10, 1)), 1);
    assert_eq!(pieces.write(SLOT_BYTES, bytes(10, 1)), 2);
    assert_eq!(pieces.write(5, bytes(10, 2)), 3);
    pieces.push_all();
    assert_eq!(pieces.oldest(), Some(1));
    assert_eq!(take_off(&mut pieces), Some((0, 15)));
    pieces.land(0);
    assert_eq!(pieces.oldest(), Some(2));
    pieces.put_under(0, &bytes(30, 9));
    assert_eq!(pieces.oldest(), Some(0));
    assert_eq!(take_off(&mut pieces), Some((0, 30)));
}

#[test]
fn limits_hold() {
    let mut pieces = Pieces::default();
    for i in 0..10 {
        pieces.write(i * 2 * BLOCK, bytes(BLOCK_SIZE, 1));
    }
    pieces.push_all();
    let mut flying = 0;
    while pieces.take_off(4, usize::MAX).is_some() {
        flying += 1;
    }
    assert_eq!(flying, 4);
    assert!(pieces.take_off(usize::MAX, 4 * BLOCK_SIZE).is_none());
    assert!(pieces.take_off(usize::MAX, 4 * BLOCK_SIZE + 1).is_some());
}

#[derive(Clone, Debug)]
enum Op {
    Write { offset: u64, len: usize },
    Under { offset: u64, len: usize },
    Push,
    TakeOff,
    Land(prop::sample::Index),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Around the border of two slots, in steps that hit and miss blocks.
    let offset = (0u64..40_000).prop_map(|at| SLOT_BYTES - 20_000 + at);
    let op = prop_oneof![
        6 => (offset.clone(), 1usize..9000).prop_map(|(offset, len)| Op::Write { offset, len }),
        1 => (offset, 1usize..9000).prop_map(|(offset, len)| Op::Under { offset, len }),
        1 => Just(Op::Push),
        3 => Just(Op::TakeOff),
        3 => any::<prop::sample::Index>().prop_map(Op::Land),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    /// Reads see the newest bytes; flights are disjoint by blocks; what lands in order of landing is what was written.
    #[test]
    fn behaves_as_a_flat_buffer(ops in ops()) {
        let (base, len) = (SLOT_BYTES - 20_000, 60_000);
        let mut pieces = Pieces::default();
        // What reads must see, and what the servers hold.
        let mut seen = vec![0; len];
        let mut stored = vec![0; len];
        let mut flying: Vec<u64> = Vec::new();
        let land = |pieces: &mut Pieces, stored: &mut Vec<u8>, start| {
            let flight = pieces.land(start);
            let at = (flight.start - base) as usize;
            stored[at..at + flight.data.len()].copy_from_slice(&flight.data);
        };
        for (i, op) in ops.into_iter().enumerate() {
            let fill = i as u8 + 1;
            match op {
                Op::Write { offset, len } => {
                    let before = pieces.charged();
                    pieces.write(offset, bytes(len, fill));
                    prop_assert!(pieces.charged() <= before + Pieces::most_charge(len));
                    seen[(offset - base) as usize..][..len].fill(fill);
                }
                Op::Under { offset, len } => {
                    let mut parts = Parts::new();
                    let range = offset..offset + len as u64;
                    pieces.parts(&range, &mut parts);
                    for gap in view::gaps(&range, &parts) {
                        seen[(gap.start - base) as usize..(gap.end - base) as usize].fill(fill);
                    }
                    pieces.put_under(offset, &bytes(len, fill));
                }
                Op::Push => {
                    pieces.push_all();
                }
                Op::TakeOff => {
                    if let Some((start, len)) = take_off(&mut pieces) {
                        prop_assert_eq!(start / SLOT_BYTES, (start + len as u64 - 1) / SLOT_BYTES);
                        flying.push(start);
                    }
                }
                Op::Land(index) if !flying.is_empty() => {
                    let start = flying.swap_remove(index.index(flying.len()));
                    land(&mut pieces, &mut stored, start);
                }
                Op::Land(_) => {}
            }
            let mut view = stored.clone();
            let mut parts = Parts::new();
            pieces.parts(&(base..base + len as u64), &mut parts);
            for (at, data) in parts {
                view[(at - base) as usize..][..data.len()].copy_from_slice(&data);
            }
            prop_assert!(view == seen);
        }
        pieces.push_all();
        loop {
            while let Some((start, _)) = take_off(&mut pieces) {
                flying.push(start);
            }
            let Some(start) = flying.pop() else { break };
            land(&mut pieces, &mut stored, start);
        }
        prop_assert!(pieces.is_empty());
        prop_assert_eq!(pieces.charged(), 0);
        prop_assert_eq!(pieces.oldest(), None);
        prop_assert!(stored == seen);
        let _ = read(&pieces, base..base + 1);
    }
}
