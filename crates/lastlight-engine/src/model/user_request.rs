//! Who asked for a change of a job, and why: what its events say of a user's request.

use serde::Serialize;

/// A user's request to change a job. The default is that of the app itself: nobody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserRequest {
    /// The name of the user.
    pub by: Option<String>,
    /// Why they ask, in their words.
    pub reason: Option<String>,
}

impl UserRequest {
    /// Longest name of a user, in characters.
    pub const LONGEST_NAME: usize = 200;

    /// Longest reason, in characters.
    pub const LONGEST_REASON: usize = 2000;

    /// The app itself.
    pub const NOBODY: Self = Self { by: None, reason: None };
}
