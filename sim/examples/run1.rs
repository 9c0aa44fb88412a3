#[global_allocator] static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
use std::sync::atomic::AtomicBool;
use backdate::{scenario::*, runner::*};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let sets: Vec<String> = a[3..].to_vec();
    let loaded = load(a[1].as_ref(), &sets).map_err(|e| e.to_string()).unwrap();
    for seed in a[2].split(',') {
    let plan = Plan::expand(&loaded, seed.parse().unwrap());
    let stop = AtomicBool::new(false);
    let t = std::time::Instant::now();
    let mut last = 99; 
    let trace = std::env::var("TRACE").is_ok();
    let mut phases = vec![];
    let o = run(RunOptions { plan: &plan, save: None, canary: None, interrupted: &stop, progress: &mut |p| { if phases.last().map(|x: &(String, f64, f64)| x.0 != format!("{:?}", p.phase)).unwrap_or(true) { phases.push((format!("{:?}", p.phase), p.sim.seconds(), t.elapsed().as_secs_f64())); }
       let s = p.sim.0/5_000_000_000; if s != last && std::env::var("Q").is_err() { last = s; eprintln!("{} {:?} behind {} pending {} left {}", p.sim, p.phase, p.keys_behind, p.pending, p.inputs_left);} },
       events: trace.then(|| Box::new(|e: &backdate_reports::recording::Event| { let mut s = format!("{:?}", e.kind); s.truncate(600); eprintln!("{} {} {} {}", e.seq, e.at, e.process, s); }) as Box<dyn FnMut(&_)>) }).unwrap();
    let s = &o.summary;
    println!("seed {seed} exit {} fp {} sim {:.1} wall {:.2} phases {:?}", s.exit_code, s.fingerprint, s.sim_seconds, t.elapsed().as_secs_f64(), phases);
    for r in &s.rules { if r.violations > 0 { println!("  {} checks {} violations {} {:?}", r.id, r.checks, r.violations, r.first); } }
    for e in &s.expectations { if !e.ok { println!("  expect {e:?}"); } }
    for n in &s.notes { println!("  note {n}"); }
    if std::env::var("Q").is_err() { println!("{:?}\n{:?}\n{:?}\n{:?}", s.counters, s.latency_ms, s.utilisation, s.rules.iter().map(|r| (r.id.clone(), r.checks)).collect::<Vec<_>>()); }
    }
}
