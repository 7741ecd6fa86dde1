//! The output of commands. `println!` panics if standard output cannot be written. Here, a reader
//! that closes the pipe early (`lastlight list | head -1`) is not a failure: further output is
//! dropped, and the command's own result decides the exit code. Any other write error, such as a
//! full disk, is reported once and makes the command fail.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    process::ExitCode,
    sync::OnceLock,
};

use tokio::sync::Notify;

use crate::exit::failed;

/// The first error of writing to standard output, if there was one.
static LOST: OnceLock<io::Error> = OnceLock::new();
static IS_LOST: Notify = Notify::const_new();

/// Writes a line to standard output; replaces `println!`.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// Writes a line to standard error; replaces `eprintln!`, which panics if the pipe is closed.
#[macro_export]
macro_rules! tell {
    ($($words:tt)*) => { $crate::output::write_aside(format_args!("{}\n", format_args!($($words)*))) };
}

/// Writes text to standard output as it is; replaces `print!`.
pub fn text(words: &str) {
    write(format_args!("{words}"));
}

/// Writes to standard output, for [`say`].
pub fn write(words: Arguments<'_>) {
    if LOST.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(words).and_then(|()| out.flush()) {
        let _ = LOST.set(error);
        IS_LOST.notify_waiters();
    }
}

/// Writes bytes to standard output as they are. Returns whether it may go on: not if standard output was lost.
pub fn bytes(some: &[u8]) -> bool {
    if LOST.get().is_some() {
        return false;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(some).and_then(|()| out.flush()) {
        let _ = LOST.set(error);
        IS_LOST.notify_waiters();
        return false;
    }
    true
}

/// Writes to standard error, for [`tell`]. An error is ignored: there is nowhere to report it.
pub fn write_aside(words: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(words);
}

/// Returns once standard output can no longer be written, for commands that only print.
pub async fn lost() {
    let mut lost = std::pin::pin!(IS_LOST.notified());
    // Before the check, or a notification between the two would be missed.
    lost.as_mut().enable();
    if LOST.get().is_none() {
        lost.await;
    }
}

/// The exit code of a command that ended with `code`: success becomes 1 if output was lost.
pub fn checked(code: ExitCode) -> ExitCode {
    match LOST.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe && code == ExitCode::SUCCESS => {
            failed(&format_args!("standard output cannot be written: {error}"), 1)
        }
        _ => code,
    }
}
