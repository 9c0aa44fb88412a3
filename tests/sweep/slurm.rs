//! The array of Slurm, for real: a controller and a node of this test run the job files as they
//! stand. One of the tasks is killed.

use std::time::Duration;

use super::disturbed::{signal, wait_for, wait_until};
use super::*;
use crate::services::Private;

const SEEDS: &str = "12";

/// A private Slurm and what its jobs are told.
struct Cluster {
    slurm: Private,
    place: Place,
}

impl Cluster {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("scenarios")).expect("a folder");
        place.scenario("scenarios/one", "");
        place.scenario("scenarios/two", MISSED);
        Self { slurm: Private::slurm(), place }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.place.0.path());
        command.env("SLURM_CONF", self.slurm.address()).env("BACKDATE", binary());
        command.env("SCENARIOS", "scenarios").env("SEEDS", SEEDS).env("RESULTS", "results");
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn submit(&self, file: &str, more: &[&str]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/ci").join(file);
        let path = path.canonicalize().expect("the job file is there");
        let path = path.to_str().expect("UTF-8");
        self.run("sbatch", &[&["--parsable"], more, &[path]].concat())
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.place.path(name)).unwrap_or_default()
    }
}

/// The process of this machine that runs a shard, found by the folder of its results.
fn process(folder: &str) -> Option<u32> {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&folder.as_bytes()) && words.first() == Some(&binary_bytes())
    };
    pids.into_iter().find(is_it)
}

fn binary_bytes() -> &'static [u8] {
    binary().as_os_str().as_encoded_bytes()
}

#[test]
fn an_array_of_slurm_is_the_unsharded_sweep_though_a_task_is_killed() {
    let cluster = Cluster::new();
    let (place, scenarios) = (&cluster.place, cluster.place.path("scenarios"));
    let array = cluster.submit("slurm.sbatch", &[]);
    let after = format!("--dependency=afterany:{array}");
    cluster.submit("slurm_merge.sbatch", &[&after]);

    let killed = place.path("results/shard-1");
    wait_until("a result of the first shard", || results(&killed) > 0);
    let pid = process("results/shard-1").expect("the first shard has more to do");
    let kept = results(&killed);
    signal("KILL", pid);
    wait_until("the requeue", || cluster.log("backdate-suite-1.log").contains("killed; requeued"));

    wait_for(Duration::from_secs(240), "the end of all jobs", || {
        cluster.run("squeue", &["--noheader"]).is_empty()
    });
    let log = cluster.log("backdate-suite-1.log");
    let merged = place.path("results/whole");
    assert!(merged.join("suite.json").is_file(), "{log}\n{}", cluster.log("backdate-merge.log"));
    assert!(results(&killed) > kept, "{log}");

    // Under the same names, for they stand in the results.
    let mut whole = Command::new(binary());
    whole.current_dir(place.0.path()).arg("suite").arg(scenarios.file_name().expect("a name"));
    whole.args(["--seeds", SEEDS, "--save", "unsharded", "--quiet"]);
    let output = whole.output().expect("the binary has been built");
    assert_eq!(output.status.code(), Some(THRESHOLD));
    assert_same_files(&place.path("unsharded"), &merged);
    assert_eq!(results(&merged), 24);
}
