//! The ACL rules against those of `fs/posix_acl.c`.

use super::*;

fn entry(tag: u16, may: u16, id: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&tag.to_le_bytes());
    bytes[2..4].copy_from_slice(&may.to_le_bytes());
    bytes[4..].copy_from_slice(&id.to_le_bytes());
    bytes
}

fn xattr(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    entries.iter().for_each(|&(tag, may, id)| bytes.extend(entry(tag, may, id)));
    bytes
}

const OWNER: u16 = 1;
const USER: u16 = 2;
const GROUP: u16 = 4;
const NAMED_GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

fn acl(entries: &[(u16, u16, u32)]) -> Acl {
    Acl::parse(&xattr(entries)).unwrap().unwrap()
}

fn full() -> Acl {
    acl(&[
        (OWNER, 7, NO_ID),
        (USER, 6, 1000),
        (GROUP, 5, NO_ID),
        (NAMED_GROUP, 4, 7),
        (MASK, 6, NO_ID),
        (OTHER, 1, NO_ID),
    ])
}

#[test]
fn golden_bytes() {
    let bytes = full().to_bytes();
    let golden = "02000000 01000700ffffffff 02000600e8030000 04000500ffffffff 0800040007000000 10000600ffffffff 20000100ffffffff";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden.replace(' ', ""));
    assert_eq!(Acl::parse(&bytes).unwrap().unwrap(), full());
}

#[test]
fn ids_without_meaning_are_not_kept() {
    let sloppy = xattr(&[(OWNER, 6, 0), (GROUP, 4, 5), (OTHER, 4, 6)]);
    let clean = xattr(&[(OWNER, 6, NO_ID), (GROUP, 4, NO_ID), (OTHER, 4, NO_ID)]);
    assert_eq!(Acl::parse(&sloppy).unwrap().unwrap().to_bytes(), clean);
}

#[test]
fn nothing_is_no_acl() {
    assert_eq!(Acl::parse(&[]), Ok(None));
    assert_eq!(Acl::parse(&[2, 0, 0, 0]), Ok(None));
}

#[test]
fn malformed() {
    assert_eq!(Acl::parse(&[2, 0, 0]), Err(FsError::InvalidArgument));
    assert_eq!(Acl::parse(&[1, 0, 0, 0]), Err(FsError::Unsupported));
    assert_eq!(Acl::parse(&[2, 0, 0, 0, 1]), Err(FsError::InvalidArgument));
    let base = |extra: &[(u16, u16, u32)]| {
        let mut all = vec![(OWNER, 7, NO_ID)];
        all.extend(extra);
        Acl::parse(&xattr(&all)).unwrap_err()
    };
    let (group, other, mask) = ((GROUP, 5, NO_ID), (OTHER, 0, NO_ID), (MASK, 7, NO_ID));
    let wrong: [&[(u16, u16, u32)]; 12] = [
        &[],
        &[group],
        &[other],
        &[group, other, other],
        &[(OWNER, 7, NO_ID), group, other],
        &[(USER, 7, 5), group, other],
        &[group, (NAMED_GROUP, 7, 5), other],
        &[group, (USER, 7, 5), mask, other],
        &[(USER, 7, NO_ID), group, mask, other],
        &[(USER, 8, 5), group, mask, other],
        &[mask, group, other],
        &[group, (0x40, 7, NO_ID), other],
    ];
    for entries in wrong {
        assert_eq!(base(entries), FsError::InvalidArgument, "{entries:?}");
    }
}

#[test]
fn mode_shows_the_mask_as_group() {
    assert_eq!(full().mode(), 0o761);
    assert!(!full().is_minimal());
    let minimal = acl(&[(OWNER, 6, NO_ID), (GROUP, 4, NO_ID), (OTHER, 0, NO_ID)]);
    assert_eq!(minimal.mode(), 0o640);
    assert!(minimal.is_minimal());
    // A mask alone says something that the mode does not.
    let masked = acl(&[(OWNER, 6, NO_ID), (GROUP, 4, NO_ID), (MASK, 0, NO_ID), (OTHER, 0, NO_ID)]);
    assert_eq!(masked.mode(), 0o600);
    assert!(!masked.is_minimal());
}

#[test]
fn chmod_sets_the_mask_and_not_the_group() {
    let mut acl = full();
    acl.set_mode(0o4402);
    assert_eq!(acl.mode(), 0o402);
    let group = acl.entries.iter().find(|entry| entry.tag == Tag::Group).unwrap();
    assert_eq!(group.may, 5);
    let mut minimal = super::tests::acl(&[(OWNER, 7, NO_ID), (GROUP, 7, NO_ID), (OTHER, 7, NO_ID)]);
    minimal.set_mode(0o640);
    assert_eq!(minimal.mode(), 0o640);
}

#[test]
fn a_new_file_gets_no_more_than_it_asks_for() {
    let mut inherited = full();
    assert_eq!(inherited.restrict(0o2640), 0o2640);
    let mask = inherited.entries.iter().find(|entry| entry.tag == Tag::Mask).unwrap();
    assert_eq!(mask.may, 4);
    let named = inherited.entries.iter().find(|entry| entry.tag == Tag::User(1000)).unwrap();
    assert_eq!(named.may, 6);
    let mut all = full();
    assert_eq!(all.restrict(0o777), 0o761);
    assert_eq!(all, full());
}
