//! The jobs of this app. Each is added to the app in `main`.

pub mod {{job}};
// `new-job` adds jobs above this line.
