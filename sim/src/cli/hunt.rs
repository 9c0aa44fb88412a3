//! `hunt`: plants one defect after the other and lets the harness find it, each in a process of its
//! own.

use super::Failure;
use super::arguments::{HuntCommand, HuntWorkerCommand};

/// Hunts: not in this build.
#[cfg(not(feature = "defects"))]
pub(super) fn hunt(_: &HuntCommand) -> Result<u8, Failure> {
    let cure = "build one that can with `cargo build --features defects`";
    Err(Failure::usage(format!("hunt: this build cannot plant defects: {cure}")))
}

/// Serves a hunt: not in this build.
#[cfg(not(feature = "defects"))]
pub(super) fn worker(_: &HuntWorkerCommand) -> Result<u8, Failure> {
    Err(Failure::usage("hunt-worker: this build cannot plant defects"))
}

#[cfg(feature = "defects")]
pub(super) use with_defects::{hunt, worker};

#[cfg(feature = "defects")]
mod with_defects {
    use std::collections::{BTreeMap, VecDeque};
    use std::io::Read;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use backdate_engine::defects::Defect;
    use serde::Serialize;

    use super::super::machine::{self, Stopwatch};
    use super::super::{create_folder, defects, progress, say, write_json};
    use super::{Failure, HuntCommand, HuntWorkerCommand};
    use crate::hunt::{Finding, Scenarios, Search, table};
    use crate::runner::exit;
    use crate::scenario::source;

    /// Pause between two looks at the workers.
    const LOOK: Duration = Duration::from_millis(20);

    /// What `--json` writes.
    #[derive(Serialize)]
    struct Findings<'a> {
        defects: &'a [Finding],
    }

    pub(in super::super) fn hunt(command: &HuntCommand) -> Result<u8, Failure> {
        let wanted = wanted(command)?;
        if let Some(folder) = &command.save {
            create_folder(folder)?;
        }
        machine::catch_interrupt();
        let bar = progress::bar(command.common.quiet, wanted.len() as u64);
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        let jobs = command.common.jobs.map_or(cores, usize::from);
        let mut queue: VecDeque<Defect> = wanted.iter().copied().collect();
        let mut running: Vec<Hunter> = Vec::new();
        let mut found: BTreeMap<Defect, Finding> = BTreeMap::new();
        while !(queue.is_empty() && running.is_empty()) {
            if machine::INTERRUPTED.load(Ordering::Relaxed) {
                running.iter_mut().for_each(Hunter::stop);
                break;
            }
            while running.len() < jobs
                && let Some(defect) = queue.pop_front()
            {
                running.push(Hunter::start(defect, command)?);
            }
            let mut index = 0;
            while index < running.len() {
                if !running[index].has_ended()? {
                    index += 1;
                    continue;
                }
                let hunter = running.swap_remove(index);
                let defect = hunter.defect;
                let finding = hunter.finding()?;
                bar.inc(1);
                bar.set_message(format!("{}: {} runs", finding.name, finding.runs));
                found.insert(defect, finding);
            }
            machine::wait(LOOK);
        }
        bar.finish_and_clear();
        let findings: Vec<Finding> = found.into_values().collect();
        publish(command, &findings)?;
        Ok(exit_code(&findings, wanted.len()))
    }

    fn wanted(command: &HuntCommand) -> Result<Vec<Defect>, Failure> {
        if command.all {
            return Ok(Defect::ALL.to_vec());
        }
        let names = command.names.iter().chain(&command.defect);
        let mut wanted: Vec<Defect> =
            names.map(|name| defects::parse(name)).collect::<Result<_, _>>()?;
        wanted.sort_unstable();
        wanted.dedup();
        match wanted.is_empty() {
            true => Err(Failure::usage("name a defect of `list`, or all of them with --all")),
            false => Ok(wanted),
        }
    }

    fn exit_code(findings: &[Finding], wanted: usize) -> u8 {
        let is_sound = findings.iter().all(|finding| finding.broken_anyway.is_empty());
        if findings.len() < wanted {
            exit::INTERRUPTED
        } else if is_sound && findings.iter().all(|finding| finding.found) {
            exit::PASS
        } else {
            exit::RULE
        }
    }

    fn publish(command: &HuntCommand, findings: &[Finding]) -> Result<(), Failure> {
        for line in findings.iter().flat_map(|finding| &finding.broken_anyway) {
            eprintln!("without any defect: {line}");
        }
        if !write_json(command.common.json.as_deref(), &Findings { defects: findings })? {
            say(&table::table(findings));
        }
        Ok(())
    }

    /// A process that searches for one defect.
    struct Hunter {
        defect: Defect,
        child: Child,
    }

    impl Hunter {
        fn start(defect: Defect, command: &HuntCommand) -> Result<Self, Failure> {
            let binary = std::env::current_exe().map_err(Failure::environment)?;
            let mut child = Command::new(binary);
            child.args(["hunt-worker", defect.name()]);
            child.args(["--max-runs", &command.max_runs.to_string()]);
            child.args(["--first-seed", &command.common.seed.unwrap_or(1).to_string()]);
            if let Some(folder) = &command.save {
                child.arg("--save").arg(folder.join(defect.name()));
            }
            // Its stdin ends with this process, and then it ends too.
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            Ok(Self { defect, child: child.spawn().map_err(Failure::environment)? })
        }

        fn has_ended(&mut self) -> Result<bool, Failure> {
            Ok(self.child.try_wait().map_err(Failure::environment)?.is_some())
        }

        fn stop(&mut self) {
            // It may have ended just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }

        fn finding(mut self) -> Result<Finding, Failure> {
            let mut text = String::new();
            if let Some(stdout) = &mut self.child.stdout {
                stdout.read_to_string(&mut text).map_err(Failure::environment)?;
            }
            serde_json::from_str(&text).map_err(|_| {
                let name = self.defect.name();
                Failure::environment(format!("the search for {name} ended without an answer"))
            })
        }
    }

    pub(in super::super) fn worker(command: &HuntWorkerCommand) -> Result<u8, Failure> {
        let watch = Stopwatch::start();
        machine::end_with_stdin().map_err(Failure::environment)?;
        let scenarios = Scenarios::read(&source::shipped()).map_err(Failure::usage)?;
        if scenarios.is_empty() {
            return Err(Failure::usage("there are no scenarios here"));
        }
        if let Some(folder) = &command.save {
            create_folder(folder)?;
        }
        let search = Search {
            defect: defects::parse(&command.defect)?,
            scenarios: &scenarios,
            first_seed: command.first_seed,
            max_runs: command.max_runs,
            save: command.save.as_deref(),
            interrupted: &machine::INTERRUPTED,
            seconds: &|| watch.elapsed().as_secs_f64(),
        };
        let Some(finding) = search.run().map_err(Failure::environment)? else {
            return Ok(exit::INTERRUPTED);
        };
        say(&serde_json::to_string(&finding).expect("a finding is plain data"));
        Ok(exit::PASS)
    }
}
