//! Compiling what others upload: in a child process with bounds on time, memory and output.
//!
//! The compiler is a large program that is given hostile input. A component that makes it loop, swell or crash
//! takes the child with it, not the host.

use std::{
    ffi::OsString,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::{
    engine::{self, Mode, Pool},
    inspect,
    sandbox::one_line,
};

/// How to start the child: this program again, with a hidden subcommand that calls [`compile_child_main`].
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program; usually [`std::env::current_exe`].
    pub program: PathBuf,
    /// The hidden subcommand, such as `__compile`.
    pub arguments: Vec<OsString>,
    /// What the child may use.
    pub bounds: Bounds,
}

/// What one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Time from start to end: longer than the processor time, so that it is not the other work of a busy machine that counts.
    pub wall: Duration,
    /// Processor time over all cores, in seconds. So much it takes at most where nothing else is done.
    pub cpu: u64,
    /// Address space, in bytes.
    pub memory: u64,
    /// Size of the artefact, in bytes. Code is two to four times as large as the component.
    pub output: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { wall: Duration::from_secs(300), cpu: 60, memory: 2 << 30, output: 512 << 20 }
    }
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The engine refuses the component. The script's author.
    #[error("the component does not compile: {0}")]
    Refused(String),
    /// The component is too much for the compiler. The script's author; an administrator may raise the bounds.
    #[error("compiling the component needs {0}")]
    TooMuch(String),
    /// The child could not be started or died otherwise. The operator.
    #[error("the compiler failed: {0}")]
    Failed(String),
}

/// First byte of the child's answer.
const DONE: u8 = 0;
const REFUSED: u8 = 1;

impl Compiler {
    /// A compiler with default bounds.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().collect(), bounds: Bounds::default() }
    }

    /// Compiles a component to an artefact.
    ///
    /// # Errors
    /// [`CompileError`]
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            // Its allocator, if it is mimalloc, reserves a GiB at once otherwise: half of the address space that it is given. In KiB.
            .env("MIMALLOC_ARENA_RESERVE", "65536")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CompileError::Failed(format!("{} does not start: {error}", self.program.display())))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CompileError::Failed("its pipes are missing".to_owned()));
        };
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let mut stdout = stdout.take(self.bounds.output.saturating_add(2));
        let mut stderr = stderr.take(64 * 1024);
        let talk = async {
            let feed = async {
                // A child that died does not read to the end; why it died is more telling.
                let _ = stdin.write_all(&self.bounds.memory.to_le_bytes()).await;
                let _ = stdin.write_all(&self.bounds.cpu.to_le_bytes()).await;
                let _ = stdin.write_all(component).await;
                drop(stdin);
            };
            let listen = async {
                let _ = stdout.read_to_end(&mut answer).await;
                // Closed, so that a child with too much to say ends.
                drop(stdout);
            };
            // A complaint that cannot be read is one that is not shown.
            let (_, _, _) = tokio::join!(feed, listen, stderr.read_to_end(&mut complaint));
            child.wait().await
        };
        let status = match tokio::time::timeout(self.bounds.wall, talk).await {
            Ok(status) => status.map_err(|error| CompileError::Failed(error.to_string()))?,
            Err(_) => {
                // Kills and reaps: no zombie is left.
                let _ = child.kill().await;
                return Err(CompileError::TooMuch(format!("more than {} s", self.bounds.wall.as_secs_f32())));
            }
        };
        self.judge(status, answer, &String::from_utf8_lossy(&complaint))
    }

    fn judge(&self, status: ExitStatus, mut answer: Vec<u8>, complaint: &str) -> Result<Vec<u8>, CompileError> {
        if answer.len() as u64 > self.bounds.output {
            return Err(CompileError::TooMuch(format!("more than {} MiB for its code", self.bounds.output >> 20)));
        }
        match (status.success(), answer.first()) {
            (true, Some(&DONE)) => {
                answer.remove(0);
                return Ok(answer);
            }
            (true, Some(&REFUSED)) => {
                let text = answer.get(1..).unwrap_or_default();
                return Err(CompileError::Refused(String::from_utf8_lossy(text).into_owned()));
            }
            _ => {}
        }
        let out_of_memory = ["memory allocation of", "Cannot allocate memory", "out of memory", "capacity overflow"];
        if out_of_memory.iter().any(|text| complaint.contains(text)) {
            return Err(CompileError::TooMuch(format!("more than {} MiB of memory", self.bounds.memory >> 20)));
        }
        // EAGAIN: what starting a thread ends with where its stack finds no room below the bound.
        if complaint.contains("Resource temporarily unavailable") {
            return Err(CompileError::TooMuch(format!(
                "more threads than there are, or more than {} MiB of memory for their stacks",
                self.bounds.memory >> 20
            )));
        }
        Err(match status.signal() {
            Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() => {
                CompileError::TooMuch(format!("more than {} s of processor time", self.bounds.cpu))
            }
            Some(signal) => CompileError::TooMuch(format!(
                "more stack or memory than there is: the compiler died of signal {signal}"
            )),
            None => CompileError::Failed(format!("{status}: {}", complaint.trim().replace('\n', "; "))),
        })
    }
}

/// The child's side: reads bounds and a component from stdin, writes the artefact to stdout.
#[must_use]
pub fn compile_child_main() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody else sees it when stderr is gone too.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn child() -> std::io::Result<()> {
    let mut stdin = std::io::stdin().lock();
    let mut number = [0; 8];
    stdin.read_exact(&mut number)?;
    let memory = u64::from_le_bytes(number);
    stdin.read_exact(&mut number)?;
    let cpu = u64::from_le_bytes(number);
    // From here on nothing that comes in can take more than this. No files are written, no core is dumped.
    for (resource, most) in [(Resource::As, memory), (Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, 64)]
    {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // The first bound ends it with a signal of its own, by which it is told from other ends.
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu.saturating_add(1)) })?;
    let mut component = Vec::new();
    stdin.take(inspect::MAX_BYTES as u64 + 1).read_to_end(&mut component)?;

    let mut stdout = std::io::stdout().lock();
    let (engine, _) = engine::engine(Mode::Compile, &Pool::default()).map_err(std::io::Error::other)?;
    match engine.precompile_component(&component) {
        Ok(artefact) => {
            stdout.write_all(&[DONE])?;
            stdout.write_all(&artefact)?;
        }
        Err(error) => {
            let text = format!("{error:#}");
            if text.contains("Cannot allocate memory") {
                return Err(std::io::Error::other(text));
            }
            stdout.write_all(&[REFUSED])?;
            stdout.write_all(one_line(&error).as_bytes())?;
        }
    }
    stdout.flush()
}
