//! Names in a file, and the process or group that a seed makes of each.

use backdate_engine::runtime::ProcessKind;
use rand_chacha::ChaCha8Rng;
use smol_str::{SmolStr, format_smolstr};

use super::super::format::ClusterSpec;
use super::super::problem;
use super::FaultProblem;
use crate::cluster::GROUPS;
use crate::kafka;
use crate::world::random::below;

/// Draws processes and groups.
pub(super) struct Draw<'a> {
    pub(super) rng: &'a mut ChaCha8Rng,
    pub(super) cluster: &'a ClusterSpec,
}

impl Draw<'_> {
    pub(super) fn instance_of(&mut self, kind: ProcessKind) -> SmolStr {
        let number = 1 + below(self.rng, u64::from(self.cluster.instances(kind).max(1)));
        format_smolstr!("{kind}-{number}")
    }

    fn pick(&mut self, mut names: Vec<SmolStr>) -> SmolStr {
        let index = below(self.rng, names.len() as u64);
        names.swap_remove(usize::try_from(index).expect("below the length of a list"))
    }

    pub(super) fn one(&mut self, field: &'static str, name: &str) -> Result<SmolStr, FaultProblem> {
        if name == "any" {
            let engine = self.cluster.engine_processes();
            return Ok(self.pick(engine));
        }
        let named = self.group(field, name, &[])?;
        Ok(self.pick(named))
    }

    pub(super) fn group(
        &mut self,
        field: &'static str,
        name: &str,
        without: &[SmolStr],
    ) -> Result<Vec<SmolStr>, FaultProblem> {
        if name == "any" {
            let engine = self.cluster.engine_processes();
            return Ok(vec![self.pick(engine)]);
        }
        let mut everybody = self.cluster.engine_processes();
        everybody.extend((1..=self.cluster.brokers).map(kafka::ClusterSpec::broker_name));
        everybody.push("postgres".into());
        let kind_of = |process: &SmolStr| match process.rsplit_once('-') {
            Some((kind, number)) if number.bytes().all(|b| b.is_ascii_digit()) => kind.to_owned(),
            _ => process.to_string(),
        };
        let mut found = everybody.clone();
        found.retain(|process| match name {
            "all" => !without.contains(process),
            _ => process == name || kind_of(process) == name,
        });
        if !found.is_empty() {
            return Ok(found);
        }
        let mut candidates: Vec<String> = everybody.iter().map(kind_of).collect();
        candidates.dedup();
        candidates.extend(everybody.iter().map(|process| process.to_string()));
        let cure = problem::hint(name, candidates.iter().map(String::as_str));
        Err((field, format!("= {name:?}: no such process in this cluster: {cure}")))
    }

    /// A broker.
    pub(super) fn broker(
        &mut self,
        field: &'static str,
        name: &str,
    ) -> Result<SmolStr, FaultProblem> {
        let brokers: Vec<_> =
            (1..=self.cluster.brokers).map(kafka::ClusterSpec::broker_name).collect();
        let named: Vec<_> =
            brokers.iter().filter(|b| name == "kafka" || *b == name).cloned().collect();
        if named.is_empty() {
            let cure = problem::hint(name, brokers.iter().map(SmolStr::as_str));
            return Err((field, format!("= {name:?}: no such broker in this cluster: {cure}")));
        }
        Ok(self.pick(named))
    }

    /// A group of consumers.
    pub(super) fn consumers(
        &mut self,
        field: &'static str,
        name: &str,
    ) -> Result<SmolStr, FaultProblem> {
        let names = GROUPS.map(|(group, _)| group);
        if name == "any" {
            return Ok(self.pick(names.map(SmolStr::new_static).to_vec()));
        }
        if !names.contains(&name) {
            let cure = problem::hint(name, names);
            return Err((field, format!("= {name:?}: no such group of consumers: {cure}")));
        }
        Ok(name.into())
    }
}
