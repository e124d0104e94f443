//! POSIX ACLs: the format of the `system.posix_acl_*` xattrs, what makes one valid, and how it and the mode keep in step.
//!
//! The rules are those of POSIX 1003.1e draft 17 as Linux has them (`fs/posix_acl.c`); the format is that of
//! `include/uapi/linux/posix_acl_xattr.h`: a little-endian version word, then 8 bytes an entry.

use cairn_proto::error::FsError;

/// `rwx` for owner, group and others.
pub(super) const PERMISSION_BITS: u32 = 0o777;

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
/// Stands where a tag has no id.
const NO_ID: u32 = u32::MAX;
const ALL: u16 = 0o7;

/// Whom an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    Owner,
    User(u32),
    Group,
    NamedGroup(u32),
    Mask,
    Other,
}

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub tag: Tag,
    /// `rwx` in the lowest three bits.
    pub may: u16,
}

/// A valid ACL: owner, named users, group, named groups, mask, others, in this order; a mask where anybody is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Reads the xattr. `None` for one that holds no entries: it means that there is to be no ACL.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, FsError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (version, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FsError::InvalidArgument)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(FsError::Unsupported);
        }
        let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(FsError::InvalidArgument);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let entries = entries.iter().map(Entry::parse).collect::<Result<Vec<_>, _>>()?;
        check(&entries)?;
        Ok(Some(Self { entries }))
    }

    /// As the xattr has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES);
        bytes.extend(VERSION.to_le_bytes());
        self.entries.iter().for_each(|entry| entry.write(&mut bytes));
        bytes
    }

    /// The permission bits that say the same to somebody who knows no ACLs: the mask, where there is one, stands for the group.
    pub fn mode(&self) -> u32 {
        let group = self.may(|tag| tag == Tag::Mask).unwrap_or_else(|| self.base(Tag::Group));
        self.base(Tag::Owner) << 6 | group << 3 | self.base(Tag::Other)
    }

    /// Whether the permission bits say all that this ACL says.
    pub fn is_minimal(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.tag, Tag::Owner | Tag::Group | Tag::Other))
    }

    /// Follows a `chmod`: what the group bits mean is the mask, where there is one.
    pub fn set_mode(&mut self, mode: u32) {
        self.with_mode(mode, |_, bits| bits);
    }

    /// Takes away what a new file's `mode` does not ask for; answers the mode that results.
    pub fn restrict(&mut self, mode: u32) -> u32 {
        self.with_mode(mode, |may, bits| may & bits);
        mode & !PERMISSION_BITS | self.mode()
    }

    fn with_mode(&mut self, mode: u32, combine: impl Fn(u16, u16) -> u16) {
        let bits = |shift: u32| (mode >> shift) as u16 & ALL;
        let masked = self.entries.iter().any(|entry| entry.tag == Tag::Mask);
        for entry in &mut self.entries {
            entry.may = match entry.tag {
                Tag::Owner => combine(entry.may, bits(6)),
                Tag::Mask => combine(entry.may, bits(3)),
                Tag::Group if !masked => combine(entry.may, bits(3)),
                Tag::Other => combine(entry.may, bits(0)),
                Tag::User(_) | Tag::Group | Tag::NamedGroup(_) => entry.may,
            };
        }
    }

    fn may(&self, is: impl Fn(Tag) -> bool) -> Option<u32> {
        self.entries.iter().find(|entry| is(entry.tag)).map(|entry| u32::from(entry.may))
    }

    fn base(&self, tag: Tag) -> u32 {
        self.may(|t| t == tag).expect("a checked ACL has entries for owner, group and others")
    }
}

impl Entry {
    const OWNER: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x04;
    const NAMED_GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;

    fn parse(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, FsError> {
        let [t0, t1, p0, p1, i0, i1, i2, i3] = *bytes;
        let may = u16::from_le_bytes([p0, p1]);
        let id = u32::from_le_bytes([i0, i1, i2, i3]);
        let tag = match u16::from_le_bytes([t0, t1]) {
            Self::OWNER => Tag::Owner,
            Self::USER if id != NO_ID => Tag::User(id),
            Self::GROUP => Tag::Group,
            Self::NAMED_GROUP if id != NO_ID => Tag::NamedGroup(id),
            Self::MASK => Tag::Mask,
            Self::OTHER => Tag::Other,
            _ => return Err(FsError::InvalidArgument),
        };
        if may & !ALL != 0 {
            return Err(FsError::InvalidArgument);
        }
        Ok(Self { tag, may })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let (tag, id) = match self.tag {
            Tag::Owner => (Self::OWNER, NO_ID),
            Tag::User(id) => (Self::USER, id),
            Tag::Group => (Self::GROUP, NO_ID),
            Tag::NamedGroup(id) => (Self::NAMED_GROUP, id),
            Tag::Mask => (Self::MASK, NO_ID),
            Tag::Other => (Self::OTHER, NO_ID),
        };
        bytes.extend(tag.to_le_bytes());
        bytes.extend(self.may.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
}

/// The order and the number of entries, see [`Acl`].
fn check(entries: &[Entry]) -> Result<(), FsError> {
    let mut rest = entries.iter().map(|entry| entry.tag).peekable();
    let mut named = false;
    let mut valid = rest.next() == Some(Tag::Owner);
    while rest.next_if(|tag| matches!(tag, Tag::User(_))).is_some() {
        named = true;
    }
    valid &= rest.next() == Some(Tag::Group);
    while rest.next_if(|tag| matches!(tag, Tag::NamedGroup(_))).is_some() {
        named = true;
    }
    valid &= rest.next_if_eq(&Tag::Mask).is_some() || !named;
    valid &= rest.next() == Some(Tag::Other) && rest.next().is_none();
    if valid { Ok(()) } else { Err(FsError::InvalidArgument) }
}

#[cfg(test)]
mod tests;
