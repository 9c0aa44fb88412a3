//! Whatever is done to a sweep, nothing that it has told is lost, and it ends as if nothing had
//! been done.

use std::time::{Duration, Instant};

use super::*;

const SEEDS: usize = 8;
const SEEDS_TEXT: &str = "8";

/// The parent of a process; none if it has ended, even if nobody has asked how.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of a process may hold anything but ends with the last bracket.
    let mut rest = stat.rsplit(") ").next()?.split(' ');
    let (state, parent) = (rest.next()?, rest.next()?);
    parent.parse().ok().filter(|_| !["Z", "X"].contains(&state))
}

/// The processes that a process has started.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

/// Sends a signal.
pub(crate) fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    kill.args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null());
    kill.status().expect("kill is there");
}

/// Waits until something is so, for a minute at the most.
pub(crate) fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(60), what, is_so);
}

/// Waits until something is so.
#[allow(clippy::disallowed_methods, reason = "waits for another process")]
pub(super) fn wait_for(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A sweep, and the folder of one that nobody has disturbed.
struct Sweep {
    place: Place,
    scenario: PathBuf,
    undisturbed: PathBuf,
}

impl Sweep {
    fn new(header: &str) -> Self {
        let place = Place::new();
        let scenario = place.scenario("sound", header);
        let undisturbed = place.path("undisturbed");
        let sweep = Self { scenario, undisturbed, place };
        let code = if header.is_empty() { PASS } else { THRESHOLD };
        assert_code(&suite(&sweep.arguments(&sweep.undisturbed)), code);
        sweep
    }

    fn arguments<'a>(&'a self, save: &'a PathBuf) -> Vec<&'a dyn AsArgument> {
        vec![&self.scenario, &"--seeds", &SEEDS_TEXT, &"--jobs", &"1", &"--save", save]
    }

    fn folder(&self) -> PathBuf {
        self.place.path("disturbed")
    }

    /// Starts it, and waits until a first result is kept.
    fn begin(&self) -> (PathBuf, Child) {
        let folder = self.folder();
        let child = start(&self.arguments(&folder));
        wait_until("a result", || results(&folder) > 0);
        (folder, child)
    }

    /// The same command again ends as if nothing had been done.
    fn assert_resumes(&self) {
        let folder = self.folder();
        assert_code(&suite(&self.arguments(&folder)), PASS);
        assert_same_files(&self.undisturbed, &folder);
    }
}

#[test]
fn a_worker_that_is_killed_is_replaced_and_its_run_repeated() {
    let sweep = Sweep::new("");
    let folder = sweep.folder();
    let child = start(&sweep.arguments(&folder));
    let pid = child.id();
    wait_until("a worker", || !children(pid).is_empty());
    children(pid).into_iter().for_each(|worker| signal("KILL", worker));
    let ran = finish(child);
    assert_code(&ran, PASS);
    assert!(ran.stderr.contains("signal: 9 (SIGKILL)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("once more"), "{}", ran.stderr);
    assert_same_files(&sweep.undisturbed, &folder);
}

#[test]
fn a_run_whose_worker_always_dies_ends_the_sweep_with_6_and_keeps_the_rest() {
    let sweep = Sweep::new("");
    let (folder, mut child) = sweep.begin();
    let pid = child.id();
    wait_until("the end", || {
        children(pid).into_iter().for_each(|worker| signal("KILL", worker));
        child.try_wait().expect("it can be asked").is_some()
    });
    let ran = finish(child);
    assert_code(&ran, ENVIRONMENT);
    assert!(ran.stderr.contains("no result: the worker ended: signal: 9"), "{}", ran.stderr);
    assert!(ran.stdout.contains("backdate run"), "{}", ran.stdout);
    assert!((1..SEEDS).contains(&results(&folder)));
    sweep.assert_resumes();
}

#[test]
fn ctrl_c_keeps_the_results_and_the_same_command_goes_on() {
    let sweep = Sweep::new("");
    let (folder, child) = sweep.begin();
    let pid = child.id();
    let workers = children(pid);
    signal("INT", pid);
    let ran = finish(child);
    assert_code(&ran, INTERRUPTED);
    assert!(ran.stderr.contains("results are kept, the same command goes on"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("STOPPED"), "{}", ran.stdout);
    assert!((1..SEEDS).contains(&results(&folder)));
    wait_until("the end of the workers", || workers.iter().all(|pid| parent(*pid).is_none()));
    sweep.assert_resumes();
}

#[test]
fn a_loss_of_power_costs_no_result_and_a_half_written_one_is_dropped() {
    let sweep = Sweep::new("");
    let (folder, child) = sweep.begin();
    let pid = child.id();
    let workers = children(pid);
    signal("KILL", pid);
    finish(child);
    wait_until("the end of the workers", || workers.iter().all(|pid| parent(*pid).is_none()));
    let path = folder.join("results.jsonl");
    let text = fs::read_to_string(&path).expect("results");
    let kept = text.matches('\n').count();
    assert!(kept > 0);
    fs::write(&path, format!("{text}{{\"source\":\"half")).expect("a small file");
    sweep.assert_resumes();
}

#[test]
fn a_disk_that_is_full_ends_the_sweep_with_6_and_keeps_the_results() {
    let sweep = Sweep::new("");
    let folder = sweep.folder();
    fs::create_dir(&folder).expect("a folder");
    let disk = Disk::small(&folder);
    let ran = disk.run(words("suite", &sweep.arguments(&folder)));
    assert_code(&ran, ENVIRONMENT);
    let said = ["No space left on device", "File too large"];
    assert!(said.iter().any(|said| ran.stderr.contains(said)), "{}", ran.stderr);
    assert!(ran.stderr.contains("results.jsonl"), "{}", ran.stderr);
    assert!(ran.stdout.contains("results are kept"), "{}", ran.stdout);
    let kept = results(&folder);
    assert!((1..SEEDS).contains(&kept), "{kept}");
    disk.free();
    assert_eq!(results(&folder), kept);
    sweep.assert_resumes();
}

#[test]
fn a_failing_run_that_cannot_be_saved_ends_the_sweep_with_6() {
    let place = Place::new();
    let scenario = place.scenario("unsound", MISSED);
    let folder = place.path("results");
    let limited = Disk::Limited;
    let ran = limited.run(words("suite", &[&scenario, &"--save", &folder]));
    assert_code(&ran, ENVIRONMENT);
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
    assert_code(&suite(&[&scenario, &"--save", &folder]), THRESHOLD);
}

/// A disk with room for some results.
enum Disk {
    /// A file system of its own.
    Mounted(PathBuf),
    /// Where mounting is not allowed: no file grows larger.
    Limited,
}

impl Disk {
    fn small(folder: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8k", "tmpfs"]).arg(folder).stderr(Stdio::null());
        match mount.status().is_ok_and(|status| status.success()) {
            true => Self::Mounted(folder.to_path_buf()),
            false => Self::Limited,
        }
    }

    fn run(&self, arguments: Vec<OsString>) -> Ran {
        let limit = match self {
            Self::Mounted(_) => "",
            Self::Limited => "trap '' XFSZ; ulimit -f 4; ",
        };
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(format!("{limit}exec \"$0\" \"$@\"")).arg(binary()).args(arguments);
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(bash.spawn().expect("bash is there"))
    }

    /// Makes room.
    fn free(&self) {
        if let Self::Mounted(folder) = self {
            let mut mount = Command::new("mount");
            mount.args(["-o", "remount,size=64m"]).arg(folder);
            assert!(mount.status().expect("mount is there").success());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}
