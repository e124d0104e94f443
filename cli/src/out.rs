//! Printing to whoever runs the command.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// What a shell makes of a program that was ended by SIGPIPE.
const NOBODY_READS: i32 = 141;

/// Prints a line, as `println!` does; where nobody reads any more, as after `head`, the command ends without a word. For commands that do nothing
/// else than to print.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}

/// Prints a line; whether somebody reads it does not matter to what else the program does.
macro_rules! announce {
    ($($text:tt)*) => { $crate::out::line_for_whoever_reads(format_args!($($text)*)) };
}

pub(crate) use {announce, say};

/// See [`say`].
pub fn line(text: Arguments<'_>) {
    printed(print(text));
}

/// What came of printing: where it failed, the command ends, as with [`say`].
pub fn printed<T>(result: io::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        Err(error) => {
            eprintln!("cairn: cannot print: {error}");
            std::process::exit(1);
        }
    }
}

/// See [`announce`].
pub fn line_for_whoever_reads(text: Arguments<'_>) {
    let _ = print(text);
}

/// At once, also where it is not a terminal.
fn print(text: Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}
