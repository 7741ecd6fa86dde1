//! What commands say. `println!` panics where standard output cannot be written, and a reader that
//! has seen enough (`lastlight list | head -1`) is no failure: what comes after is written nowhere,
//! and the command's own end decides. Any other reason, a full disk for one, is said once and makes
//! the command fail.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    process::ExitCode,
    sync::OnceLock,
};

use tokio::sync::Notify;

use crate::exit::failed;

/// Why standard output took no more, once it did not.
static LOST: OnceLock<io::Error> = OnceLock::new();
static IS_LOST: Notify = Notify::const_new();

/// A line to standard output, in the place of `println!`.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// A line to standard error, in the place of `eprintln!`, which panics where nobody reads it.
#[macro_export]
macro_rules! tell {
    ($($words:tt)*) => { $crate::output::write_aside(format_args!("{}\n", format_args!($($words)*))) };
}

/// Text to standard output as it is, in the place of `print!`.
pub fn text(words: &str) {
    write(format_args!("{words}"));
}

/// What [`say`] calls.
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

/// What [`tell`] calls. There is nowhere to say that it cannot be written.
pub fn write_aside(words: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(words);
}

/// Returns once nobody can read any more what is said: for commands that do nothing else.
pub async fn lost() {
    let mut lost = std::pin::pin!(IS_LOST.notified());
    // Before the look, or what happens between the two is missed.
    lost.as_mut().enable();
    if LOST.get().is_none() {
        lost.await;
    }
}

/// The exit code of a command that came to `code`: what could not be said makes success a failure.
pub fn checked(code: ExitCode) -> ExitCode {
    match LOST.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe && code == ExitCode::SUCCESS => {
            failed(&format_args!("standard output cannot be written: {error}"), 1)
        }
        _ => code,
    }
}
