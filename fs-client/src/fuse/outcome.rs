//! What calls come to: replies, error numbers, and what is said of errors in the log.

use std::time::{Duration, Instant};

use fuser::Errno;
use parking_lot::Mutex;

use super::answer::Answer;
use crate::vfs::VfsError;

/// While calls fail because servers do not answer, it is said so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Sends results.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// When it was last said that calls fail for want of an answer.
    said: Mutex<Option<Instant>>,
}

impl Outcomes {
    pub fn send<A: Answer>(&self, operation: &'static str, reply: A, result: Result<A::Value, VfsError>) {
        match result {
            Ok(value) => reply.send(value),
            Err(error) => reply.fail(self.errno(operation, &error)),
        }
    }

    /// The error number of a failed operation. Answers of the file system are nobody's concern but the caller's; failures are logged.
    fn errno(&self, operation: &'static str, error: &VfsError) -> Errno {
        if error.is_answer() {
            tracing::debug!(operation, %error, "refused");
        } else if !error.is_timeout() {
            tracing::error!(operation, %error, "failed");
        } else if self.is_to_be_said() {
            tracing::error!(operation, %error, "operations fail until the servers answer again");
        } else {
            tracing::debug!(operation, %error, "failed");
        }
        Errno::from_i32(error.errno())
    }

    /// An outage is one event, however many operations it fails.
    fn is_to_be_said(&self) -> bool {
        let mut said = self.said.lock();
        let is_news = said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if is_news {
            *said = Some(Instant::now());
        }
        is_news
    }
}
