//! Names of topics and groups as the broker knows them: the engine's behind a prefix.

use super::config::KafkaConfig;
use crate::ports::log::Topic;

/// Makes and reads names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn of(config: &KafkaConfig) -> Self {
        Self { prefix: config.prefix.clone() }
    }

    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    pub(super) fn group(&self, group: &str) -> String {
        format!("{}{group}", self.prefix)
    }

    /// The topic of that name; none for a name that is not the engine's.
    pub(super) fn parse(&self, name: &str) -> Option<Topic> {
        Topic::parse(name.strip_prefix(self.prefix.as_str())?)
    }
}

#[test]
fn only_names_behind_the_prefix_are_ours() {
    let config = KafkaConfig { prefix: "t1.".to_owned(), ..KafkaConfig::default() };
    let names = Names::of(&config);
    assert_eq!(names.topic(Topic::FxRates), "t1.fx_rates");
    assert_eq!(names.group("persistence"), "t1.persistence");
    assert_eq!(names.parse("t1.fx_rates"), Some(Topic::FxRates));
    assert_eq!(names.parse("fx_rates"), None);
    assert_eq!(names.parse("t1.other"), None);
}
