//! What the files are on which workers work: the objects of [`super::checker`].

use super::checker::Model;

/// A number that tells who wrote it and when: no two writes have the same. Zero is what was there first.
pub type Value = u64;

/// A file's whole content: written, read, and compared and replaced under a lock.
#[derive(Debug)]
pub struct Register;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOp {
    Read {
        saw: Value,
    },
    Write {
        put: Value,
    },
    /// Under a lock: read, and unless it wrote nothing, replaced. Of a call that did not end nobody knows what it saw.
    Swap {
        saw: Option<Value>,
        put: Option<Value>,
    },
}

impl Model for Register {
    type State = Value;
    type Op = RegisterOp;

    fn initial(&self) -> Value {
        0
    }

    fn step(&self, state: &Value, op: &RegisterOp) -> Option<Value> {
        match *op {
            RegisterOp::Read { saw } => (saw == *state).then_some(saw),
            RegisterOp::Write { put } => Some(put),
            RegisterOp::Swap { saw, put } => saw.is_none_or(|saw| saw == *state).then(|| put.unwrap_or(*state)),
        }
    }
}

/// A name, and the inode that it leads to.
#[derive(Debug)]
pub struct Name;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOp {
    /// `O_EXCL`: the new inode, or `None`: there was one. Of a call that did not end the inode is [`UNKNOWN`].
    Create { made: Option<u64> },
    /// Whether there was one.
    Unlink { done: bool },
    /// The inode, if there is one; [`UNKNOWN`] where the call does not tell which.
    Look { saw: Option<u64> },
}

/// Some inode.
pub const UNKNOWN: u64 = 0;

impl Model for Name {
    type State = Option<u64>;
    type Op = NameOp;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, op: &NameOp) -> Option<Option<u64>> {
        match (*op, *state) {
            (NameOp::Create { made: Some(inode) }, None) => Some(Some(inode)),
            (NameOp::Create { made: None }, Some(_)) => Some(*state),
            (NameOp::Unlink { done: true }, Some(_)) | (NameOp::Unlink { done: false }, None) => Some(None),
            (NameOp::Look { saw: None }, None) => Some(None),
            (NameOp::Look { saw: Some(saw) }, Some(there)) => match (saw, there) {
                (UNKNOWN, _) => Some(Some(there)),
                (_, UNKNOWN) => Some(Some(saw)),
                _ => (saw == there).then_some(Some(saw)),
            },
            _ => None,
        }
    }
}

/// The one file of a directory, and under which of its names it is.
#[derive(Debug)]
pub struct Token;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOp {
    /// Not done: it was not there. `beside`: another call meanwhile moved it to the same name.
    Rename {
        from: u8,
        to: u8,
        done: bool,
        beside: bool,
    },
    Look {
        name: u8,
        there: bool,
    },
}

impl Model for Token {
    type State = u8;
    type Op = TokenOp;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, op: &TokenOp) -> Option<u8> {
        match *op {
            // Linux looks up the one name, then the other, and asks no file system to rename a file to itself: so it says that it has
            // done what another machine did in between.
            TokenOp::Rename { to, done: true, beside: true, .. } if to == *state => Some(to),
            TokenOp::Rename { from, to, done, .. } => {
                (done == (from == *state)).then_some(if done { to } else { *state })
            }
            TokenOp::Look { name, there } => (there == (name == *state)).then_some(*state),
        }
    }
}
