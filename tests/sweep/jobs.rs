//! The job files under `scenarios/ci`: each is what its engine takes, and its commands do what they
//! are there for. They are run here as they stand, on two small scenarios.

use super::*;

/// Shards of each job file.
const SHARDS: u64 = 8;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/ci").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What is at a JSON pointer.
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {document}"))
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    at(document, pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no text"))
}

/// The only text of a list that names a command of the binary.
fn script(steps: &Value, field: Option<&str>, command: &str) -> String {
    let texts = steps.as_array().expect("a list").iter().filter_map(|step| match field {
        Some(field) => step.get(field)?.as_str(),
        None => step.as_str(),
    });
    let found: Vec<&str> = texts.filter(|text| text.contains(command)).collect();
    assert_eq!(found.len(), 1, "{command} in {steps}");
    found[0].to_owned()
}

/// A folder in which scripts of a job are run: two scenarios, the binary on the PATH.
struct Job {
    place: Place,
    path: String,
}

impl Job {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("scenarios")).expect("a folder");
        place.scenario("scenarios/one", "");
        place.scenario("scenarios/two", MISSED);
        let tools = binary().parent().expect("the binary lies in a folder");
        let path = crate::support::variable("PATH").unwrap_or_default();
        Self { path: format!("{}:{path}", tools.display()), place }
    }

    /// Runs a script; its exit code.
    fn run(&self, script: &str, variables: &[(&str, &str)]) -> i32 {
        let mut bash = Command::new("bash");
        bash.args(["-e", "-c", script]).current_dir(self.place.0.path());
        bash.env("PATH", &self.path).env("SEEDS", "4").env("SCENARIOS", "scenarios");
        bash.envs(variables.iter().copied()).stdin(Stdio::null());
        let output = bash.output().expect("bash is there");
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().expect("no signal");
        assert!([PASS, THRESHOLD].contains(&code), "{script}\nexit code {code}: {said}");
        code
    }

    /// The sweep without shards, compared with what a job has merged.
    fn assert_whole(&self, merged: &str) {
        let script = "backdate suite scenarios --seeds 4 --save unsharded --quiet";
        assert_eq!(self.run(script, &[]), THRESHOLD);
        assert_same_files(&self.place.path("unsharded"), &self.place.path(merged));
    }
}

#[test]
fn the_matrix_of_github_actions_sweeps_and_merges() {
    let documents = yaml("github_actions.yml");
    let workflow = &documents[0];
    let shards: Vec<u64> = (1..=SHARDS).collect();
    assert_eq!(*at(workflow, "/jobs/suite/strategy/matrix/shard"), serde_json::json!(shards));
    assert_eq!(*at(workflow, "/jobs/suite/strategy/fail-fast"), false);
    assert_eq!(at(workflow, "/jobs/merge/needs"), "suite");
    let sweep = script(at(workflow, "/jobs/suite/steps"), Some("run"), "backdate suite");
    let merge = script(at(workflow, "/jobs/merge/steps"), Some("run"), "backdate merge");
    assert_eq!(sweep.matches("${{").count(), sweep.matches("${{ matrix.shard }}").count());
    let job = Job::new();
    for shard in shards {
        job.run(&sweep.replace("${{ matrix.shard }}", &shard.to_string()), &[]);
    }
    assert_eq!(job.run(&merge, &[]), THRESHOLD);
    assert!(job.place.path("results/junit.xml").is_file());
    job.assert_whole("results/whole");
}

#[test]
fn the_parallel_jobs_of_gitlab_sweep_and_merge() {
    let documents = yaml("gitlab.yml");
    let pipeline = &documents[0];
    assert_eq!(at(pipeline, "/suite/parallel"), SHARDS);
    assert_eq!(at(pipeline, "/suite-report/needs/0/job"), "suite");
    let sweep = script(at(pipeline, "/suite/script"), None, "backdate suite");
    let merge = script(at(pipeline, "/suite-report/script"), None, "backdate merge");
    let job = Job::new();
    for shard in 1..=SHARDS {
        let (index, total) = (shard.to_string(), SHARDS.to_string());
        job.run(&sweep, &[("CI_NODE_INDEX", &index), ("CI_NODE_TOTAL", &total)]);
    }
    assert_eq!(job.run(&merge, &[]), THRESHOLD);
    let report = text(pipeline, "/suite-report/artifacts/reports/junit");
    assert!(job.place.path(report).is_file());
    job.assert_whole("results/whole");
}

#[test]
fn the_indexed_job_of_kubernetes_sweeps_and_merges() {
    let documents = yaml("kubernetes.yml");
    let [suite, merge] = documents.as_slice() else { panic!("two jobs: {documents:?}") };
    for document in [suite, merge] {
        assert_eq!(text(document, "/apiVersion"), "batch/v1");
        assert_eq!(text(document, "/kind"), "Job");
        assert_eq!(text(document, "/spec/template/spec/restartPolicy"), "Never");
    }
    assert_eq!(text(suite, "/spec/completionMode"), "Indexed");
    assert_eq!(at(suite, "/spec/completions"), SHARDS);
    assert_eq!(at(suite, "/spec/parallelism"), SHARDS);
    let results = at(suite, "/spec/podFailurePolicy/rules/0/onExitCodes/values");
    assert_eq!(*results, serde_json::json!([1, 2, 3, 4, 5]), "what failed is not tried again");
    let command = |document: &Value| {
        let container = "/spec/template/spec/containers/0";
        let shell = serde_json::json!(["bash", "-c"]);
        assert_eq!(*at(document, &format!("{container}/command")), shell);
        text(document, &format!("{container}/args/0")).to_owned()
    };
    let job = Job::new();
    for index in 0..SHARDS {
        let index = index.to_string();
        let variables = [("JOB_COMPLETION_INDEX", index.as_str()), ("RESULTS", "results")];
        job.run(&command(suite), &variables);
    }
    assert_eq!(job.run(&command(merge), &[("RESULTS", "results")]), THRESHOLD);
    job.assert_whole("results/whole");
}
