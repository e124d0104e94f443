//! `cairn trash list`: printed as it comes, as there may be more than fits into memory.

use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::time::SystemTime;

use cairn_proto::name::Name;
use cairn_proto::time::Timestamp;
use cairn_proto::trash::TrashEntry;
use serde::Serialize;

use super::info::kind_word;
use super::{bytes, seconds};

/// One entry for programs.
#[derive(Debug, Serialize)]
struct EntryView {
    inode: u64,
    kind: &'static str,
    /// Seconds since the epoch.
    deleted: f64,
    expires: f64,
    size: u64,
    name: String,
    /// `null` where a directory on the way is gone.
    path: Option<String>,
}

/// A list under way.
#[derive(Debug)]
pub struct TrashList {
    out: BufWriter<Stdout>,
    json: bool,
    entries: u64,
}

impl TrashList {
    pub fn begin(json: bool) -> io::Result<Self> {
        let mut out = BufWriter::new(stdout());
        if json {
            write!(out, "[")?;
        }
        Ok(Self { out, json, entries: 0 })
    }

    pub fn add(&mut self, entry: TrashEntry) -> io::Result<()> {
        self.entries += 1;
        if self.json { self.add_json(entry) } else { self.add_line(&entry) }
    }

    fn add_json(&mut self, entry: TrashEntry) -> io::Result<()> {
        let TrashEntry { inode, kind, deleted, expires, size, bytes: _, name, path } = entry;
        let view = EntryView {
            inode: inode.0,
            kind: kind_word(kind),
            deleted: seconds(deleted),
            expires: seconds(expires),
            size,
            name: name.to_string(),
            path: path.as_deref().map(shown),
        };
        write!(self.out, "{}", if self.entries > 1 { ",\n " } else { "\n " })?;
        serde_json::to_writer(&mut self.out, &view)?;
        Ok(())
    }

    fn add_line(&mut self, entry: &TrashEntry) -> io::Result<()> {
        if self.entries == 1 {
            writeln!(self.out, "{}", line("REMOVED", "KEPT UNTIL", "SIZE", "INODE", "PATH"))?;
        }
        let size = if entry.kind == cairn_proto::attr::FileKind::File { bytes(entry.size) } else { "-".to_owned() };
        let mut path = entry.path.as_deref().map_or_else(|| format!("?/{}", entry.name), shown);
        if entry.kind == cairn_proto::attr::FileKind::Directory {
            path.push('/');
        }
        let (deleted, expires) = (moment(entry.deleted), moment(entry.expires));
        writeln!(self.out, "{}", line(&deleted, &expires, &size, &entry.inode.0.to_string(), &path))
    }

    pub fn end(mut self) -> io::Result<()> {
        match (self.json, self.entries) {
            (true, 0) => writeln!(self.out, "]")?,
            (true, _) => writeln!(self.out, "\n]")?,
            (false, 0) => writeln!(self.out, "nothing that was removed is kept")?,
            (false, _) => {}
        }
        self.out.flush()
    }
}

fn line(deleted: &str, expires: &str, size: &str, inode: &str, path: &str) -> String {
    format!(" {deleted:<20}  {expires:<20}  {size:>10}  {inode:>10}  {path}")
}

/// `2026-01-31T12:00:00Z`; dashes where no calendar reaches.
fn moment(time: Timestamp) -> String {
    const LAST: i64 = 253_402_300_799;
    if !(0..=LAST).contains(&time.secs) {
        return "-".to_owned();
    }
    humantime::format_rfc3339_seconds(SystemTime::from(time)).to_string()
}

/// `/a/b`.
pub fn shown(path: &[Name]) -> String {
    if path.is_empty() { "/".to_owned() } else { path.iter().map(|name| format!("/{name}")).collect() }
}
