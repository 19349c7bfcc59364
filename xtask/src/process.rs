//! Starting other programs, and saying so.

use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// The cargo that runs this tool, in the repository root.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::paths::root());
    command
}

/// A command from words that were written as one line.
///
/// # Errors
/// When the line is empty.
pub fn from_line(line: &str) -> Result<Command> {
    let mut words = line.split_whitespace();
    let program = words.next().context("expected a command line, got an empty one")?;
    let mut command = Command::new(program);
    command.args(words);
    Ok(command)
}

/// Prints the command, runs it with this terminal, and fails when it fails.
///
/// # Errors
/// When it cannot be started or ends with another status than zero.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status =
        command.status().with_context(|| format!("`{line}` could not be started; is the program installed?"))?;
    if status.success() {
        return Ok(());
    }
    bail!("`{line}` was expected to succeed but ended with {status}; its own output is above")
}

/// Runs the command silently and returns what it printed.
///
/// # Errors
/// When it cannot be started or ends with another status than zero.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{line}` could not be started; is the program installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` was expected to succeed but ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the command runs and succeeds; prints nothing.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a program of this name is on the PATH.
pub fn on_path(program: &str) -> bool {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(&name).is_file())
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{from_line, line};

    #[test]
    fn a_line_comes_back_as_it_was_written() {
        let command = from_line("apt-get install  chromium");
        assert_eq!(command.map(|c| line(&c)).ok().as_deref(), Some("apt-get install chromium"));
        assert!(from_line("  ").is_err());
    }
}
