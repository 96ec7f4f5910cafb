//! The command line: what was typed ([`args`]) becomes what will be done ([`config`]), which one file per subcommand
//! then does.

pub mod agent;
pub mod args;
pub mod child;
pub mod config;
pub mod diff;
pub mod doctor;
pub mod exit;
pub mod output;
pub mod record;
pub mod show;
pub mod snapshot;
pub mod target;
pub mod values;
pub mod watch;
pub mod wedged;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;

use self::{
    args::Args,
    config::Config,
    exit::{Error, Exit},
};

/// Runs the program with these arguments, the first of which is its own name, and says how it ended.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // There is nobody to tell when standard output or error is closed.
            let _ = error.print();
            // --help and --version come this way too.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return exit.into();
        }
    };
    match Config::try_from(args).and_then(|config| dispatch(&config)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.print();
            error.exit.into()
        }
    }
}

fn dispatch(config: &Config) -> Result<Exit, Error> {
    match config {
        Config::Record(config) => record::run(config),
        Config::Snapshot(config) => snapshot::run(config),
        Config::Agent(config) => agent::run(config),
        Config::Wedged(config) => wedged::run(config),
        Config::Doctor(config) => doctor::run(config),
        Config::Show(config) => show::run(config),
        Config::Diff(config) => diff::run(config),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::sink::golden;

    #[test]
    fn help_names_the_default_duration() {
        let duration = config::Recording::default().duration.unwrap();
        let mut command = Args::command();
        let record = command.find_subcommand_mut("record").unwrap();
        let help = record.render_help().to_string();
        let default = format!("[default: {}, or", values::Time(duration));
        assert!(help.contains(&default), "{help}");
    }

    #[test]
    fn help_texts() {
        let mut command = Args::command();
        command.build();
        golden::check("help.txt", &command.render_long_help().to_string());
        for name in [
            "record", "snapshot", "agent", "wedged", "doctor", "show", "diff",
        ] {
            let subcommand = command.find_subcommand_mut(name).unwrap();
            let help = subcommand.render_long_help().to_string();
            golden::check(&format!("help-{name}.txt"), &help);
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }
}
