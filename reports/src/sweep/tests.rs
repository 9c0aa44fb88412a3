//! Claims about how runs become one result.

use std::collections::BTreeMap;

use super::*;
use crate::summary::{RuleSummary, Verdict, ViolationSummary};

/// A run of `smoke/steady`, with what is wrong with it.
fn run(seed: u64, exit_code: u8, complaints: &[(&str, &str)]) -> RunResult {
    let complaint = |(claim, evidence): &(&str, &str)| Complaint {
        claim: (*claim).to_owned(),
        evidence: (*evidence).to_owned(),
    };
    let violations = u64::from(complaints.iter().any(|(claim, _)| *claim == "G3"));
    RunResult {
        source: "scenarios/smoke/steady.toml".into(),
        scenario: "smoke/steady".into(),
        seed,
        passed: complaints.is_empty(),
        exit_code,
        fingerprint: "f".into(),
        sim_seconds: 1.5,
        rules: vec![RuleSummary { id: "G3".into(), checks: 10, violations, first: None }],
        thresholds: Vec::new(),
        expectations: Vec::new(),
        sometimes: BTreeMap::from([("replay_rewound".to_owned(), seed)]),
        complaints: complaints.iter().map(complaint).collect(),
        saved: None,
    }
}

fn known(rule: &str, evidence: &str) -> Known {
    Known {
        scenario: "smoke/*".into(),
        rule: rule.into(),
        evidence: evidence.into(),
        reason: "bug 17".into(),
    }
}

fn failing() -> Vec<RunResult> {
    vec![
        run(1, 0, &[]),
        run(2, 1, &[("G3", "P00001/IBM wrote epoch 3 of 4")]),
        run(3, 5, &[("threshold catch_up_seconds <= 1", "measured 2")]),
        run(4, 1, &[("G3", "P00007/SP500 wrote epoch 1 of 2")]),
    ]
}

#[test]
fn failures_are_grouped_by_claim_and_by_what_their_evidence_looks_like() {
    let summary = SweepSummary::of(&failing(), &Context::default());
    let groups: Vec<(&str, u64)> =
        summary.failures.iter().map(|group| (group.claim.as_str(), group.runs)).collect();
    assert_eq!(groups, [("G3", 2), ("threshold catch_up_seconds <= 1", 1)]);
    assert_eq!(summary.failures[0].seeds[0].seeds, [2, 4]);
    let repeat = "backdate run scenarios/smoke/steady.toml --seed 2";
    assert_eq!(summary.failures[0].repeat, repeat);
    assert_eq!((summary.passed, summary.failed, summary.exit_code), (1, 3, 1));
}

#[test]
fn known_failures_do_not_fail_a_sweep_and_new_ones_do() {
    let all = vec![known("G3", "wrote epoch * of"), known("threshold*", ""), known("G7", "lost")];
    let context = Context { known: all.clone(), ..Context::default() };
    let summary = SweepSummary::of(&failing(), &context);
    assert_eq!((summary.failed, summary.known, summary.exit_code), (0, 3, 0));
    assert_eq!(summary.verdict, Verdict::Pass);
    assert_eq!(summary.known_unused, [all[2].clone()]);
    let context = Context { known: vec![known("G3", "")], ..Context::default() };
    let summary = SweepSummary::of(&failing(), &context);
    assert_eq!((summary.failed, summary.known, summary.exit_code), (1, 2, 5));
}

#[test]
fn a_run_with_a_new_failure_beside_a_known_one_fails() {
    let both = run(1, 1, &[("G3", "old"), ("G7", "new")]);
    let context = Context { known: vec![known("G3", "old")], ..Context::default() };
    let summary = SweepSummary::of(&[both], &context);
    assert_eq!((summary.failed, summary.known, summary.exit_code), (1, 0, 1));
}

#[test]
fn exit_codes_count_in_their_order() {
    let lost = LostRun { source: "s".into(), seed: 1, said: "a signal".into() };
    let context = Context { lost: vec![lost], ..Context::default() };
    let codes = |codes: &[u8]| -> Vec<RunResult> {
        let numbered = (1..).zip(codes);
        numbered.map(|(seed, code)| run(seed, *code, &[("a", "b")])).collect()
    };
    let code = |list: &[u8], context: &Context| SweepSummary::of(&codes(list), context).exit_code;
    assert_eq!(code(&[5, 3, 1, 4], &context), 6);
    for (list, expected) in [(&[5, 3, 1, 4][..], 4), (&[5, 3, 1], 1), (&[5, 3], 3), (&[5], 5)] {
        assert_eq!(code(list, &Context::default()), expected, "{list:?}");
    }
}

#[test]
fn a_state_that_must_be_reached_and_is_not_fails_the_sweep() {
    let states = vec!["replay_rewound".to_owned(), "zombie_fenced".to_owned()];
    let mut context = Context { states, ..Context::default() };
    let runs = [run(1, 0, &[]), run(2, 0, &[])];
    let summary = SweepSummary::of(&runs, &context);
    assert_eq!(summary.exit_code, 0);
    assert_eq!(summary.sometimes["replay_rewound"], Reached { times: 3, runs: 2 });
    assert_eq!(summary.never_reached, ["zombie_fenced"]);
    context.must_reach = true;
    let summary = SweepSummary::of(&runs, &context);
    assert_eq!((summary.exit_code, summary.verdict), (5, Verdict::Fail));
    assert!(text::text(&summary, None, None).contains("zombie_fenced MISSED"));
}

#[test]
fn junit_has_a_case_for_each_rule_with_what_was_measured() {
    let mut runs = failing();
    runs[1].complaints[0].evidence = "a < b & \"c\"\u{1}".into();
    let xml = junit::junit(&SweepSummary::of(&runs, &Context::default()));
    assert!(xml.contains("tests=\"2\" failures=\"2\" errors=\"0\" skipped=\"0\""), "{xml}");
    assert!(xml.contains("name=\"G3\"><failure message=\"40 checks in 4 runs, 2 violations;"));
    assert!(xml.contains("name=\"threshold catch_up_seconds &lt;= 1\""), "{xml}");
    assert!(!xml.contains('\u{1}'), "{xml}");
    let context = Context { known: vec![known("G3", ""), known("th*", "")], ..Context::default() };
    let xml = junit::junit(&SweepSummary::of(&runs, &context));
    assert!(xml.contains("skipped=\"2\"") && xml.contains("known: bug 17"), "{xml}");
    let xml = junit::junit(&SweepSummary::of(&[run(1, 0, &[])], &Context::default()));
    assert!(xml.contains("<system-out>10 checks in 1 runs, 0 violations</system-out>"), "{xml}");
}

#[test]
fn annotations_name_the_file_and_stay_on_one_line() {
    let runs = [run(2, 1, &[("G3", "50% of\nall, and: more")])];
    let told = annotations::annotations(&SweepSummary::of(&runs, &Context::default()));
    assert_eq!(
        told,
        "::error file=scenarios/smoke/steady.toml,line=1,title=G3 broke::smoke/steady: 1 runs, \
         first seed 2: 50%25 of%0Aall, and: more%0Arepeat with: backdate run \
         scenarios/smoke/steady.toml --seed 2\n"
    );
}

#[test]
fn exactly_what_must_break_may_break() {
    let evidence = |id: &str| ViolationSummary {
        at: Default::default(),
        event: 70,
        evidence: format!("{id} broke"),
    };
    let rule = |id: &str, checks: u64, violations: u64| RuleSummary {
        id: id.into(),
        checks,
        violations,
        first: (violations > 0).then(|| evidence(id)),
    };
    let mut summary: crate::summary::Summary = serde_json::from_str(
        r#"{"schema_version":1,"verdict":"fail","exit_code":1,"scenario":"s","on":"sim","seed":1,
            "commit":"c","fingerprint":"f","plan":null,"sim_seconds":1.0,"wall_seconds":null,
            "peak_rss_bytes":null,"rules":[],"counters":{},"catch_up_seconds":null,"faults":{},
            "sometimes":{},"utilisation":{},"queue_max":{},"latency_ms":{},"thresholds":[]}"#,
    )
    .expect("a summary");
    let judged = |summary: &crate::summary::Summary, breaks| {
        let result = RunResult::of("s.toml", summary, breaks);
        let claims = result.complaints.into_iter().map(|complaint| complaint.claim);
        (claims.collect::<Vec<_>>().join(" "), result.passed)
    };
    summary.rules = vec![rule("G3", 9, 1), rule("G4", 9, 0)];
    assert_eq!(judged(&summary, None), ("G3".to_owned(), false));
    assert_eq!(judged(&summary, Some("G3")), (String::new(), true));
    assert_eq!(judged(&summary, Some("G4")), ("G3".to_owned(), false));
    summary.rules = vec![rule("G3", 9, 1), rule("G4", 9, 1)];
    assert_eq!(judged(&summary, Some("G3")), ("G4".to_owned(), false));
    // It did not converge, so the other one was never evaluated.
    summary.rules = vec![rule("G7", 0, 1), rule("G8", 9, 1)];
    summary.exit_code = 3;
    assert_eq!(judged(&summary, None), ("G8".to_owned(), false));
    assert_eq!(judged(&summary, Some("G8")), (String::new(), true));
}
