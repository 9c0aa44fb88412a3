//! How each fault is done to the world and taken back.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use backdate_reports::recording::{CrashCause, EventKind};
use smol_str::SmolStr;

use super::super::{Control, CrashPointPlan, Process, sync};
use super::{Fault, millis};

/// A fault that is being done.
pub type Performance = Pin<Box<dyn Future<Output = ()>>>;

/// The servers as their operator holds them: what they are is no matter of the world itself.
pub trait Servers {
    /// Ends all sessions that a process has with the database.
    fn kill_sessions(&self, process: &str);

    /// Lets another broker coordinate a group.
    fn move_coordinator(&self, group: &str);

    /// Lets other replicas in sync lead what a broker leads.
    fn move_leaders(&self, broker: &str);

    /// Makes the members of a group join again, if it has any.
    fn rebalance(&self, group: &str);

    /// Delays each answer of a broker to a fetch by that much more, until it is taken back.
    fn slow_fetches(&self, broker: &str, extra: Duration);

    /// Takes a delay back.
    fn hurry_fetches(&self, broker: &str, extra: Duration);

    /// Appends the newest records that a group is done with once more, so many of each partition.
    fn deliver_again(&self, group: &str, records: u64);

    /// Does what befalls the database, or what an operator does by mistake, from begin to end.
    fn perform(&self, fault: Fault, control: Control, injector: Process) -> Performance;
}

/// Begins a fault, waits until it is over and ends it. The process is the one that injects, not the
/// one that suffers. If the future is dropped, the fault stays; [`Control::calm`] ends those.
pub async fn inject(fault: Fault, control: Control, process: Process, servers: Rc<dyn Servers>) {
    let fault = match fault {
        Fault::AtPoint { within_ms, .. } => {
            let point = point_of(&fault, &control);
            if !control.passes(&process, point, millis(within_ms)).await {
                return;
            }
            let Fault::AtPoint { fault, .. } = fault else { return };
            *fault
        }
        fault => fault,
    };
    let detail = fault.detail();
    let note = |begins| {
        process.record(EventKind::Fault {
            fault: SmolStr::new_static(fault.kind()),
            begins,
            detail: detail.clone(),
        });
    };
    note(true);
    match &fault {
        Fault::Crash { .. }
        | Fault::CrashAtPoint { .. }
        | Fault::Pause { .. }
        | Fault::RestartLoop { .. } => strike_process(&fault, &control, &process).await,
        Fault::ClockSkew { .. } | Fault::ClockDrift { .. } | Fault::ClockJump { .. } => {
            bend_clock(&fault, &control, &process).await;
        }
        Fault::LinkDelay { .. }
        | Fault::LatencySpike { .. }
        | Fault::Partition { .. }
        | Fault::PartitionOneWay { .. }
        | Fault::Flapping { .. }
        | Fault::ConnectionReset { .. } => break_network(&fault, &control, &process).await,
        Fault::SessionKill { process } => servers.kill_sessions(process),
        Fault::CoordinatorMove { .. }
        | Fault::LeaderChange { .. }
        | Fault::RebalanceStorm { .. }
        | Fault::SlowFetch { .. }
        | Fault::DuplicateDelivery { .. } => trouble_brokers(&fault, &*servers, &process).await,
        Fault::Database(_) | Fault::Operator(_) => {
            servers.perform(fault.clone(), control, process.clone()).await;
        }
        Fault::AtPoint { .. } => unreachable!("what begins at a point does not wait for another"),
    }
    note(false);
}

async fn strike_process(fault: &Fault, control: &Control, injector: &Process) {
    match fault {
        Fault::Crash { process, down_ms } => {
            crash_for(control, injector, process, *down_ms).await;
        }
        Fault::CrashAtPoint { .. } => crash_at_point(fault, control, injector).await,
        Fault::Pause { process, for_ms } => {
            control.pause(process);
            injector.sleep(millis(*for_ms)).await;
            control.resume(process);
        }
        Fault::RestartLoop { process, times, up_ms, down_ms } => {
            for _ in 0..*times {
                crash_for(control, injector, process, *down_ms).await;
                injector.sleep(millis(*up_ms)).await;
            }
        }
        _ => unreachable!("only faults of processes come here"),
    }
}

async fn crash_for(control: &Control, injector: &Process, process: &str, down_ms: u64) {
    control.crash(process, CrashCause::Scheduled);
    injector.sleep(millis(down_ms)).await;
    control.restart(process);
}

async fn crash_at_point(fault: &Fault, control: &Control, injector: &Process) {
    let Fault::CrashAtPoint { process, within_ms, down_ms, .. } = fault else {
        unreachable!("only deaths at points come here");
    };
    let plan = point_of(fault, control);
    control.set_crash_point(plan.clone());
    let deadline = injector.now() + millis(*within_ms);
    while control.has_crash_point(&plan) && injector.now() < deadline {
        let left = deadline.since(injector.now());
        sync::timeout(injector, left, control.next_death(process)).await;
    }
    if control.has_crash_point(&plan) {
        control.clear_crash_point(&plan);
        return;
    }
    injector.sleep(millis(*down_ms)).await;
    control.restart(process);
}

/// The pass at which a fault waits for a process, counted since the world began.
fn point_of(fault: &Fault, control: &Control) -> CrashPointPlan {
    let (Fault::CrashAtPoint { process, kind, call, side, pass, .. }
    | Fault::AtPoint { process, kind, call, side, pass, .. }) = fault
    else {
        unreachable!("only faults at points have one");
    };
    let name = (process.clone(), kind.clone(), call.clone(), *side);
    let passed = control.points_passed().get(&name).copied().unwrap_or(0);
    CrashPointPlan {
        process_instance: process.clone(),
        process: kind.clone(),
        call: call.clone(),
        side: *side,
        pass: passed + pass,
    }
}

async fn trouble_brokers(fault: &Fault, servers: &dyn Servers, injector: &Process) {
    match fault {
        Fault::CoordinatorMove { group } => servers.move_coordinator(group),
        Fault::LeaderChange { broker } => servers.move_leaders(broker),
        Fault::RebalanceStorm { group, times, every_ms } => {
            for _ in 0..*times {
                servers.rebalance(group);
                injector.sleep(millis(*every_ms)).await;
            }
        }
        Fault::SlowFetch { broker, extra_ms, for_ms } => {
            servers.slow_fetches(broker, millis(*extra_ms));
            injector.sleep(millis(*for_ms)).await;
            servers.hurry_fetches(broker, millis(*extra_ms));
        }
        Fault::DuplicateDelivery { group, records } => servers.deliver_again(group, *records),
        _ => unreachable!("only faults of brokers come here"),
    }
}

async fn bend_clock(fault: &Fault, control: &Control, injector: &Process) {
    match fault {
        Fault::ClockSkew { process, offset_ms, for_ms } => {
            control.set_skew(process, offset_ms * 1_000, 0);
            injector.sleep(millis(*for_ms)).await;
            control.set_skew(process, 0, 0);
        }
        Fault::ClockDrift { process, ppm, for_ms } => {
            control.set_skew(process, 0, *ppm);
            injector.sleep(millis(*for_ms)).await;
            control.set_skew(process, 0, 0);
        }
        Fault::ClockJump { process, offset_ms, times, every_ms } => {
            for _ in 0..*times {
                control.set_skew(process, offset_ms * 1_000, 0);
                injector.sleep(millis(*every_ms)).await;
                control.set_skew(process, 0, 0);
                injector.sleep(millis(*every_ms)).await;
            }
        }
        _ => unreachable!("only faults of clocks come here"),
    }
}

async fn break_network(fault: &Fault, control: &Control, injector: &Process) {
    match fault {
        Fault::LinkDelay { a, b, min_ms, max_ms, for_ms } => {
            let extra = (millis(*min_ms), millis(*max_ms));
            control.add_latency(a, b, extra);
            injector.sleep(millis(*for_ms)).await;
            control.remove_latency(a, b, extra);
        }
        Fault::LatencySpike { process, extra_ms, for_ms } => {
            let extra = (millis(*extra_ms), millis(*extra_ms));
            let mut others = control.process_names();
            others.retain(|other| other != process);
            for other in &others {
                control.add_latency(process, other, extra);
            }
            injector.sleep(millis(*for_ms)).await;
            for other in &others {
                control.remove_latency(process, other, extra);
            }
        }
        Fault::Partition { a, b, for_ms } => {
            cut_for(control, injector, &[(a, b), (b, a)], *for_ms).await;
        }
        Fault::PartitionOneWay { from, to, for_ms } => {
            cut_for(control, injector, &[(from, to)], *for_ms).await;
        }
        Fault::Flapping { a, b, times, cut_ms, whole_ms } => {
            let (a, b) = (vec![a.clone()], vec![b.clone()]);
            for _ in 0..*times {
                cut_for(control, injector, &[(&a, &b), (&b, &a)], *cut_ms).await;
                injector.sleep(millis(*whole_ms)).await;
            }
        }
        Fault::ConnectionReset { a, b } => control.reset(a, b),
        _ => unreachable!("only faults of the network come here"),
    }
}

type Ways<'a> = [(&'a Vec<SmolStr>, &'a Vec<SmolStr>)];

async fn cut_for(control: &Control, injector: &Process, ways: &Ways<'_>, for_ms: u64) {
    let pairs = || {
        ways.iter().flat_map(|(sources, destinations)| {
            let to = |from| destinations.iter().map(move |to| (from, to));
            sources.iter().flat_map(to)
        })
    };
    pairs().for_each(|(from, to)| control.cut(from, to));
    injector.sleep(millis(for_ms)).await;
    pairs().for_each(|(from, to)| control.heal(from, to));
}
