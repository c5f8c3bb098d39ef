//! Reads a file in a process of its own, so that no file can take the program down that asks for
//! it: the process has little memory and little time, and ends with its answer.
//!
//! The process is this program once more, with one argument that no subcommand has. It gets the
//! file as its standard input and answers in JSON on its standard output. It opens no file and no
//! connection, and gets none of the variables, which may hold passwords.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use super::{Sheet, sheets};

/// The argument that asks this program to read apart.
const ARGUMENT: &str = "read-spreadsheet-apart";

/// The memory that the process may write to, in bytes. With the program itself, of which it uses
/// little, it stays below 256 MiB. The largest file within the limits of the reader fits in.
///
/// The limit is on data and not on addresses: the allocator reserves a gibibyte of addresses before
/// the program begins, and the program itself takes more of them than the limit.
const MEMORY_MAX: u64 = 192 << 20;

/// The time on a processor that the process may take, in seconds. A prison's spreadsheet takes a
/// tenth of one.
const CPU_SECONDS_MAX: u64 = 60;

/// The further seconds until the kernel kills the process. At the second limit it does not say why,
/// and so not where the two are the same.
const CPU_SECONDS_MORE: u64 = 5;

/// The time that the process may take, however busy the machine is.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// How soon the process is ended once that is asked for.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// The exit code of a program in Rust that has panicked.
const PANICKED: i32 = 101;

/// The answer of the process: the sheets, or the reason why there are none.
type Answer = Result<Vec<Sheet>, String>;

/// Ends a reading before its time, from another thread; clones end the same one.
#[derive(Debug, Clone, Default)]
pub struct ReadStop(Arc<AtomicBool>);

impl ReadStop {
    /// Ends the reading.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the reading is to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads the sheets of a file apart, from its beginning.
///
/// # Errors
/// The file cannot be read as a spreadsheet, or not within the limits, or the reading was stopped.
pub fn read(name: &str, file: File, stop: &ReadStop) -> anyhow::Result<Vec<Sheet>> {
    let program = std::env::current_exe().context("find the file of this program")?;
    let len = file.metadata().context("measure the file")?.len();
    let mut command = Command::new(program);
    command
        .args([ARGUMENT, name, &len.to_string()])
        .env_clear()
        // The allocator would take its reserve from the limit.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(file);
    answer_of(&mut command, WAIT_MAX, stop)
}

/// The end of a process that another thread brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EarlyEnd {
    Late,
    Stopped,
}

/// Starts the process that reads, and waits for its answer.
fn answer_of(command: &mut Command, wait_max: Duration, stop: &ReadStop) -> anyhow::Result<Vec<Sheet>> {
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start the process that reads the spreadsheet")?;
    let output = process.stdout.take().context("read from the process that reads")?;
    let id = Pid::from_raw(i32::try_from(process.id()).context("name the process that reads")?);
    let (ended, has_ended) = mpsc::channel::<()>();
    let (answer, early_end) = thread::scope(|scope| {
        let clock = scope.spawn(move || {
            let early_end = wait_for_early_end(&has_ended, wait_max, stop);
            if early_end.is_some() {
                // It is this process's own until it has been waited for, below.
                let _ = kill(id, Signal::SIGKILL);
            }
            early_end
        });
        let answer: serde_json::Result<Answer> = serde_json::from_reader(BufReader::new(output));
        drop(ended);
        (answer, clock.join().unwrap_or_default())
    });
    let status = process.wait().context("wait for the process that reads")?;
    match answer {
        Ok(Ok(sheets)) => Ok(sheets),
        Ok(Err(reason)) => bail!(reason),
        Err(_) if early_end == Some(EarlyEnd::Stopped) => bail!("the reading was stopped"),
        Err(_) => Err(ended_early(status, early_end.map(|_| wait_max))),
    }
}

/// Waits until the process has ended by itself, its time is over, or it is to stop.
fn wait_for_early_end(has_ended: &mpsc::Receiver<()>, wait_max: Duration, stop: &ReadStop) -> Option<EarlyEnd> {
    let begun = Instant::now();
    loop {
        let left = wait_max.saturating_sub(begun.elapsed());
        if has_ended.recv_timeout(left.min(STOP_INTERVAL)) != Err(mpsc::RecvTimeoutError::Timeout) {
            return None;
        }
        if stop.is_stopped() {
            return Some(EarlyEnd::Stopped);
        }
        if begun.elapsed() >= wait_max {
            return Some(EarlyEnd::Late);
        }
    }
}

/// The reason why the process ended without an answer, or was ended after a wait.
fn ended_early(status: ExitStatus, waited: Option<Duration>) -> anyhow::Error {
    const ALONE: &str = "save the sheet of cases alone in a new file, as .xlsx or .csv";
    if let Some(waited) = waited {
        return anyhow!(
            "it was not read within {} seconds. This machine may be busy: try again later, or {ALONE}",
            waited.as_secs()
        );
    }
    match status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        Some(Signal::SIGABRT) => anyhow!(
            "it takes more than {} MiB of memory, far more than a prison's spreadsheet can need: {ALONE}",
            MEMORY_MAX >> 20
        ),
        Some(Signal::SIGXCPU) => anyhow!(
            "it takes more than {CPU_SECONDS_MAX} seconds, far more than a prison's spreadsheet can need: {ALONE}"
        ),
        Some(Signal::SIGKILL) => anyhow!(
            "the process that reads it was killed. This machine or its container may have no memory left: try again \
             when it has, or {ALONE}"
        ),
        _ if status.code() == Some(PANICKED) => {
            anyhow!("it is damaged: open it in a spreadsheet program and save it anew, as .xlsx or .csv")
        }
        _ => anyhow!(
            "the process that reads it ended without an answer ({status}). The file need not be the reason: check that \
             this program can be started on this machine, and in its container if it has one"
        ),
    }
}

/// Answers, if this process was started to read a file apart. The program has to ask this first.
pub fn answer_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    let name = arguments.next().unwrap_or_default().to_string_lossy().into_owned();
    let len = arguments.next().and_then(|len| len.to_str()?.parse().ok()).unwrap_or_default();
    let answer: Answer = answer(&name, len).map_err(|reason| format!("{reason:#}"));
    let mut output = BufWriter::new(io::stdout().lock());
    let told = serde_json::to_writer(&mut output, &answer).map_err(io::Error::from).and_then(|()| output.flush());
    Some(if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer(name: &str, len: usize) -> anyhow::Result<Vec<Sheet>> {
    limit().context("limit the process that reads the spreadsheet")?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).context("take the file into memory")?;
    io::stdin().lock().read_to_end(&mut bytes).context("take the file into memory")?;
    sheets(name, &bytes)
}

fn limit() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_DATA, MEMORY_MAX, MEMORY_MAX)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECONDS_MAX, CPU_SECONDS_MAX + CPU_SECONDS_MORE)?;
    // The content of the file is personal, and not for a dump of the memory.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Where the machine has no memory left, this process goes first. It is a courtesy: some
    // containers do not allow it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason that is given where this shell script runs in the place of the reader.
    fn reason(script: &str) -> String {
        let mut command = Command::new("/bin/sh");
        let ran = answer_of(command.args(["-c", script]), WAIT_MAX, &ReadStop::default());
        ran.expect_err("no answer").to_string()
    }

    #[test]
    fn a_process_that_ends_without_an_answer_is_told_by_its_end() {
        for (script, sentence) in [
            ("kill -ABRT $$", "it takes more than 192 MiB of memory"),
            ("kill -XCPU $$", "it takes more than 60 seconds"),
            ("kill -KILL $$", "the process that reads it was killed. This machine or its container may have no memory"),
            ("exit 101", "it is damaged"),
            ("exit 127", "the process that reads it ended without an answer (exit status: 127)"),
            ("kill -TERM $$", "the process that reads it ended without an answer (signal: 15 (SIGTERM))"),
            ("echo hello", "the process that reads it ended without an answer (exit status: 0)"),
        ] {
            let reason = reason(script);
            assert!(reason.starts_with(sentence), "{script}: {reason}");
        }
    }

    #[test]
    fn a_process_that_does_not_end_is_ended_and_the_wait_is_told() {
        let mut command = Command::new("sleep");
        let wait = Duration::from_millis(1);
        let ended = answer_of(command.arg("86400"), wait, &ReadStop::default()).expect_err("no answer");
        assert!(ended.to_string().starts_with("it was not read within 0 seconds"), "{ended}");
    }

    #[test]
    fn a_reading_that_is_stopped_ends_its_process_and_says_so() {
        let stop = ReadStop::default();
        let reading = stop.clone();
        let ended = thread::spawn(move || answer_of(Command::new("sleep").arg("86400"), WAIT_MAX, &reading));
        stop.stop();
        let ended = ended.join().expect("no panic").expect_err("no answer");
        assert_eq!(ended.to_string(), "the reading was stopped");
    }
}
