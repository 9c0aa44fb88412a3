//! What a configuration may say, and what the complaints are.

use super::*;

fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serve.toml");
    std::fs::write(&path, text).unwrap();
    load(Some(&path), &Addresses::default(), &Addresses::default())
        .map_err(|problems| problems.to_string().replace(&path.display().to_string(), "FILE"))
}

#[track_caller]
fn check(text: &str, complaint: &str) {
    assert_eq!(read(text).unwrap_err(), complaint, "{text}");
}

#[test]
fn a_wrong_file_is_answered_with_place_key_and_cure() {
    check("[postgres]\nhots = \"db\"\n", "FILE:2: postgres.hots: unknown key: did you mean host?");
    check("[knobs]\n\nreplay_chunk = 0\n", "FILE:3: knobs.replay_chunk = 0: must be at least 1");
    check(
        "[knobs]\noutbox_lanes = 1025\n",
        "FILE:2: knobs.outbox_lanes = 1025: must be at most 1024",
    );
    check(
        "[instances]\nprice-watcher = 0\n",
        "FILE:2: instances.price-watcher = 0: must be at least 1",
    );
    check("[postgres]\nport = 0\n", "FILE:2: postgres.port = 0: must be at least 1");
    check("[postgres]\nschema = \"\"\n", "FILE:2: postgres.schema = \"\": must not be empty");
    check(
        "[kafka]\nbootstrap_servers = \"a:1,b\"\n",
        "FILE:2: kafka.bootstrap_servers: number 2 is not HOST:PORT; several are separated by \
         commas",
    );
    check(
        "[http]\nlisten = \"9464\"\n",
        "FILE:2: http.listen = \"9464\": must be an IP address and a port, \
         e.g. \"127.0.0.1:9464\"",
    );
    let complaint = read("[instances]\nprice-wacher = 2\n").unwrap_err();
    assert!(complaint.ends_with("unknown: did you mean price-watcher?"), "{complaint}");
    assert!(read("[kafka\n").unwrap_err().starts_with("FILE:1: is no TOML"));
}

#[test]
fn what_would_break_in_work_is_refused_before_it() {
    check(
        "[postgres]\nidle_in_transaction_timeout_ms = 30000\n",
        "FILE:2: postgres.idle_in_transaction_timeout_ms = 30000: must be more than \
         kafka.delivery_timeout_ms (30000), or transactions end while the broker may still \
         acknowledge what they send",
    );
    let complaint = read("[kafka.properties]\n\"message.timeout.ms\" = \"60000\"\n").unwrap_err();
    assert!(complaint.contains("(60000)"), "a property decides: {complaint}");
    let ssl = read("[kafka.properties]\n\"security.protocol\" = \"ssl\"\n");
    match cfg!(feature = "kafka-tls") {
        true => assert!(ssl.is_ok()),
        false => assert!(ssl.unwrap_err().contains("--features kafka-tls")),
    }
    assert!(read("[postgres]\nssl_mode = \"verify-full\"\n").is_ok());
    let complaint = read("[postgres]\nssl_mode = \"verify\"\n").unwrap_err();
    assert!(complaint.starts_with("FILE:2: postgres.ssl_mode"), "{complaint}");
}

#[test]
fn flags_decide_over_the_environment_and_it_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serve.toml");
    std::fs::write(&path, "[postgres]\nhost = \"file\"\nschema = \"mine\"\n").unwrap();
    let environment = Addresses {
        kafka: Some("environment:1".into()),
        postgres: Some(Secret::new("postgres://me:first@environment:2/books")),
        password: Some(Secret::new("second")),
        ..Addresses::default()
    };
    let config = load(Some(&path), &environment, &Addresses::default()).unwrap();
    assert_eq!(config.kafka.bootstrap_servers, "environment:1");
    assert_eq!((config.postgres.host.as_str(), config.postgres.port), ("environment", 2));
    assert_eq!(config.postgres.schema, "mine", "an address does not name a schema");
    assert_eq!(config.postgres.password.reveal(), "second");
    let flags = Addresses {
        kafka: Some("flag:3".into()),
        postgres: Some(Secret::new("postgres://you@flag:4/books")),
        ..Addresses::default()
    };
    let config = load(Some(&path), &environment, &flags).unwrap();
    assert_eq!(config.kafka.bootstrap_servers, "flag:3");
    assert_eq!((config.postgres.host.as_str(), config.postgres.user.as_str()), ("flag", "you"));
    assert_eq!(config.postgres.password.reveal(), "second", "the address has no password");
}

#[test]
fn a_bad_address_is_named_by_where_it_came_from_and_not_shown() {
    let environment = Addresses {
        postgres: Some(Secret::new("postgres://me:hunter2@:port/x")),
        ..Addresses::default()
    };
    let complaint = load(None, &environment, &Addresses::default()).unwrap_err().to_string();
    assert!(complaint.starts_with("BACKDATE_POSTGRES: "), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
    let flags = Addresses { kafka: Some("me:hunter2@nowhere".into()), ..Addresses::default() };
    let complaint = load(None, &Addresses::default(), &flags).unwrap_err().to_string();
    assert!(complaint.starts_with("--kafka: "), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn the_effective_configuration_reads_back_without_its_secrets() {
    let mut config = Config::default();
    config.postgres.password = Secret::new("hunter2");
    config.kafka.properties.insert("sasl.password".into(), Secret::new("hunter2"));
    config.api.operate_token = Secret::new("hunter2hunter2hunter2");
    config.kafka.properties.insert("client.rack".into(), Secret::new("a"));
    config.instances.insert(ProcessKind::Persistence, 3);
    let text = config.effective();
    assert!(!text.contains("hunter2"), "{text}");
    let back = read(&text).unwrap();
    assert_eq!(back.instances_of(ProcessKind::Persistence), 3);
    assert_eq!(back.knobs, config.knobs);
    assert_eq!(back.kafka.properties["client.rack"].reveal(), "a");
}

#[test]
fn nobody_is_let_in_from_outside_without_a_token() {
    check(
        "[api]\nlisten = \"8080\"\n",
        "FILE:2: api.listen = \"8080\": must be an IP address and a port, \
         e.g. \"127.0.0.1:8080\"",
    );
    check(
        "[api]\nlisten = \"0.0.0.0:8080\"\n",
        "FILE:2: api.listen = \"0.0.0.0:8080\": others reach it there, so set api.read_token or \
         BACKDATE_API_READ_TOKEN, api.operate_token or BACKDATE_API_OPERATE_TOKEN, or both",
    );
    check(
        "[api]\nread_token = \"hunter2\"\n",
        "FILE:2: api.read_token: must have 16 plain ASCII characters or more",
    );
    let twice = "[api]\nread_token = \"hunter2hunter2hunter2\"\n\
                 operate_token = \"hunter2hunter2hunter2\"\n";
    check(twice, "FILE:3: api.operate_token: must differ from api.read_token");
    let api = ApiOverrides {
        listen: Some("0.0.0.0:1".into()),
        read_token: Some(Secret::new("hunter2hunter2hunter2")),
        operate_token: None,
    };
    let environment = Addresses { api, ..Addresses::default() };
    let config = load(None, &environment, &Addresses::default()).unwrap();
    assert_eq!(config.api.listen, "0.0.0.0:1");
    assert!(config.api.tokens().read.is_some() && config.api.tokens().operate.is_none());
}
