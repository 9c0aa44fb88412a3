//! The block as a person sees it.

use super::*;
use crate::recording::SimTime;
use crate::summary::*;

fn passed() -> Summary {
    let counts = [
        ("inputs", 812),
        ("transactions", 600),
        ("keys", 200),
        ("keys_reset", 231),
        ("dates_valued", 8_900),
        ("dates_revalued", 4_400),
        ("epochs", 7),
        ("replay_rows", 31),
        ("fenced", 3),
        ("dead_letters", 2),
    ];
    let latency = Latency { p50: 151.2, p99: 612.0, p999: 700.4, max: 712.1, count: 612 };
    Summary {
        schema_version: SCHEMA_VERSION,
        verdict: Verdict::Pass,
        exit_code: 0,
        scenario: "smoke/herd_small".into(),
        on: "sim".into(),
        seed: 1,
        commit: "0123456789ab".into(),
        defect: None,
        fingerprint: "00112233445566778899aabbccddeeff".into(),
        plan: Some("plan.toml".into()),
        sim_seconds: 17.25,
        wall_seconds: Some(0.115),
        peak_rss_bytes: Some(41 * 1_048_576),
        rules: vec![RuleSummary { id: "G1".into(), checks: 900, violations: 0, first: None }],
        counters: counts.map(|(name, count)| (name.to_owned(), count)).into(),
        catch_up_seconds: Some(1.25),
        faults: [("crash".to_owned(), 1)].into(),
        sometimes: [("message_fenced".to_owned(), 3)].into(),
        utilisation: [("postgres".to_owned(), 0.131), ("kafka-1".to_owned(), 0.04)].into(),
        queue_max: [("outbox".to_owned(), 200), ("triggers".to_owned(), 1)].into(),
        latency_ms: [("raw_to_snapshot".to_owned(), latency)].into(),
        thresholds: vec![ThresholdSummary {
            expr: "catch_up_seconds <= 60".into(),
            value: Some(1.25),
            ok: true,
        }],
        expectations: vec![ExpectationSummary {
            expected: "keys_reset >= 200".into(),
            seen: "231".into(),
            ok: true,
        }],
        fenced_producers: [("outbox-dispatcher-1".to_owned(), 3)].into(),
        notes: Vec::new(),
    }
}

#[test]
fn a_run_that_passes_shows_what_it_did() {
    let text = closing_block(&passed(), "backdate run scenarios/smoke/herd_small.toml --seed 1");
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_that_fails_shows_the_evidence_and_the_command() {
    let mut failed = passed();
    failed.verdict = Verdict::Fail;
    failed.exit_code = 1;
    failed.catch_up_seconds = None;
    failed.wall_seconds = None;
    failed.peak_rss_bytes = None;
    failed.rules[0].violations = 2;
    failed.rules[0].first = Some(ViolationSummary {
        at: SimTime(3_250_000_000),
        event: 8_123,
        evidence: "P00001/SP500 2012-10-03: market_value 10 in the snapshot\n\
                   the model computes 11"
            .into(),
    });
    failed.thresholds[0] =
        ThresholdSummary { expr: "catch_up_seconds <= 60".into(), value: None, ok: false };
    let text = closing_block(&failed, "backdate run --plan out/plan.toml");
    insta::assert_snapshot!(text);
}
