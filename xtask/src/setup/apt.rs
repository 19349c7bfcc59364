//! Installing Debian packages, with whatever right there is.

use crate::process;
use anyhow::{Context as _, Result, bail};
use std::{process::Command, sync::Once};

/// Waits for another apt that holds the lock, as on a machine that is still starting.
const APT: [&str; 3] = ["apt-get", "-o", "DPkg::Lock::Timeout=300"];

/// Updates the package lists once in a run, then installs the packages.
///
/// # Errors
/// Where packages cannot be installed from here; the message holds the command to type.
pub fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if !process::on_path("apt-get") {
        bail!(
            "this is not a Debian system, so nothing was installed; on Debian it would be \
             `{by_hand}`: install what your system calls {}",
            packages.join(", ")
        );
    }
    let Some(prefix) = rights() else {
        bail!("there is no right to install packages here; please run: sudo {by_hand}");
    };
    update_once(prefix);
    let mut command = apt(prefix, &["install", "-y", "--no-install-recommends"]);
    process::run(command.args(packages))
        .with_context(|| format!("to try by hand, run: sudo apt-get update && sudo {by_hand}"))
}

/// What to put before a command that needs root: nothing, sudo, or no way at all.
fn rights() -> Option<&'static [&'static str]> {
    let user = process::output(Command::new("id").arg("-u")).unwrap_or_default();
    if user.trim() == "0" {
        return Some(&[]);
    }
    process::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

/// Old lists name packages that are gone, so a first try without this can fail.
fn update_once(prefix: &[&str]) {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        if let Err(error) = process::run(&mut apt(prefix, &["update"])) {
            println!("set-up: {error:#}; going on with the lists there are");
        }
    });
}

fn apt(prefix: &[&str], words: &[&str]) -> Command {
    let line = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive"], &APT, words].concat();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]);
    command
}

#[cfg(test)]
mod tests {
    use super::apt;
    use crate::process::line;

    #[test]
    fn sudo_comes_first() {
        let command = line(&apt(&["sudo", "-n"], &["update"]));
        assert!(command.starts_with("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "));
        assert!(line(&apt(&[], &["update"])).starts_with("env DEBIAN_FRONTEND"));
    }
}
