//! The app {{app}}. Its jobs are in `jobs`, one per file; the handlers of its workflows in `handlers`.

mod handlers;
mod jobs;

use lastlight::prelude::*;

fn main() -> ExitCode {
    App::new()
        .job::<jobs::{{job}}::{{Job}}>()
        // `new-job` adds jobs above this line.
        .handler("square", handlers::square)
        .main()
}
