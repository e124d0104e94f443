//! Runs a program to its end.

use std::process::{Command, Stdio};

use crate::error::BenchError;

/// Runs `command`, drops its output and fails with what it said on standard error.
pub fn run(command: &mut Command) -> Result<(), BenchError> {
    command.stdout(Stdio::null());
    output(command).map(drop)
}

/// Runs `command` and answers with its standard output.
pub fn output(command: &mut Command) -> Result<String, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| BenchError::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(BenchError::ToolFailed { program, status: output.status, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = run(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err();
        let BenchError::ToolFailed { program, status, stderr } = error else { panic!("{error}") };
        assert_eq!((program.as_str(), status.code(), stderr.as_str()), ("sh", Some(3), "no luck"));
    }

    #[test]
    fn output_is_given_back() {
        assert_eq!(output(Command::new("echo").arg("word")).unwrap(), "word\n");
    }
}
