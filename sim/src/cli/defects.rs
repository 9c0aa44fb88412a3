//! `--defect`: plants a defect before anything runs, in builds that can.

use super::Failure;
use super::arguments::DefectArgument;

/// What a build without the feature says.
#[cfg(not(feature = "defects"))]
const CURE: &str = "this build cannot plant defects: build one that can with \
                    `cargo build --features defects`";

/// Plants what the argument names.
#[cfg(feature = "defects")]
pub(super) fn plant(argument: &DefectArgument) -> Result<(), Failure> {
    let planted = argument.defect.as_deref().map(parse).transpose()?;
    backdate_engine::defects::plant(planted);
    Ok(())
}

/// Plants what the argument names: nothing, in this build.
#[cfg(not(feature = "defects"))]
pub(super) fn plant(argument: &DefectArgument) -> Result<(), Failure> {
    match &argument.defect {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!("--defect {name}: {CURE}"))),
    }
}

/// The argument, for a process that is to do the same.
pub(super) fn arguments(argument: &DefectArgument) -> Vec<String> {
    let words = argument.defect.iter().map(|name| ["--defect".to_owned(), name.clone()]);
    words.flatten().collect()
}

/// Refuses to plant anything in processes of the machine, which nobody judges by seed.
pub(super) fn refuse_on_real(argument: &DefectArgument) -> Result<(), Failure> {
    match &argument.defect {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!(
            "--defect {name}: defects are planted in simulated processes only: leave --on real out"
        ))),
    }
}

/// The defect with that name.
#[cfg(feature = "defects")]
pub(super) fn parse(name: &str) -> Result<backdate_engine::defects::Defect, Failure> {
    use backdate_engine::defects::Defect;

    use crate::scenario::problem::hint;

    Defect::parse(name).ok_or_else(|| {
        let names = Defect::ALL.iter().map(|defect| defect.name());
        Failure::usage(format!("{name}: no such defect: {}", hint(name, names)))
    })
}

/// Names and descriptions of all defects; none in a build that cannot plant them.
pub(super) fn all() -> Vec<(&'static str, &'static str)> {
    #[cfg(feature = "defects")]
    {
        let all = backdate_engine::defects::Defect::ALL.iter();
        all.map(|defect| (defect.name(), defect.about())).collect()
    }
    #[cfg(not(feature = "defects"))]
    Vec::new()
}
