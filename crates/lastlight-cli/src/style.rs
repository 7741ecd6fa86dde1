//! Colours on terminals.

use std::io::IsTerminal;

/// The style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

/// Applies colours, if enabled: on a terminal, and without `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    #[cfg(test)]
    pub fn new(has_colours: bool) -> Self {
        Self(has_colours)
    }

    /// For standard output.
    pub fn for_stdout() -> Self {
        Self::wanted(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn for_stderr() -> Self {
        Self::wanted(std::io::stderr().is_terminal())
    }

    fn wanted(is_terminal: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self(
            is_terminal
                && !is_set("NO_COLOR")
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        )
    }

    /// The text in the given style.
    pub fn text(self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Plain => return text.to_owned(),
            Look::Good => "32",
            Look::Warning => "33",
            Look::Bad => "31",
            Look::Faint => "2",
        };
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
