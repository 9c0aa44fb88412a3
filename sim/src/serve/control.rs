//! What steers a process from outside: signals, and the lines of a harness on stdin.

use std::io::{self, BufRead};

use backdate_engine::adapters::system::CrashPoints;
use backdate_engine::adapters::telemetry::logs;
use backdate_engine::ports::host::Side;
use nix::sys::resource::{Resource, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use super::{Happening, background};

/// Tells about SIGTERM and Ctrl-C.
pub(super) fn signals(happenings: &UnboundedSender<Happening>) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let happenings = happenings.clone();
        let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
        background(async move {
            while signals.recv().await.is_some() {
                let _ = happenings.send(Happening::Signal(number));
            }
        });
    }
    Ok(())
}

/// Ends the process without waiting for anything.
#[allow(clippy::disallowed_methods, reason = "whoever asks twice will not wait")]
pub(super) fn end_at_once(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

/// Reads the lines of a harness. The end of stdin is the end of the harness, and no process
/// outlives the one that made it.
#[allow(clippy::disallowed_methods, reason = "stdin blocks, and nothing may wait for it")]
pub(super) fn listen(points: CrashPoints) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("harness".to_owned());
    thread.spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if let Err(wrong) = obey(&points, &line) {
                logs::warn("A line of the harness is not understood", &format!("{line}: {wrong}"));
            }
        }
        end_at_once(0);
    })?;
    Ok(())
}

/// `crash PROCESS CALL before|after PASS`: the process dies at that pass of the point.
fn obey(points: &CrashPoints, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["crash", process, call, side, pass] = words.as_slice() else {
        return Err("must be `crash PROCESS CALL before|after PASS`".to_owned());
    };
    let side = match *side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return Err("must be `before` or `after`".to_owned()),
    };
    let pass = pass.parse().map_err(|_| "the pass must be a number".to_owned())?;
    // A death that was ordered is no reason to keep the memory of the process.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    points.arm(process, call, side, pass);
    Ok(())
}
