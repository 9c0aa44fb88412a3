//! librdkafka's errors as the port's, in words that name the broker, the cause and the cure.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::config::KafkaConfig;
use crate::ports::log::LogError;

/// What an error is told with.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    servers: String,
}

impl Teller {
    pub(super) fn of(config: &KafkaConfig) -> Self {
        Self { servers: config.bootstrap_servers.clone() }
    }

    /// An error of a call, with what librdkafka last said about its connections, if anything.
    pub(super) fn error(&self, error: &KafkaError, reason: Option<&str>) -> LogError {
        match error {
            KafkaError::ClientConfig(_, cause, key, _) => {
                // The cause quotes the value, which may be a password.
                let cause = if key.contains("pass") || key.contains("secret") { "" } else { cause };
                LogError::Refused(format!("the Kafka property `{key}` is refused: {cause}"))
            }
            KafkaError::ClientCreation(cause) => LogError::Refused(format!(
                "the Kafka client cannot be set up: {cause}; check the section `kafka`"
            )),
            other => match other.rdkafka_error_code() {
                Some(code) => self.code(code, reason, None),
                None => self.disconnected(&other.to_string(), reason),
            },
        }
    }

    /// An error by its code; `name` is the topic that it is about.
    pub(super) fn code(&self, code: Code, reason: Option<&str>, name: Option<&str>) -> LogError {
        let servers = &self.servers;
        let said = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let topic = name.unwrap_or("that was asked for");
        match code {
            _ if is_fencing(code) => LogError::Fenced,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                LogError::Refused(match name {
                    Some(name) => missing(name),
                    None => format!(
                        "a topic is missing at {servers}{said}: create it with `backdate migrate`"
                    ),
                })
            }
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                LogError::Refused(format!(
                    "a message is too large for the topic {topic} at {servers}: raise \
                     `max.message.bytes` of the topic and `message.max.bytes` here"
                ))
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                LogError::Refused(format!(
                    "{servers} refuses the credentials or the encryption{said}; check \
                     `security.protocol`, `sasl.*` and `ssl.*` in the Kafka properties"
                ))
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => LogError::Refused(format!(
                "{servers} does not allow it ({code}, topic {topic}): grant this user the ACLs"
            )),
            Code::UnsupportedVersion | Code::UnsupportedFeature => {
                LogError::Unsupported(format!("{servers} is too old for what was asked ({code})"))
            }
            _ => self.disconnected(&code.to_string(), reason),
        }
    }

    /// The broker cannot be reached, or did not answer.
    pub(super) fn disconnected(&self, what: &str, reason: Option<&str>) -> LogError {
        let said = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        LogError::Disconnected(format!("Kafka at {}: {what}{said}", self.servers))
    }
}

/// A topic that is not there, and the cure.
pub(super) fn missing(name: &str) -> String {
    format!("the topic {name} is missing: create it with `backdate migrate`")
}

/// Whether a code says that the member is not what it was.
fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::AssignmentLost
            | Code::FencedInstanceId
            | Code::PollExceeded
            | Code::UnknownGroup
    )
}

#[test]
fn a_password_is_not_shown() {
    let teller = Teller::of(&KafkaConfig::default());
    let error = KafkaError::ClientConfig(
        rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
        "Invalid value \"hunter2\"".to_owned(),
        "sasl.password".to_owned(),
        "hunter2".to_owned(),
    );
    assert!(!teller.error(&error, None).to_string().contains("hunter2"));
}
