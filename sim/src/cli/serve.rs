//! `serve` and `migrate`: the engine on real services.

use std::path::PathBuf;

use backdate_engine::adapters::secret::Secret;
use backdate_engine::runtime::ProcessKind;

use super::arguments::{MigrateCommand, ServeCommand, ServicesArguments};
use super::{Failure, machine};
use crate::runner::exit;
use crate::serve::config::{self, Addresses, ApiOverrides, Config, api};
use crate::serve::{self, MigrateError, Options};

pub(super) fn serve(command: &ServeCommand) -> Result<u8, Failure> {
    let listen = command.api_listen.as_ref().map(ToString::to_string);
    let mut config = configuration(&command.services, listen)?;
    if let Some(listen) = &command.listen {
        config.http.listen = listen.to_string();
    }
    if let Some(count) = command.instances {
        config.instances = ProcessKind::ALL.iter().map(|kind| (*kind, count.into())).collect();
    }
    if command.check {
        sayln!("{}", config.effective().trim_end());
        return Ok(exit::PASS);
    }
    let options = Options {
        config,
        processes: command.processes.clone(),
        name: command.name.clone(),
        harness: command.harness,
    };
    serve::serve(&options, &mut |address| sayln!("{address}"))
        .map_err(|error| Failure { code: error.code(), message: error.to_string() })
}

pub(super) fn migrate(command: &MigrateCommand) -> Result<u8, Failure> {
    let config = configuration(&command.services, None)?;
    let done = serve::migrate(&config, &mut |line| sayln!("{line}"));
    done.map_err(|error: MigrateError| Failure::environment(error))?;
    Ok(exit::PASS)
}

/// What file, environment and flags say.
fn configuration(
    services: &ServicesArguments,
    api_listen: Option<String>,
) -> Result<Config, Failure> {
    let environment = Addresses {
        kafka: machine::variable(config::KAFKA),
        postgres: machine::variable(config::POSTGRES).map(Secret::new),
        password: machine::variable(config::PASSWORD).map(Secret::new),
        api: ApiOverrides {
            listen: machine::variable(api::LISTEN),
            read_token: machine::variable(api::READ_TOKEN).map(Secret::new),
            operate_token: machine::variable(api::OPERATE_TOKEN).map(Secret::new),
        },
    };
    let flags = Addresses {
        kafka: services.kafka.clone(),
        postgres: services.postgres.clone().map(Secret::new),
        password: None,
        api: ApiOverrides { listen: api_listen, ..ApiOverrides::default() },
    };
    let file: Option<&PathBuf> = services.config.as_ref();
    config::load(file.map(PathBuf::as_path), &environment, &flags).map_err(Failure::usage)
}
