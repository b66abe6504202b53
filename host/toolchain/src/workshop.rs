//! Where compilers and intermediate files live.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf, absolute},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Project,
    error::Doing,
    process::status,
    versions::{Registry, Toolchain},
};

/// Names a folder for compilers that several projects share.
pub const TOOLS_VARIABLE: &str = "TRIGGERBOX_TOOLS";

pub(crate) const PYTHON_HINT: &str = "Python 3.10 or newer with pip must be on the PATH (https://www.python.org)";
pub(crate) const NODE_HINT: &str = "Node.js 18 or newer with npm must be on the PATH (https://nodejs.org)";

/// Compilers, and room to work in.
#[derive(Debug, Clone)]
pub struct Workshop {
    tools: PathBuf,
    scratch: PathBuf,
}

impl Workshop {
    /// In the project's own folder, under `.triggerbox`; compilers where `TRIGGERBOX_TOOLS` says, if it does.
    #[must_use]
    pub fn of(project: &Project) -> Self {
        let own = project.folder.join(".triggerbox");
        Self { tools: Self::shared_tools().unwrap_or_else(|| own.join("tools")), scratch: own.join("build") }
    }

    /// Where `TRIGGERBOX_TOOLS` says that compilers are.
    #[must_use]
    pub fn shared_tools() -> Option<PathBuf> {
        env::var_os(TOOLS_VARIABLE).and_then(named)
    }

    /// In folders of the caller's choice.
    #[must_use]
    pub fn new(tools: PathBuf, scratch: PathBuf) -> Self {
        Self { tools, scratch }
    }

    /// Waits until nobody else builds here; nobody does as long as the file is open.
    ///
    /// # Errors
    /// [`Error::Files`].
    pub(crate) fn alone(&self) -> Result<fs::File, Error> {
        fs::create_dir_all(&self.scratch).doing("make", &self.scratch)?;
        locked(&self.scratch.with_extension("lock"), "another build of the same script")
    }

    /// An empty folder for this build's files.
    ///
    /// # Errors
    /// [`Error::Files`].
    pub fn scratch(&self) -> Result<&Path, Error> {
        if self.scratch.exists() {
            fs::remove_dir_all(&self.scratch).doing("empty", &self.scratch)?;
        }
        fs::create_dir_all(&self.scratch).doing("make", &self.scratch)?;
        Ok(&self.scratch)
    }

    /// The folder of a toolchain, installed if it is not there yet.
    ///
    /// # Errors
    /// [`Error::Install`], [`Error::Missing`], [`Error::Files`].
    pub fn install(&self, toolchain: &Toolchain) -> Result<PathBuf, Error> {
        self.once(&toolchain.folder(), &toolchain.label(), |into| installer(toolchain, into))
    }

    /// The folder of the packages that a requirements file names, installed if they are not there yet.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub(crate) fn packages(&self, requirements: &Path) -> Result<PathBuf, Error> {
        let text = fs::read(requirements).doing("read", requirements)?;
        let hash: String = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.once(&format!("requirements-{hash}"), &requirements.display().to_string(), |into| {
            let mut command = pip(into);
            command.arg("--requirement").arg(requirements);
            (command, PYTHON_HINT)
        })
    }

    /// A folder that a command fills, once.
    fn once(&self, name: &str, label: &str, fill: impl Fn(&Path) -> (Command, &'static str)) -> Result<PathBuf, Error> {
        let folder = self.tools.join(name);
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&self.tools).doing("make", &self.tools)?;
        // One process installs, the others wait for it.
        let _alone = locked(&self.tools.join(format!("{name}.lock")), &format!("another build that installs {label}"))?;
        if folder.exists() {
            return Ok(folder);
        }
        // What is half installed never has the name of what is installed.
        let partial = self.tools.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).doing("remove", &partial)?;
        }
        fs::create_dir_all(&partial).doing("make", &partial)?;
        eprintln!("installing {label} into {}", self.tools.display());
        let (mut command, hint) = fill(&partial);
        if !status(&mut command, hint)?.success() {
            // By hand, straight into the folder that the next build looks for.
            return Err(Error::Install { package: label.to_owned(), command: for_shell(&fill(&folder).0) });
        }
        fs::rename(&partial, &folder).doing("rename", &partial)?;
        Ok(folder)
    }

    /// The folder of a compiler's own cache.
    pub(crate) fn compiler_cache(&self, toolchain: &Toolchain) -> PathBuf {
        self.tools.join(format!("{}.cache", toolchain.folder()))
    }
}

/// A file that nobody else holds, for as long as it is open. Waiting for it can take minutes, which is said.
fn locked(guard: &Path, by: &str) -> Result<fs::File, Error> {
    let lock = fs::File::create(guard).doing("make", guard)?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for {by}");
        lock.lock().doing("lock", guard)?;
    }
    Ok(lock)
}

/// The folder that a variable names. Compilers are started in other folders than this program: it is named in full.
fn named(folder: OsString) -> Option<PathBuf> {
    let folder = Some(folder).filter(|folder| !folder.is_empty())?;
    Some(absolute(&folder).unwrap_or_else(|_| folder.into()))
}

/// A command as one types it into a shell.
fn for_shell(command: &Command) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=@:+,".contains(c);
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| {
        let word = word.to_string_lossy();
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The command that installs a toolchain into an empty folder.
fn installer(toolchain: &Toolchain, into: &Path) -> (Command, &'static str) {
    match toolchain.registry {
        Registry::PyPi => {
            let mut command = pip(into);
            command.args(toolchain.packages.iter().map(|(name, version)| format!("{name}=={version}")));
            (command, PYTHON_HINT)
        }
        Registry::Npm => {
            let mut command = Command::new("npm");
            // Without its parent folders' settings, and without packages' own scripts.
            command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", "--prefix"]);
            command.arg(into).args(toolchain.packages.iter().map(|(name, version)| format!("{name}@{version}")));
            (command, NODE_HINT)
        }
    }
}

/// Installs packages into a folder: exactly those that are named.
fn pip(into: &Path) -> Command {
    let mut command = python();
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    command.args(["--root-user-action", "ignore", "--target"]).arg(into);
    command
}

/// Python, as this machine calls it.
pub(crate) fn python() -> Command {
    Command::new(if cfg!(windows) { "python" } else { "python3" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_where_the_variable_says_wherever_they_are_started() {
        assert_eq!(named("tools".into()), Some(env::current_dir().unwrap().join("tools")));
        assert_eq!(named("/opt/tools".into()), Some(PathBuf::from("/opt/tools")));
        assert_eq!(named("".into()), None);
    }

    #[test]
    fn one_builds_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Workshop::new(folder.path().join("tools"), folder.path().join("build"));
        let guard = || fs::File::open(folder.path().join("build.lock")).unwrap();
        let alone = workshop.alone().unwrap();
        assert!(guard().try_lock().is_err());
        drop(alone);
        guard().try_lock().unwrap();
        workshop.scratch().unwrap();
    }

    #[test]
    fn what_fails_to_install_is_told_as_a_command_that_installs_it() {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("my tools");
        let workshop = Workshop::new(tools.clone(), folder.path().join("scratch"));
        let fill = |into: &Path| {
            // Into the folder of what is half installed it does nothing.
            let mut command = Command::new("sh");
            command.args(["-c", "case $1 in *.partial) exit 1;; esac; mkdir \"$1\"", "it's"]).arg(into);
            (command, "a shell")
        };
        let error = workshop.once("thing-1", "thing 1", fill).unwrap_err();
        let Error::Install { package, command } = &error else { panic!("{error}") };
        assert_eq!(package, "thing 1");
        assert!(command.ends_with(&format!("'it'\\''s' '{}'", tools.join("thing-1").display())), "{command}");
        // Whoever types what it says has it.
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success(), "{command}");
        assert_eq!(workshop.once("thing-1", "thing 1", fill).unwrap(), tools.join("thing-1"));
    }

    #[test]
    fn a_program_that_is_missing_is_named_with_where_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Workshop::new(folder.path().join("tools"), folder.path().join("scratch"));
        let error = workshop.once("thing-1", "thing 1", |_| (Command::new("/nowhere/npm"), NODE_HINT)).unwrap_err();
        assert!(
            matches!(&error, Error::Missing { program, hint, .. } if program == "/nowhere/npm" && *hint == NODE_HINT),
            "{error}"
        );
        let said = error.to_string();
        assert!(said.starts_with("cannot start `/nowhere/npm`: ") && said.ends_with(NODE_HINT), "{said}");
    }
}
