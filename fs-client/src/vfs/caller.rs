//! Who asks, and what the kernel lets them do beyond what it tells.

use std::fs;

use cairn_proto::attr::Credentials;

/// Linux capability: keep setuid and setgid bits when a file is written or truncated.
const CAP_FSETID: u32 = 4;

/// The process behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// 0 where it is not visible from here.
    pub pid: u32,
}

impl Caller {
    /// This process itself, for use as a library.
    pub fn this_process() -> Self {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { uid, gid, pid: std::process::id() }
    }

    pub fn credentials(&self) -> Credentials {
        Credentials { uid: self.uid, gid: self.gid }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether its writes leave setuid and setgid bits alone.
    pub fn keeps_suid(&self) -> bool {
        let Some(status) = self.status() else { return self.is_root() };
        let effective = field(&status, "CapEff:").and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok());
        effective.map_or(self.is_root(), |caps| caps & (1 << CAP_FSETID) != 0)
    }

    /// Whether `gid` is one of its groups.
    pub fn is_in_group(&self, gid: u32) -> bool {
        if gid == self.gid {
            return true;
        }
        let Some(status) = self.status() else { return false };
        field(&status, "Groups:").is_some_and(|groups| groups.split_whitespace().any(|group| group.parse() == Ok(gid)))
    }

    fn status(&self) -> Option<String> {
        if self.pid == 0 {
            return None;
        }
        // The capabilities of a thread are its own: the kernel gives the thread's id here.
        fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_process() {
        let me = Caller::this_process();
        assert!(me.is_in_group(me.gid));
        assert!(!me.is_in_group(4_000_000_001));
        if me.is_root() {
            assert!(me.keeps_suid());
        }
        let nobody = Caller { uid: 65_534, gid: 65_534, pid: 0 };
        assert!(!nobody.keeps_suid());
    }
}
