//! `metrics.csv`: the engine's metrics over simulated time.
//!
//! One row per instant and series, a column per label, so that spreadsheets, data frames and SQL
//! read it as it is. Names, labels and values are those that the engine exposes to Prometheus:
//! counters count since the start of the run, histograms have their `_bucket`, `_sum` and `_count`.
//!
//! # Invariants
//! - Equal runs give equal bytes: series come in the order of their metrics, then of their labels.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::recording::SimTime;
use crate::unfinished::Unfinished;

/// Name of the table in the folder of a run.
pub const METRICS_FILE: &str = "metrics.csv";

/// Columns of labels. `le` comes last: buckets stay in their order.
const LABELS: [&str; 6] = ["service_name", "topic", "group_id", "operation", "reason", "le"];

/// Writes the table.
pub struct MetricsTable(Unfinished);

/// Series of one metric that differ in `le` at the most: its place, and its labels.
type Group<'a> = (usize, [&'a str; LABELS.len() - 1]);

impl MetricsTable {
    /// Begins a table in the folder of a run, which must exist.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let mut file = Unfinished::create(folder, METRICS_FILE)?;
        writeln!(file, "seconds,metric,{},value", LABELS.join(","))?;
        Ok(Self(file))
    }

    /// Adds the rows of an instant, from the text that Prometheus reads.
    ///
    /// # Panics
    /// If the text has a label that is not known here, or a cell that CSV would have to quote.
    pub fn write(&mut self, at: SimTime, exposition: &str) -> io::Result<()> {
        let mut metric = 0;
        let mut groups: BTreeMap<Group<'_>, Vec<(&str, &str, &str)>> = BTreeMap::new();
        for line in exposition.lines() {
            if line.starts_with('#') {
                metric += usize::from(line.starts_with("# TYPE "));
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a series has a value");
            let (name, labels) = parse(series);
            let [rest @ .., le] = labels;
            groups.entry((metric, rest)).or_default().push((name, le, value));
        }
        let seconds = at.seconds();
        for ((_, labels), series) in &groups {
            let labels = labels.join(",");
            for (name, le, value) in series {
                writeln!(self.0, "{seconds:.6},{name},{labels},{le},{value}")?;
            }
        }
        Ok(())
    }

    /// Ends the table; only now it has its name.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// Name and labels of a series: `name{label="value",...}`.
fn parse(series: &str) -> (&str, [&str; LABELS.len()]) {
    let mut labels = [""; LABELS.len()];
    let Some((name, rest)) = series.split_once('{') else { return (series, labels) };
    for pair in rest.trim_end_matches('}').split(',') {
        let (label, value) = pair.split_once('=').expect("a label has a value");
        let column = LABELS.iter().position(|known| *known == label);
        let column = column.unwrap_or_else(|| panic!("{label} has no column"));
        labels[column] = value.trim_matches('"');
        assert!(!labels[column].contains(['"', '\\']), "{series}: needs quotes in CSV");
    }
    (name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_rows_in_an_order_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = MetricsTable::create(folder.path()).unwrap();
        let exposition = "# HELP b Of b.\n# TYPE b counter\nb_total{topic=\"y\"} 2\n\
                          b_total{topic=\"x\"} 1\n# HELP a Of a.\n# TYPE a histogram\na_sum 4.5\n\
                          a_count 3\na_bucket{le=\"2.0\"} 1\na_bucket{le=\"10.0\"} 2\n\
                          a_bucket{le=\"+Inf\"} 3\n# EOF\n";
        table.write(SimTime(1_500_000_000), exposition).unwrap();
        table.finish().unwrap();
        let text = std::fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap();
        let expected = "seconds,metric,service_name,topic,group_id,operation,reason,le,value\n\
                        1.500000,b_total,,x,,,,,1\n1.500000,b_total,,y,,,,,2\n\
                        1.500000,a_sum,,,,,,,4.5\n1.500000,a_count,,,,,,,3\n\
                        1.500000,a_bucket,,,,,,2.0,1\n1.500000,a_bucket,,,,,,10.0,2\n\
                        1.500000,a_bucket,,,,,,+Inf,3\n";
        assert_eq!(text, expected);
    }
}
