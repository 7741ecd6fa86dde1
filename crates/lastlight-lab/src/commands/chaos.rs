//! `lastlight chaos`: parses the arguments and prints the report.

use std::{path::PathBuf, process::ExitCode};

use crate::chaos::{self, ChaosOptions, HEADER, SCENARIOS, Scenario, Size};
use clap::{Args, ValueEnum};
use serde_json::json;

use lastlight_cli::exit::{failed, stopped};
use lastlight_cli::{say, tell};
use lastlight_engine::server::asked_to_stop;
use lastlight_local::commands::{log_to_stderr_from, this_app};

/// `lastlight chaos`.
#[derive(Debug, Args)]
pub struct ChaosArguments {
    /// Seed of the faults; the same seed repeats the same faults. Without it, a random seed is
    /// chosen and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Run only these scenarios, given by name or number.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = scenario)]
    scenario: Vec<&'static Scenario>,
    /// Amount of work: `small` takes minutes, for CI; `full` has the sizes of the reliability table
    /// and asserts every bound.
    #[arg(long, value_enum, default_value = "small")]
    size: SizeChoice,
    /// Run only scenario 18, until the number of messages given by --deliveries was delivered.
    #[arg(long, conflicts_with = "scenario")]
    soak: bool,
    /// Number of messages that a soak delivers.
    #[arg(long, requires = "soak", default_value_t = 1_000_000)]
    deliveries: u64,
    /// Keep logs, ledgers and the database cluster even if all scenarios passed.
    #[arg(long)]
    keep: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// List the scenarios and exit.
    #[arg(long)]
    list: bool,
    /// Folder with initdb, postgres and pg_ctl. Without it, PATH and Debian's folders are searched.
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Folder with host.json and the function folders.
    #[arg(long, default_value = ".")]
    app_root: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SizeChoice {
    Small,
    Full,
}

fn scenario(text: &str) -> Result<&'static Scenario, String> {
    let number = text.parse::<u8>().ok();
    SCENARIOS
        .iter()
        .find(|scenario| scenario.name == text || Some(scenario.number) == number)
        .ok_or_else(|| {
            format!("unknown scenario {text:?}; lastlight chaos --list lists the scenarios")
        })
}

/// Runs the scenarios. The exit code is 0 if all passed, 1 if one failed, and 2 if they could not
/// start.
pub(super) async fn chaos(arguments: ChaosArguments) -> ExitCode {
    if arguments.list {
        list(arguments.json);
        return ExitCode::SUCCESS;
    }
    // Faults are injected on purpose, so warnings are expected.
    log_to_stderr_from("error");
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(problem) => return failed(&problem, 2),
    };
    let folder = options.folder.clone();
    tell!("seed {}; handlers' logs and ledgers are in {}", options.seed, folder.display());
    if !arguments.json {
        say!("{HEADER}");
    }
    let is_json = arguments.json;
    let running = chaos::chaos(options, |report| {
        if !is_json {
            say!("{}", report.lines());
        }
    });
    let result = tokio::select! {
        result = running => result,
        () = asked_to_stop() => {
            return stopped(&format_args!("stopped; logs and ledgers are in {}", folder.display()));
        }
    };
    let report = match result {
        Ok(report) => report,
        Err(error @ chaos::ChaosError::Postgres(_)) => return failed(&error, 2),
        Err(error) => return failed(&error, 1),
    };
    if is_json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => say!("{json}"),
            Err(error) => return failed(&error, 1),
        }
    } else {
        say!("{}", report.summary());
    }
    if report.passed {
        if !arguments.keep {
            let _ = std::fs::remove_dir_all(&folder);
        }
        return ExitCode::SUCCESS;
    }
    tell!(
        "logs and ledgers are in {}; repeat this run with --seed {}",
        folder.display(),
        report.seed
    );
    ExitCode::from(1)
}

fn options(arguments: &ChaosArguments) -> Result<ChaosOptions, String> {
    let (app_root, handler) = this_app(&arguments.app_root)?;
    let scenarios = if arguments.soak {
        vec![scenario("18")?]
    } else if arguments.scenario.is_empty() {
        SCENARIOS.iter().collect()
    } else {
        arguments.scenario.clone()
    };
    Ok(ChaosOptions {
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000)),
        scenarios,
        size: match arguments.size {
            SizeChoice::Small => Size::Small,
            SizeChoice::Full => Size::Full,
        },
        app_root,
        handler,
        folder: std::env::temp_dir().join(format!("lastlight-chaos-{}", uuid::Uuid::new_v4())),
        postgres: arguments.postgres_bin.clone(),
        soak: arguments.soak.then_some(arguments.deliveries),
    })
}

fn list(is_json: bool) {
    if is_json {
        let all = SCENARIOS
            .each_ref()
            .map(|Scenario { number, name, what }| json!({ "number": number, "name": name, "what": what }));
        say!("{}", json!(all));
        return;
    }
    for Scenario { number, name, what } in &SCENARIOS {
        say!("{number:>2} {name:<12} {what}");
    }
}
