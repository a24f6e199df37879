//! A node's start from nothing but the records, and its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bellbird_codec::Version;
use bellbird_core::contract::Input;
use bellbird_core::identity::{ShardId, Time};
use bellbird_core::record::Record;
use bellbird_core::recovery::Recovery;
use bellbird_core::{OwnView, Shard};

use crate::Setup;
use crate::delivery::number_in;
use crate::group::Group;
use crate::plant::Plant;
use crate::reload::{Files, InForce};
use crate::rng::Rng;
use crate::room::Room;
use crate::shape::{SHARED, Shape};
use crate::stats::Stats;
use crate::store::{End, Store};
use crate::trace::Trace;
use crate::world::{Client, Node, Slots, World};

impl World {
    pub(crate) fn new(seed: u64, setup: &Setup) -> Self {
        let mut rng = Rng::new(seed);
        let shape = Shape::new(&mut rng, setup.shards).with_levels(seed);
        let versions = [Version::V31, Version::V311, Version::V5, Version::V5];
        let clients = (0..shape.clients)
            .map(|index| Client::new(format!("c{index}"), *rng.pick(&versions)))
            .collect();
        let node = Node::empty(&shape, shape.shards, Files::default());
        Self {
            store: Store::new(setup.store, rng.next(), setup.plant),
            rng,
            shape,
            plant: setup.plant,
            trace: Trace::new(setup.keep_trace),
            stats: Stats::default(),
            failure: None,
            step: 0,
            tick: 0,
            now: Time(1_700_000_000_000),
            node,
            links: Vec::new(),
            clients,
            messages: Vec::new(),
            lives: Vec::new(),
            turn: None,
            dropped_before: 0,
            node_ends: Vec::new(),
            sendings: Vec::new(),
            given_up: 0,
            groups: SHARED.iter().map(|(filter, id)| Group::new(filter, *id)).collect(),
            wills: Vec::new(),
            later: Vec::new(),
            files: Files::default(),
            last_subscribed: BTreeMap::new(),
            started_at: Time(0),
            rested: 0,
            quiet_at: Time(0),
            passing: BTreeSet::new(),
            founded: BTreeMap::new(),
            appends: BTreeMap::new(),
            positions: BTreeMap::new(),
        }
    }

    /// A start on whatever the store has.
    pub(crate) fn start(&mut self, shards: usize) {
        let mut node = Node::empty(&self.shape, shards, self.files);
        let mut config = self.shape.config(shards, self.files.settings);
        self.spoil_config(&mut config);
        node.config = Arc::new(config);
        let gate = Arc::new(self.gate(self.files.rules));
        self.last_subscribed.clear();
        let mut recovery = Recovery::new();
        let (plant, trace, step) = (self.plant, &mut self.trace, self.step);
        let (messages, positions) = (&self.messages, &mut self.positions);
        let opened = self.store.open(&mut self.rng, shards, &mut |position, mut record| {
            let shown = crate::show::ShowRecord(&record);
            trace.line(step, format_args!("  replay {} {shown}", position.0));
            if let (Record::Retain(retain), Some(Plant::RetainedReversed)) = (&mut record, plant) {
                retain.order = (1_u64 << 40).saturating_sub(retain.order);
            }
            if let Record::Append(append) = &record {
                let number = number_in(append.message.payload(), messages.len());
                positions.extend(number.map(|number| (position, number)));
            }
            recovery.replay(position, record);
        });
        if let Err(error) = opened {
            return self.fail(error);
        }
        self.pass_to(self.now.max(recovery.last_time()));
        self.started_at = self.now;
        let store = &self.store;
        let recovered = recovery.finish(self.now, &node.config, &mut |positions| {
            store.fetch(positions).unwrap_or_default()
        });
        self.line(format_args!("start with {shards} shards: {:?}", recovered.found));
        node.view = OwnView::new(recovered.last_order);
        node.view.apply(&recovered.changes);
        if let Err(error) = self.store.put_first(&recovered.first_record) {
            return self.fail(error);
        }
        node.shards = (0..)
            .map(ShardId)
            .zip(recovered.shards)
            .map(|(id, state)| Shard::new(id, node.config.clone(), gate.clone(), state))
            .collect();
        self.node = node;
        self.note_rules_for_wills();
        for shard in 0..shards {
            self.settle(shard);
        }
        self.check_ledgers();
        if self.shape.has_levels {
            self.store.calm();
        } else if self.shape.full > 0 {
            self.store.make_scarce();
        }
    }

    /// The node ends in this way, and is started again.
    pub(crate) fn end(&mut self, end: End, shards: usize) {
        if end == End::Clean && self.rng.chance(50) {
            for shard in 0..self.node.shards.len() {
                self.line(format_args!("{shard}> stop"));
                let _flow = self.feed(shard, Input::Stop);
                self.settle(shard);
            }
        }
        self.check_ledgers();
        self.dropped_before = self.dropped_by_limits();
        let was_idle = self.store.is_idle();
        self.note_what_is_over();
        let went = self.store.end(&mut self.rng, end);
        self.stats.checkpoints += self.store.take_checkpoints();
        self.line(format_args!("the node ends: {went:?}"));
        match went {
            End::Clean => self.stats.restarts += 1,
            End::Killed | End::PowerLost => self.stats.crashes += 1,
        }
        // What was withheld went with its shard.
        let was_withheld = self.node.room.is_short();
        self.node_ended((went == End::Clean || was_idle) && !was_withheld);
        self.start(shards);
    }
}

impl Node {
    fn empty(shape: &Shape, shards: usize, files: Files) -> Self {
        Self {
            config: Arc::new(shape.config(shards, files.settings)),
            in_force: InForce::new(files, shards),
            room: Room::new(shards),
            shards: Vec::new(),
            view: OwnView::new(0),
            mail: vec![VecDeque::new(); shards * shards],
            changes: std::iter::repeat_with(VecDeque::new).take(shards).collect(),
            applied: vec![VecDeque::new(); shards],
            shown: vec![0; shards],
            asks: Vec::new(),
            questions: Vec::new(),
            fetches: Vec::new(),
            retaining: BTreeMap::new(),
            retaining_unasked: BTreeMap::new(),
            slots: std::iter::repeat_with(Slots::default).take(shards).collect(),
            places: BTreeMap::new(),
        }
    }
}
