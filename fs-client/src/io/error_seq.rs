//! Errors of background writes, told once to each open file, after Linux' `errseq_t` (`lib/errseq.c`).

use super::error::IoError;

/// What one open file has been told so far. From [`super::FileIo::error_cursor`], kept with the open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorCursor(u64);

/// The errors of one file, in order. Only the last one is kept: as with Linux, one error stands for all since the last check.
#[derive(Debug, Default)]
pub(super) struct ErrorSeq {
    /// Errors recorded so far.
    count: u64,
    last: Option<IoError>,
    /// Somebody has been told the last one.
    seen: bool,
}

impl ErrorSeq {
    pub(super) fn record(&mut self, error: IoError) {
        self.count += 1;
        self.last = Some(error);
        self.seen = false;
    }

    /// Errors recorded so far: to see whether one was added.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn last(&self) -> Option<&IoError> {
        self.last.as_ref()
    }

    /// For a newly opened file: an error that nobody has been told yet is told to it too.
    pub(super) fn cursor(&self) -> ErrorCursor {
        ErrorCursor(if self.seen { self.count } else { self.count.saturating_sub(1) })
    }

    /// An error since `cursor`, once.
    pub(super) fn take(&mut self, cursor: &mut ErrorCursor) -> Option<IoError> {
        if cursor.0 >= self.count {
            return None;
        }
        cursor.0 = self.count;
        self.seen = true;
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_open_file_is_told_once() {
        let mut errors = ErrorSeq::default();
        let (mut a, mut b) = (errors.cursor(), errors.cursor());
        assert_eq!(errors.take(&mut a), None);
        errors.record(IoError::Closed);
        assert_eq!(errors.take(&mut a), Some(IoError::Closed));
        assert_eq!(errors.take(&mut a), None);
        assert_eq!(errors.take(&mut b), Some(IoError::Closed));
        assert_eq!(errors.take(&mut b), None);
    }

    #[test]
    fn an_error_that_nobody_saw_waits_for_the_next_open() {
        let mut errors = ErrorSeq::default();
        errors.record(IoError::Closed);
        let mut late = errors.cursor();
        assert_eq!(errors.take(&mut late), Some(IoError::Closed));
        let mut later = errors.cursor();
        assert_eq!(errors.take(&mut later), None, "it has been seen");
    }
}
