//! Whether the process behind a call is ending, and so will never see what the call comes to.

use std::fs;

/// Places in `/proc/PID/stat` behind the name of the program, as in proc_pid_stat(5) less three.
const FLAGS: usize = 6;
const PENDING: usize = 28;
const EXIT_CODE: usize = 49;
/// `PF_EXITING` of the kernel's `sched.h`.
const EXITING: u64 = 4;
/// SIGKILL in a set of signals. The kernel adds it to each thread of a process that any signal kills.
const KILL: u64 = 1 << (libc::SIGKILL - 1);
/// The part of an exit code that names a signal.
const SIGNAL: u64 = 0x7f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As far as can be seen from here: it may live in another PID namespace.
    Lives,
    /// Ends by itself, and is closing what it had open.
    Exits,
    /// A signal ends it.
    IsKilled,
}

impl Fate {
    /// Of a thread, by the number that requests carry.
    pub fn of(pid: u32) -> Self {
        // It asks nothing of file systems, and for a few hundred bytes.
        fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| Self::parse(&stat)).unwrap_or(Self::Lives)
    }

    fn parse(stat: &[u8]) -> Option<Self> {
        // The name may hold anything, blanks and brackets included.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let exits = number(FLAGS)? & EXITING != 0;
        if number(PENDING)? & KILL != 0 || exits && number(EXIT_CODE)? & SIGNAL != 0 {
            return Some(Self::IsKilled);
        }
        Some(if exits { Self::Exits } else { Self::Lives })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(flags: u64, pending: u64, exit_code: u64) -> String {
        let mut fields = vec!["0".to_owned(); EXIT_CODE + 1];
        fields[0] = "D".into();
        fields[FLAGS] = flags.to_string();
        fields[PENDING] = pending.to_string();
        fields[EXIT_CODE] = exit_code.to_string();
        format!("42 (a) b (c)) {}\n", fields.join(" "))
    }

    #[test]
    fn who_ends_and_who_does_not() {
        let fate = |flags, pending, exit_code| Fate::parse(stat(flags, pending, exit_code).as_bytes());
        assert_eq!(fate(0x40_0000, 0, 0), Some(Fate::Lives));
        assert_eq!(fate(0x40_0000, 1 << 16, 0), Some(Fate::Lives), "a handled SIGCHLD");
        assert_eq!(fate(0x40_0000, 1 << 8, 0), Some(Fate::IsKilled));
        assert_eq!(fate(0x40_0004, 0, 0), Some(Fate::Exits));
        assert_eq!(fate(0x40_0004, 0, 1 << 8), Some(Fate::Exits), "exit(1)");
        assert_eq!(fate(0x40_0004, 0, 2), Some(Fate::IsKilled), "by SIGINT");
        assert_eq!(Fate::parse(b"42 (x"), None);
    }

    #[test]
    fn this_process_lives_and_no_process_is_taken_for_alive() {
        assert_eq!(Fate::of(std::process::id()), Fate::Lives);
        assert_eq!(Fate::of(0), Fate::Lives);
    }
}
