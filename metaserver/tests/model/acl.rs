//! ACLs as lists of (tag, permissions, id), as they stand in the xattr.

use cairn_proto::error::FsError;

const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Debug)]
pub struct Acl(Vec<(u16, u16, u32)>);

impl Acl {
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, FsError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() < 4 {
            return Err(FsError::InvalidArgument);
        }
        if bytes[..4] != [2, 0, 0, 0] {
            return Err(FsError::Unsupported);
        }
        let body = &bytes[4..];
        if !body.len().is_multiple_of(8) {
            return Err(FsError::InvalidArgument);
        }
        if body.is_empty() {
            return Ok(None);
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
        let acl = Self(
            body.chunks(8)
                .map(|entry| (number(&entry[..2]) as u16, number(&entry[2..4]) as u16, number(&entry[4..])))
                .collect(),
        );
        if acl.is_valid() { Ok(Some(acl)) } else { Err(FsError::InvalidArgument) }
    }

    /// One that was checked when it was set.
    pub fn stored(bytes: &[u8]) -> Self {
        Self::parse(bytes).ok().flatten().expect("only valid ACLs are stored")
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|entry| entry.0 == tag).count();
        let named = count(2) + count(8);
        self.0.is_sorted_by_key(|entry| entry.0)
            && self.0.iter().all(|entry| [1, 2, 4, 8, 0x10, 0x20].contains(&entry.0) && entry.1 < 8)
            && self.0.iter().all(|entry| ![2, 8].contains(&entry.0) || entry.2 != u32::MAX)
            && (count(OWNER), count(GROUP), count(OTHER)) == (1, 1, 1)
            && (count(MASK) == 1 || count(MASK) == 0 && named == 0)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for &(tag, may, id) in &self.0 {
            let id = if [2, 8].contains(&tag) { id } else { u32::MAX };
            bytes.extend([tag as u8, 0, may as u8, 0]);
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    pub fn is_extended(&self) -> bool {
        self.0.len() > 3
    }

    fn group_class(&self) -> u16 {
        if self.0.iter().any(|entry| entry.0 == MASK) { MASK } else { GROUP }
    }

    fn of(&mut self, tag: u16) -> &mut u16 {
        &mut self.0.iter_mut().find(|entry| entry.0 == tag).expect("a valid ACL").1
    }

    fn classes(&self) -> [(u16, u32); 3] {
        [(OWNER, 6), (self.group_class(), 3), (OTHER, 0)]
    }

    pub fn mode(&self) -> u32 {
        let mut acl = self.clone();
        self.classes().iter().map(|&(tag, shift)| u32::from(*acl.of(tag)) << shift).sum()
    }

    pub fn chmod(&mut self, mode: u32) {
        for (tag, shift) in self.classes() {
            *self.of(tag) = (mode >> shift & 7) as u16;
        }
    }

    pub fn for_new(&self, mode: u32) -> Self {
        let mut acl = self.clone();
        for (tag, shift) in self.classes() {
            *acl.of(tag) &= (mode >> shift & 7) as u16;
        }
        acl
    }
}
