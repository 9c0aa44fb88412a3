//! The ports of an instance on real services, with everything that it says told to logs and
//! metrics.

use std::io;
use std::rc::Rc;

use backdate_engine::adapters::system::{AccessLog, Doors, ProcessHost, RealPorts};
use backdate_engine::adapters::telemetry::logs::{self, SignalLog};
use backdate_engine::adapters::{kafka, postgres};
use backdate_engine::ports::host::{Answered, Signal};
use backdate_engine::runtime::ProcessKind;
use tokio::net::TcpListener;

use super::fleet::{Instance, Shared};

/// The ports of one instance; nothing is connected yet.
///
/// # Errors
/// Those of a socket to listen on.
pub(super) fn ports(
    shared: &Shared,
    instance: &Instance,
) -> io::Result<RealPorts<postgres::Store, kafka::Client>> {
    let statements = shared.metrics.clone();
    let store = postgres::Store::new(&shared.config.postgres, &instance.name)
        .observed(Rc::new(move |name, took| statements.statement(name, took)));
    let log = kafka::Client::new(&shared.config.kafka, &instance.name);
    let counted = Rc::new(shared.metrics.instance(instance.kind.as_str()));
    let meter = {
        let counted = Rc::clone(&counted);
        Rc::new(move |measure| counted.measure(measure))
    };
    let lines = SignalLog::new(&instance.name, shared.repeats.clone());
    let sink = Rc::new(move |signal: Signal| {
        counted.signal(&signal);
        lines.write(&signal);
    });
    let (stop, points) = (shared.stop.clone(), shared.points.clone());
    let host = ProcessHost::with_meter(&instance.name, sink, meter, stop, points);
    let host = host.with_access_log(access_log(shared, &instance.name));
    Ok(RealPorts::new(store, log, host, doors(shared, instance)?))
}

/// Logs and counts what was answered.
fn access_log(shared: &Shared, instance: &str) -> Rc<AccessLog> {
    let (metrics, instance) = (shared.metrics.clone(), instance.to_owned());
    Rc::new(move |request: Answered<'_>| {
        metrics.answered(request);
        logs::access(&instance, request);
    })
}

/// Instances of one process listen on the same socket; each client comes to one of them.
fn doors(shared: &Shared, instance: &Instance) -> io::Result<Doors> {
    match &shared.api {
        Some(listener) if instance.kind == ProcessKind::QueryApi => {
            let listener = TcpListener::from_std(listener.try_clone()?)?;
            Ok(Doors::open(listener, shared.config.api.tokens()))
        }
        _ => Ok(Doors::closed()),
    }
}
