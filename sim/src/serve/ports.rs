//! The ports of an instance on real services, with everything that it says told to logs and
//! metrics.

use std::rc::Rc;

use backdate_engine::adapters::system::{ProcessHost, RealPorts};
use backdate_engine::adapters::telemetry::logs::SignalLog;
use backdate_engine::adapters::{kafka, postgres};
use backdate_engine::ports::host::Signal;

use super::fleet::{Instance, Shared};

/// The ports of one instance; nothing is connected yet.
pub(super) fn ports(
    shared: &Shared,
    instance: &Instance,
) -> RealPorts<postgres::Store, kafka::Client> {
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
    RealPorts::new(store, log, ProcessHost::with_meter(&instance.name, sink, meter, stop, points))
}
