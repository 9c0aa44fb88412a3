//! What a client knows of leaders, and how it learns better.
//!
//! A client believes in the first leaders until a broker says that it is none, or cannot be
//! reached; then it asks the others (`Metadata`). With one replica leaders never change, and nobody
//! is asked.

use std::collections::BTreeMap;

use super::Place;
use super::client::Client;
use super::link::Link;
use super::wire::{Request, Response, decode, encode};

/// Leaders that have changed, as far as a client has heard.
#[derive(Default)]
pub(super) struct Metadata {
    leaders: BTreeMap<Place, u32>,
}

/// Who leads what; nobody, where there is no leader.
pub(super) type Leaders = Vec<(Place, Option<u32>)>;

impl Metadata {
    /// The leader of a partition.
    pub(super) fn leader_of(&self, client: &Client, place: Place) -> u32 {
        let changed = self.leaders.get(&place).copied();
        changed.unwrap_or_else(|| client.spec.leader_of(place.0, place.1))
    }

    /// Takes note of leaders; who is not led now is asked for again at its last leader.
    pub(super) fn learn(&mut self, leaders: Leaders) {
        let led = leaders.into_iter().filter_map(|(place, leader)| Some((place, leader?)));
        self.leaders.extend(led);
    }
}

/// Asks the brokers in turn, the one that has failed after all others; empty if none answers.
pub(super) async fn leaders(client: &Client, failed: u32, places: Vec<Place>) -> Leaders {
    let brokers = client.spec.brokers;
    let frame = encode(&Request::Leaders(places.clone()));
    for broker in (0..brokers).map(|step| (failed + step) % brokers + 1) {
        let mut link = Link::new(client.process.clone(), broker);
        if let Ok(answer) = link.call(&frame, client.request_timeout()).await
            && let Response::Leaders(leaders) = decode(&answer)
        {
            return places.into_iter().zip(leaders).collect();
        }
    }
    Vec::new()
}
