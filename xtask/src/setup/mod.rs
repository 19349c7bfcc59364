//! Making sure of what a command needs, before it needs it.
//!
//! [`steps`] lists what is needed as data; this module walks the list. A step that is present is
//! passed over silently, so set-up can run before every command. What is missing is announced
//! with its reason before it is installed. Where there is no right or no way to install, the
//! exact command is printed for the user and the walk goes on; the last line says what was left
//! out.

mod apt;
mod debian;
mod steps;
mod wasm_std;

use crate::{paths, process};
use anyhow::{Context as _, Result, bail};
pub use steps::{has_vulkan_driver, has_wasm_opt, has_wasm_std};

/// A command that set-up is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `cargo xtask run`
    Run,
    /// `cargo xtask test`
    Test,
    /// `cargo xtask web`
    Web,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Run, Self::Test, Self::Web];

    /// Reads a scope from the command line.
    ///
    /// # Errors
    /// When the word is none of `run`, `test` and `web`.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "run" => Ok(Self::Run),
            "test" => Ok(Self::Test),
            "web" => Ok(Self::Web),
            _ => bail!("expected `run`, `test` or `web` after `setup`, got `{word}`"),
        }
    }
}

/// One thing that has to be there.
struct Step {
    what: &'static str,
    /// Continues "because".
    why: &'static str,
    scopes: &'static [Scope],
    present: fn() -> bool,
    /// Ways to get it, tried in order until it is present.
    install: &'static [Way],
}

/// One way to install something.
enum Way {
    /// Debian packages.
    Apt(&'static [&'static str]),
    /// A command line, run in the folder of the browser tests if so marked.
    Command { line: &'static str, in_web_tests: bool },
    /// Work that no single command does; `says` is printed before it.
    Work { says: &'static str, work: fn() -> Result<()> },
}

/// Makes sure of all that the scopes need. What cannot be installed is named and left out: it is
/// for the command that needs it to fail or to do without.
pub fn make_sure(scopes: &[Scope]) {
    let wanted = |step: &&Step| step.scopes.iter().any(|scope| scopes.contains(scope));
    let missing = steps::STEPS.iter().filter(wanted).filter(|step| !(step.present)());
    let left_out: Vec<_> = missing.filter(|step| !install(step)).map(|step| step.what).collect();
    if left_out.is_empty() {
        println!("set-up: all that is needed is there");
    } else {
        println!("set-up: going on without {} (see above)", left_out.join("; "));
    }
}

/// Tries the ways of a step in order; says whether the thing is there in the end.
fn install(step: &Step) -> bool {
    println!("set-up: needs {}, because {}", step.what, step.why);
    for way in step.install {
        if let Err(error) = way.go() {
            println!("set-up: {error:#}");
        }
        if (step.present)() {
            println!("set-up: now there: {}", step.what);
            return true;
        }
    }
    println!("set-up: still missing: {}", step.what);
    false
}

impl Way {
    fn go(&self) -> Result<()> {
        match self {
            Self::Apt(packages) => apt::install(packages),
            Self::Command { line, in_web_tests } => run_line(line, *in_web_tests),
            Self::Work { says, work } => {
                println!("set-up: {says}");
                work()
            }
        }
    }
}

fn run_line(line: &str, in_web_tests: bool) -> Result<()> {
    let mut command = process::from_line(line)?;
    let folder = if in_web_tests { paths::web_tests() } else { paths::root() };
    let program = command.get_program().to_string_lossy().into_owned();
    if !process::on_path(&program) {
        bail!("`{program}` was not found; install it, then run `{line}` in {}", folder.display());
    }
    process::run(command.current_dir(&folder))
        .with_context(|| format!("to try by hand, run `{line}` in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::{Scope, steps::STEPS};

    #[test]
    fn every_step_has_a_way_and_a_reason() {
        for step in STEPS {
            assert!(!step.install.is_empty() && !step.scopes.is_empty(), "{}", step.what);
            assert!(step.why.len() > 10, "{}", step.what);
        }
    }

    #[test]
    fn scopes_are_read_from_words() {
        assert_eq!(Scope::parse("web").ok(), Some(Scope::Web));
        assert!(Scope::parse("all").is_err());
    }
}
