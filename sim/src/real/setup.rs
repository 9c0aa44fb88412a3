//! What has to be there before the first input: files, links, instances.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use backdate_engine::runtime::{Knobs, ProcessKind};
use serde::Serialize;
use smol_str::SmolStr;

use super::backstage::Observe;
use super::links::Links;
use super::operator::{BROKER, Operator};
use super::services::{Controls, Place};
use super::troupe::{Role, Troupe};
use crate::cluster::POSTGRES;
use crate::proxy::{self, Link, Protocol};

/// The first port that an instance may get, and how many there are.
const PORT_MIN: u16 = 20_000;
const PORTS: u16 = 12_000;

/// What backstage needs to begin.
pub(super) struct Setup {
    pub(super) place: Place,
    pub(super) controls: Controls,
    /// Instances in the order in which they start.
    pub(super) processes: Vec<(ProcessKind, SmolStr)>,
    pub(super) knobs: Knobs,
    /// Connections of an instance to the database.
    pub(super) connections: u32,
    /// Whether faults of the network are to come.
    pub(super) has_links: bool,
    /// Folder of configurations, which hold a password.
    pub(super) private: PathBuf,
    /// Folder of the lines that instances write.
    pub(super) logs: PathBuf,
}

/// The configuration of an instance, as `serve` reads it.
#[derive(Serialize)]
struct InstanceConfig<'a> {
    kafka: KafkaPart<'a>,
    postgres: PostgresPart<'a>,
    http: HttpPart,
    api: ApiPart,
    knobs: &'a Knobs,
}

#[derive(Serialize)]
struct KafkaPart<'a> {
    bootstrap_servers: String,
    prefix: &'a str,
    session_timeout_ms: u32,
    delivery_timeout_ms: u32,
    properties: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct PostgresPart<'a> {
    host: &'a str,
    port: u16,
    user: &'a str,
    password: &'a str,
    database: &'a str,
    tag: &'a str,
    schema: &'a str,
    connections: u32,
    idle_in_transaction_timeout_ms: u64,
}

#[derive(Serialize)]
struct ApiPart {
    listen: SocketAddr,
}

#[derive(Serialize)]
struct HttpPart {
    listen: &'static str,
}

/// Starts links and instances; the operator, and where the API is asked.
pub(super) async fn raise(
    setup: Setup,
    observe: &Observe,
) -> Result<(Operator, Vec<SocketAddr>), String> {
    let binary = std::env::current_exe().map_err(|error| format!("this binary: {error}"))?;
    for folder in [&setup.private, &setup.logs] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut links = BTreeMap::new();
    let mut roles = Vec::new();
    let mut apis = Vec::new();
    for (kind, name) in &setup.processes {
        let place = match setup.has_links {
            true => through_links(&setup.place, name, &mut links).await?,
            false => setup.place.clone(),
        };
        let config = setup.private.join(format!("{name}.toml"));
        let api = free_address().map_err(|error| format!("no free port: {error}"))?;
        if *kind == ProcessKind::QueryApi {
            apis.push(api);
        }
        write_config(&config, &place, &setup, api)
            .map_err(|error| format!("{}: {error}", config.display()))?;
        let log = setup.logs.join(format!("{name}.log"));
        roles.push(Role { kind: *kind, name: name.clone(), config, log });
    }
    let troupe = Troupe::new(binary, roles, observe.clone());
    troupe.start_all();
    let operator = Operator {
        troupe,
        links: Links::new(links),
        controls: setup.controls,
        postgres: setup.place.postgres,
        observe: observe.clone(),
    };
    Ok((operator, apis))
}

/// The place as an instance sees it that reaches each server through a link.
async fn through_links(
    place: &Place,
    name: &SmolStr,
    links: &mut BTreeMap<(SmolStr, SmolStr), Link>,
) -> Result<Place, String> {
    let database = format!("{}:{}", place.postgres.host, place.postgres.port);
    let brokers = &place.kafka.bootstrap_servers;
    let broker = brokers.split(',').next().unwrap_or(brokers).trim();
    let mut link = async |server, address: &str, protocol| {
        let link = Link::default();
        links.insert((name.clone(), SmolStr::new_static(server)), link.clone());
        proxy::start(address, protocol, link).await.map_err(|error| error.to_string())
    };
    let mut through = place.clone();
    let address = link(POSTGRES, &database, Protocol::Plain).await?;
    through.postgres.host = address.ip().to_string();
    through.postgres.port = address.port();
    let address = link(BROKER, broker, Protocol::Kafka).await?;
    through.kafka.bootstrap_servers = address.to_string();
    Ok(through)
}

/// An address that is free now, and that an instance has again when it is started again. It lies
/// below the ports that the system gives to clients, one of which could take it meanwhile.
fn free_address() -> std::io::Result<SocketAddr> {
    let drawn = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let ports = (0..PORTS).map(|n| PORT_MIN + (drawn.port() % PORTS + n) % PORTS);
    let mut free = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    free.next().map_or(Ok(drawn), |listener| listener.local_addr())
}

fn write_config(path: &Path, place: &Place, setup: &Setup, api: SocketAddr) -> std::io::Result<()> {
    let Place { kafka, postgres, .. } = place;
    let properties = kafka.properties.iter();
    let config = InstanceConfig {
        kafka: KafkaPart {
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            prefix: &kafka.prefix,
            session_timeout_ms: kafka.session_timeout_ms,
            delivery_timeout_ms: kafka.delivery_timeout_ms,
            properties: properties.map(|(name, value)| (name.as_str(), value.reveal())).collect(),
        },
        postgres: PostgresPart {
            host: &postgres.host,
            port: postgres.port,
            user: &postgres.user,
            password: postgres.password.reveal(),
            database: &postgres.database,
            tag: &postgres.tag,
            schema: &postgres.schema,
            connections: setup.connections,
            idle_in_transaction_timeout_ms: postgres.idle_in_transaction_timeout_ms,
        },
        http: HttpPart { listen: "127.0.0.1:0" },
        api: ApiPart { listen: api },
        knobs: &setup.knobs,
    };
    let text = toml::to_string(&config).map_err(std::io::Error::other)?;
    // It holds a password.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
