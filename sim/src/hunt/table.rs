//! What a hunt has found, as a table for people.

use std::fmt::Write;

use super::search::Finding;

/// The table, and a line that sums it up.
pub fn table(findings: &[Finding]) -> String {
    let mut out = String::new();
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(6).max(6);
    let head = ["defect", "rule", "scenario", "seed", "runs", "seconds", "with"];
    row(&mut out, width, &head.map(str::to_owned));
    for finding in findings {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let rule = if finding.found { text(&finding.rule) } else { "NONE".to_owned() };
        let cells = [
            finding.name.clone(),
            rule,
            text(&finding.scenario),
            text(&finding.seed.map(|seed| seed.to_string())),
            finding.runs.to_string(),
            format!("{:.1}", finding.seconds),
            finding.masks.join(", "),
        ];
        row(&mut out, width, &cells);
    }
    out + &summary(findings)
}

fn row(out: &mut String, width: usize, cells: &[String; 7]) {
    let [defect, rule, scenario, seed, runs, seconds, with] = cells;
    let line = format!(
        "{defect:<width$}  {rule:<5}  {scenario:<34}  {seed:>6}  {runs:>6}  {seconds:>8}  {with}"
    );
    writeln!(out, "{}", line.trim_end()).expect("a String takes everything");
}

/// How many were found, and after how many runs.
pub fn summary(findings: &[Finding]) -> String {
    let mut runs: Vec<u64> = findings.iter().filter(|f| f.found).map(|f| f.runs).collect();
    runs.sort_unstable();
    let found = runs.len();
    let median = runs.get(found / 2).copied().unwrap_or(0);
    let most = runs.last().copied().unwrap_or(0);
    let seconds: f64 = findings.iter().map(|finding| finding.seconds).sum();
    format!(
        "{found} of {} found; runs until then: median {median}, most {most}; {seconds:.0} s of \
         work\n",
        findings.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_was_found() {
        let finding = |name: &str, runs, found| Finding {
            name: name.to_owned(),
            masks: Vec::new(),
            found,
            rule: found.then(|| "G2".to_owned()),
            scenario: None,
            seed: None,
            runs,
            seconds: 1.0,
            broken_anyway: Vec::new(),
        };
        let findings = [finding("a", 3, true), finding("b", 1, true), finding("c", 9, false)];
        let expected = "2 of 3 found; runs until then: median 3, most 3; 3 s of work\n";
        assert_eq!(summary(&findings), expected);
        assert!(table(&findings).contains("NONE"));
    }
}
