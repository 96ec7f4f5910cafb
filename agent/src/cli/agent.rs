//! `holdup agent`.

use std::io::Write as _;

use super::{
    args::ProbeChoice,
    config::AgentConfig,
    exit::{Error, Exit},
    watch,
};
use crate::{
    daemon::{self, log},
    probe::feature::Features,
    settings::Settings,
    watch::settings::Probe,
};

/// Runs until it is told to end.
///
/// # Errors
/// The configuration makes no sense, the address is taken, or the kernel does not let us look.
pub fn run(config: &AgentConfig) -> Result<Exit, Error> {
    let settings = settings(config).map_err(Error::usage)?;
    if config.check {
        // Whoever does not read it has the status.
        let _ = writeln!(std::io::stdout(), "ok");
        return Ok(Exit::Done);
    }
    let features = Features::detect();
    watch::check_namespace(&features)?;
    log::start();
    match daemon::run(settings, &|| self::settings(config), features) {
        Ok(()) => Ok(Exit::Done),
        Err(daemon::Error::Plane(error)) => Err(watch::plane_error(error)),
        Err(error) => Err(Error::failed(error)),
    }
}

/// The file, and over it what was typed.
fn settings(config: &AgentConfig) -> Result<Settings, String> {
    let AgentConfig {
        file,
        listen,
        snapshot_dir,
        probe,
        check: _,
    } = config;
    let mut settings = match file {
        Some(file) => Settings::load(file).map_err(|error| error.to_string())?,
        None => Settings::default(),
    };
    if let Some(listen) = listen {
        settings.serve.listen = *listen;
    }
    if let Some(directory) = snapshot_dir {
        // Relative to where it was typed.
        settings.store.directory = std::path::absolute(directory)
            .map_err(|error| format!("--snapshot-dir {}: {error}", directory.display()))?;
    }
    match probe {
        Some(ProbeChoice::Default) => settings.watch.probe = Probe::Default,
        Some(ProbeChoice::None) => settings.watch.probe = Probe::None,
        None => {}
    }
    settings.check()?;
    Ok(settings)
}
