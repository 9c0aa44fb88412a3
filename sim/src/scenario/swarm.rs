//! `[swarm]`: what a seed draws of a scenario itself, before workload and faults are expanded.
//!
//! A swarm test explores more by leaving things out: in some runs a whole family of faults is off,
//! or all of them, and shape, knobs and traffic differ from seed to seed. Whatever is drawn ends in
//! a plan like any other, which says nothing of the swarm that it came from.
//!
//! What does not fit together (more securities per portfolio than there are) is drawn again.
//!
//! # Invariants
//! - Each draw has a stream of its own, named by its path: one entry more leaves the others alone.
//! - A field that `--set` names is as it says under every seed.
//! - A fault that is off keeps its number, so the draws of the others stay what they are.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use toml::{Table, Value};

use super::load::{Loaded, has, put, take_out};
use super::problem::hint;
use super::validate::{Complain, validate};
use crate::workload::happens;
use crate::world::random::{below, stream};

/// How often a seed draws until what it has drawn fits together.
const ATTEMPTS_MAX: u32 = 200;
/// Draws that are tried when a scenario is read, of which half must fit together.
const SAMPLES: u32 = 8;

/// `[swarm]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Swarm {
    /// Share of seeds that run without any fault.
    pub without_faults: f64,
    /// Share of the other seeds in which each family of faults is on (`family` of a fault).
    pub families: BTreeMap<SmolStr, f64>,
    /// Share of seeds in which a table or list of the scenario is there, by its path.
    pub parts: BTreeMap<String, f64>,
    /// Values of which each seed takes one, by the path of the field.
    #[schemars(with = "BTreeMap<String, Vec<serde_json::Value>>")]
    pub choices: BTreeMap<String, Vec<Value>>,
    /// The least and the most of a whole number, by the path of the field.
    #[schemars(with = "BTreeMap<String, Vec<u32>>")]
    pub ranges: BTreeMap<String, [u32; 2]>,
}

impl Swarm {
    /// The scenario that a seed draws. It must have passed [`check`].
    pub(super) fn drawn(&self, loaded: &Loaded, seed: u64) -> Loaded {
        let mut attempts =
            (0..ATTEMPTS_MAX).filter_map(|attempt| self.attempt(loaded, seed, attempt).ok());
        attempts.next().expect("of the draws of a scenario that was checked, every other one fits")
    }

    fn attempt(&self, loaded: &Loaded, seed: u64, attempt: u32) -> Result<Loaded, Misfit> {
        let stream = |what: &str, path: &str| -> ChaCha8Rng {
            match attempt {
                0 => stream(seed, &format!("swarm/{what}/{path}")),
                again => stream(seed, &format!("swarm/{what}/{path}/{again}")),
            }
        };
        let mut table = loaded.table.clone();
        let is_free = |path: &String| !loaded.is_fixed(path);
        for (path, values) in self.choices.iter().filter(|(path, _)| is_free(path)) {
            let drawn = below(&mut stream("choices", path), values.len() as u64);
            put(&mut table, path, values[drawn as usize].clone());
        }
        for (path, [least, most]) in self.ranges.iter().filter(|(path, _)| is_free(path)) {
            let drawn = below(&mut stream("ranges", path), u64::from(most - least) + 1);
            put(&mut table, path, whole(u64::from(*least) + drawn));
        }
        for (path, share) in self.parts.iter().filter(|(path, _)| is_free(path)) {
            if !happens(&mut stream("parts", path), *share) {
                take_out(&mut table, path);
            }
        }
        let mut drawn = read(loaded, table)?;
        let no_faults = happens(&mut stream("without_faults", ""), self.without_faults);
        for fault in &mut drawn.scenario.faults {
            let is_on = |family: &SmolStr| match self.families.get(family) {
                Some(share) => happens(&mut stream("families", family), *share),
                None => true,
            };
            fault.is_off = no_faults || !fault.family.as_ref().is_none_or(is_on);
        }
        Ok(drawn)
    }
}

fn whole(number: u64) -> Value {
    Value::Integer(i64::try_from(number).expect("the ends of a range are small"))
}

/// A field and what is wrong with it.
type Misfit = (String, String);

/// Reads what was drawn; the first thing that is wrong with it.
fn read(loaded: &Loaded, mut table: Table) -> Result<Loaded, Misfit> {
    table.remove("swarm");
    let scenario = serde_path_to_error::deserialize(Value::Table(table.clone()))
        .map_err(|error| (error.path().to_string(), error.inner().message().to_owned()))?;
    let folder = loaded.path.parent().unwrap_or(std::path::Path::new("."));
    let mut first = None;
    let known = Some((&loaded.scenario.workload.data, &loaded.market));
    let market = validate(&scenario, folder, known, &mut |field: &str, why: String| {
        first.get_or_insert((field.to_owned(), why));
    });
    match (market, first) {
        (Some(market), None) => {
            let (path, fixed) = (loaded.path.clone(), loaded.fixed.clone());
            Ok(Loaded { path, scenario, market, table, fixed })
        }
        (_, first) => Err(first.unwrap_or_default()),
    }
}

/// Checks that each value fits by itself, and that most of what is drawn fits together.
pub(super) fn check(loaded: &Loaded, complain: &mut Complain<'_>) {
    let Some(swarm) = &loaded.scenario.swarm else {
        for (number, fault) in loaded.scenario.faults.iter().enumerate() {
            if fault.family.is_some() {
                let why = "does nothing without a table [swarm]: take it out".to_owned();
                complain(&format!("faults[{number}].family"), why);
            }
        }
        return;
    };
    let mut complain = Counted { complain, count: 0 };
    families(loaded, swarm, &mut complain);
    parts(loaded, swarm, &mut complain);
    values(loaded, swarm, &mut complain);
    if complain.count > 0 {
        return;
    }
    let misfits: Vec<Misfit> =
        (0..SAMPLES).filter_map(|seed| swarm.attempt(loaded, u64::from(seed), 0).err()).collect();
    if misfits.len() > SAMPLES as usize / 2 {
        let (field, why) = &misfits[0];
        let why = format!("draws what does not fit together more often than not: {field} {why}");
        complain.tell("swarm", why);
    }
}

/// Counts the complaints that it passes on.
struct Counted<'a, 'b> {
    complain: &'a mut Complain<'b>,
    count: usize,
}

impl Counted<'_, '_> {
    fn tell(&mut self, field: &str, why: String) {
        self.count += 1;
        (self.complain)(field, why);
    }

    fn share(&mut self, field: &str, share: f64) {
        if !(0.0..=1.0).contains(&share) {
            self.tell(field, format!("= {share}: must be between 0 and 1"));
        }
    }
}

fn families(loaded: &Loaded, swarm: &Swarm, complain: &mut Counted<'_, '_>) {
    complain.share("swarm.without_faults", swarm.without_faults);
    let faults = &loaded.scenario.faults;
    for (family, share) in &swarm.families {
        let field = format!("swarm.families.{family}");
        complain.share(&field, *share);
        if faults.iter().all(|fault| fault.family.as_ref() != Some(family)) {
            complain.tell(&field, "has no faults: give some that `family`, or take it out".into());
        }
    }
    for (number, fault) in faults.iter().enumerate() {
        if let Some(family) = &fault.family
            && !swarm.families.contains_key(family)
        {
            let cure = hint(family, swarm.families.keys().map(SmolStr::as_str));
            let why =
                format!("= {:?}: no such family in [swarm.families]: {cure}", family.as_str());
            complain.tell(&format!("faults[{number}].family"), why);
        }
    }
}

fn parts(loaded: &Loaded, swarm: &Swarm, complain: &mut Counted<'_, '_>) {
    for (path, share) in &swarm.parts {
        let field = format!("swarm.parts.{path}");
        complain.share(&field, *share);
        let mut table = loaded.table.clone();
        if path.ends_with(']') {
            let why = "is an entry of a list: name the whole list, or a field with [swarm.choices]";
            complain.tell(&field, why.into());
        } else if !has(&table, path) {
            complain.tell(&field, "leads nowhere in this scenario".into());
        } else {
            take_out(&mut table, path);
            if let Err((wrong, why)) = read(loaded, table) {
                complain.tell(&field, format!("cannot be left out: {wrong} {why}"));
            }
        }
    }
}

fn values(loaded: &Loaded, swarm: &Swarm, complain: &mut Counted<'_, '_>) {
    let try_value = |field: String, path: &str, value: Value, complain: &mut Counted<'_, '_>| {
        let mut table = loaded.table.clone();
        if !put(&mut table, path, value.clone()) {
            complain.tell(&field, "leads nowhere in this scenario".into());
        } else if let Err((wrong, why)) = read(loaded, table) {
            complain.tell(&field, format!("{value} does not fit: {wrong} {why}"));
        }
    };
    for (path, values) in &swarm.choices {
        let field = format!("swarm.choices.{path}");
        if values.is_empty() {
            complain.tell(&field, "= []: give at least one value".into());
        }
        for (number, value) in values.iter().enumerate() {
            try_value(format!("{field}[{number}]"), path, value.clone(), complain);
        }
    }
    for (path, [least, most]) in &swarm.ranges {
        let field = format!("swarm.ranges.{path}");
        if least > most {
            complain.tell(&field, format!("= [{least}, {most}]: the least comes first"));
            continue;
        }
        if swarm.choices.contains_key(path) {
            complain.tell(&field, "has [swarm.choices] too: take one of them out".into());
        }
        for (number, end) in [least, most].into_iter().enumerate() {
            let value = whole(u64::from(*end));
            try_value(format!("{field}[{number}]"), path, value, complain);
        }
    }
}
