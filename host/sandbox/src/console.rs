//! A run's log: what the script logs and what it prints, within the limits on logging.
//!
//! Over a limit, lines are dropped with one marker; logging never ends a run. The last of stderr is always
//! kept: language runtimes print there why they are about to trap.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use triggerbox_model::limits::{Limit, Meter};
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::host::{Host, LogLevel};

/// Bytes of stderr that are kept for the report of a trap.
const TAIL: usize = 8 * 1024;
/// Longest line; longer ones are broken.
const LONGEST_LINE: usize = 16 * 1024;

/// Writes log lines to the host, within limits.
#[derive(Default)]
pub(crate) struct Console {
    cut: bool,
    printed: Printed,
}

impl Console {
    /// A console whose pipes hold no more than a run may log.
    pub(crate) fn new(most_bytes: u64, most_lines: u64) -> Self {
        let printed = Printed::default();
        printed.lock().room = usize::try_from(most_bytes.saturating_add(1)).unwrap_or(usize::MAX).min(16 << 20);
        printed.lock().lines = usize::try_from(most_lines.saturating_add(1)).unwrap_or(usize::MAX).min(100_000);
        Self { cut: false, printed }
    }

    pub(crate) fn stdout(&self) -> Pipe {
        Pipe { level: LogLevel::Debug, printed: self.printed.clone() }
    }

    pub(crate) fn stderr(&self) -> Pipe {
        Pipe { level: LogLevel::Warning, printed: self.printed.clone() }
    }

    /// Passes one line on, after what was printed before it.
    pub(crate) fn log(&mut self, level: LogLevel, message: &str, meter: &mut Meter, host: &mut dyn Host) {
        self.drain(meter, host);
        self.line(level, message, meter, host);
    }

    /// Passes on the lines that were printed since the last call.
    pub(crate) fn drain(&mut self, meter: &mut Meter, host: &mut dyn Host) {
        let ready = self.printed.lock().take();
        for (level, line) in ready {
            self.line(level, &String::from_utf8_lossy(&line), meter, host);
        }
    }

    /// Passes on what is left, also a last line without an end; gives the last of stderr.
    pub(crate) fn finish(&mut self, meter: &mut Meter, host: &mut dyn Host) -> Option<String> {
        self.printed.lock().end_lines();
        self.drain(meter, host);
        let tail = std::mem::take(&mut self.printed.lock().tail);
        let text = String::from_utf8_lossy(&Vec::from(tail)).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn line(&mut self, level: LogLevel, message: &str, meter: &mut Meter, host: &mut dyn Host) {
        if self.cut {
            return;
        }
        let room = usize::try_from(meter.remaining(Limit::LogBytes)).unwrap_or(usize::MAX);
        if meter.remaining(Limit::LogLines) == 0 || room == 0 {
            return self.mark(meter, host);
        }
        let fits = message.get(..message.floor_char_boundary(room)).unwrap_or(message);
        // What is charged was measured to fit.
        let _ = meter.charge(Limit::LogLines, 1);
        let _ = meter.charge(Limit::LogBytes, fits.len() as u64);
        host.log(level, fits);
        if fits.len() < message.len() {
            self.mark(meter, host);
        }
    }

    /// Says once that the log ends here.
    fn mark(&mut self, meter: &Meter, host: &mut dyn Host) {
        self.cut = true;
        let (lines, bytes) = (meter.limits().get(Limit::LogLines), meter.limits().get(Limit::LogBytes));
        host.log(LogLevel::Warning, &format!("the log ends here: a run may log {lines} lines and {bytes} bytes"));
    }
}

/// What the script printed and nobody has seen yet.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Buffers>>);

#[derive(Default)]
struct Buffers {
    /// Bytes that may still be taken in. What is dropped here would be dropped by the limits as well.
    room: usize,
    lines: usize,
    ready: Vec<(LogLevel, Vec<u8>)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: VecDeque<u8>,
}

impl Printed {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffers {
    fn take(&mut self) -> Vec<(LogLevel, Vec<u8>)> {
        std::mem::take(&mut self.ready)
    }

    fn write(&mut self, level: LogLevel, bytes: &[u8]) {
        if level == LogLevel::Warning {
            let keep = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes);
            let over = (self.tail.len() + keep.len()).saturating_sub(TAIL);
            self.tail.drain(..over.min(self.tail.len()));
            self.tail.extend(keep);
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.room == 0 || self.lines == 0 {
                return;
            }
            let taken = piece.get(..self.room).unwrap_or(piece);
            self.room -= taken.len();
            let line = if level == LogLevel::Warning { &mut self.stderr } else { &mut self.stdout };
            line.extend_from_slice(taken);
            if line.ends_with(b"\n") || line.len() >= LONGEST_LINE || self.room == 0 {
                self.end_line(level);
            }
        }
    }

    fn end_line(&mut self, level: LogLevel) {
        let line = if level == LogLevel::Warning { &mut self.stderr } else { &mut self.stdout };
        let mut line = std::mem::take(line);
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if !line.is_empty() {
            self.lines = self.lines.saturating_sub(1);
            self.ready.push((level, line));
        }
    }

    fn end_lines(&mut self) {
        self.end_line(LogLevel::Debug);
        self.end_line(LogLevel::Warning);
    }
}

/// The script's stdout or stderr.
#[derive(Clone)]
pub(crate) struct Pipe {
    level: LogLevel,
    printed: Printed,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for it, and that is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.printed.lock().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[async_trait::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use triggerbox_model::{
        allowance::Allowance,
        call::{Call, Reply},
        limits::{Class, LimitRequest, Limits},
    };

    use super::*;
    use crate::host::HostFault;

    #[derive(Default)]
    struct Lines(Vec<(LogLevel, String)>);

    #[async_trait::async_trait]
    impl Host for Lines {
        async fn call(&mut self, _: Call, _: Allowance) -> Result<Reply, HostFault> {
            Err(HostFault::new("not asked here"))
        }
        fn log(&mut self, level: LogLevel, message: &str) {
            self.0.push((level, message.to_owned()));
        }
    }

    fn meter(lines: u64, bytes: u64) -> Meter {
        let request = LimitRequest([(Limit::LogLines, lines), (Limit::LogBytes, bytes)].into());
        Meter::new(Limits::resolve(Class::Async, [&request]))
    }

    #[test]
    fn what_is_printed_comes_before_what_is_logged_after_it() {
        let (mut meter, mut host) = (meter(10, 1000), Lines::default());
        let mut console = Console::new(1000, 10);
        console.stdout().write("one\ntw".into()).unwrap();
        console.log(LogLevel::Info, "logged", &mut meter, &mut host);
        console.stdout().write("o\n".into()).unwrap();
        console.stderr().write("no end".into()).unwrap();
        assert_eq!(console.finish(&mut meter, &mut host).as_deref(), Some("no end"));
        let lines: Vec<_> = host.0.iter().map(|(level, line)| (level.name(), line.as_str())).collect();
        assert_eq!(lines, [("debug", "one"), ("info", "logged"), ("debug", "two"), ("warning", "no end")]);
    }

    #[test]
    fn over_the_limit_there_is_one_marker_and_no_breach() {
        let (mut meter, mut host) = (meter(2, 1000), Lines::default());
        let mut console = Console::new(1000, 2);
        for _ in 0..5 {
            console.log(LogLevel::Info, "x", &mut meter, &mut host);
        }
        assert_eq!(host.0.len(), 3);
        assert!(host.0[2].1.starts_with("the log ends here"), "{:?}", host.0);
        assert_eq!(meter.used().get(Limit::LogLines), 2);
    }

    #[test]
    fn a_line_over_the_bytes_is_cut_between_characters() {
        let (mut meter, mut host) = (meter(10, 5), Lines::default());
        Console::new(5, 10).log(LogLevel::Info, "aé→b", &mut meter, &mut host);
        assert_eq!(host.0[0].1, "aé");
    }

    #[test]
    fn a_flood_of_output_is_not_kept() {
        let (mut meter, mut host) = (meter(10, 100), Lines::default());
        let mut console = Console::new(100, 10);
        let mut stderr = console.stderr();
        for _ in 0..10_000 {
            stderr.write(vec![b'x'; 1000].into()).unwrap();
        }
        stderr.write("the end\n".into()).unwrap();
        assert!(console.printed.lock().ready.iter().map(|(_, line)| line.len()).sum::<usize>() <= 101);
        let tail = console.finish(&mut meter, &mut host).unwrap();
        assert!(tail.ends_with("the end") && tail.len() <= TAIL);
        assert_eq!(host.0.len(), 2);
    }
}
