//! `lastlight chaos`: arguments in, words out.

use std::{path::PathBuf, process::ExitCode};

use crate::chaos::{self, ChaosOptions, HEADER, SCENARIOS, Scenario, Size};
use clap::{Args, ValueEnum};
use lastlight_local::host::HandlerCommand;
use serde_json::json;

use lastlight::server::asked_to_stop;
use lastlight_cli::exit::{failed, stopped};
use lastlight_cli::{say, tell};
use lastlight_local::commands::log_to_stderr_from;

/// `lastlight chaos`.
#[derive(Debug, Args)]
pub struct ChaosArguments {
    /// The same seed, the same faults; without it, one is drawn and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these scenarios: names or numbers.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_parser = scenario)]
    scenario: Vec<&'static Scenario>,
    /// How much: minutes for CI, or the sizes of the reliability table with every bound asserted.
    #[arg(long, value_enum, default_value = "small")]
    size: SizeChoice,
    /// Only scenario 18, until so many messages were delivered as --deliveries says.
    #[arg(long, conflicts_with = "scenario")]
    soak: bool,
    /// How many messages a soak delivers.
    #[arg(long, requires = "soak", default_value_t = 1_000_000)]
    deliveries: u64,
    /// Keep logs, ledgers and the database cluster even if all passed.
    #[arg(long)]
    keep: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// List the scenarios and end.
    #[arg(long)]
    list: bool,
    /// The folder with initdb, postgres and pg_ctl; without it, they are looked for in PATH and
    /// where Debian has them.
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// The folder with host.json and the function folders.
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
        .ok_or_else(|| format!("there is no scenario {text:?}; lastlight chaos --list names them"))
}

/// Runs the scenarios; 0 when all passed, 1 when one failed, 2 when they could not begin.
pub(super) async fn chaos(arguments: ChaosArguments) -> ExitCode {
    if arguments.list {
        list(arguments.json);
        return ExitCode::SUCCESS;
    }
    // What goes wrong here goes wrong on purpose.
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
            return stopped(&format_args!("stopped; what was done is in {}", folder.display()));
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
    tell!("what was done is in {}; the same again: --seed {}", folder.display(), report.seed);
    ExitCode::from(1)
}

fn options(arguments: &ChaosArguments) -> Result<ChaosOptions, String> {
    let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    if !arguments.app_root.join("host.json").is_file() {
        return Err(format!(
            "there is no host.json in {}; run this in the app's folder, or name it with --app-root",
            arguments.app_root.display()
        ));
    }
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
        app_root: arguments.app_root.canonicalize().map_err(|error| error.to_string())?,
        handler: HandlerCommand::Program { program, arguments: vec!["serve".into()] },
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
