//! One shard with clients that answer at once, and a log that is only a batch.

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_codec::ReasonCode;
use bellbird_codec::{
    Connect, Decoded, Packet, PacketId, Properties, QoS, RetainHandling, Subscribe,
    SubscribeBuffer, SubscribeOptions, Version, decode, decode_from_server, encode_puback,
    encode_pubcomp, encode_pubrec, encode_pubrel,
};
use bellbird_core::permit::Gate;
use bellbird_core::recovery::Recovery;
use bellbird_core::{Config, ConnectionId, Input, Output, OwnView, Position, Shard, ShardId, Time};
use bellbird_store::Batch;

pub(crate) struct Node {
    shard: Shard,
    view: OwnView,
    connections: u32,
    batch: Batch,
    stored: u64,
    /// Connections with bytes for their clients.
    to_send: VecDeque<ConnectionId>,
    /// Messages that clients got.
    pub(crate) delivered: u64,
}

const VERSION: Version = Version::V311;
const NOW: Time = Time(1_000_000);

impl Node {
    pub(crate) fn new() -> Self {
        let config = Config { shards: 1, ..Config::default() };
        let mut recovered = Recovery::new().finish(NOW, &config, &mut |_| Vec::new());
        let mut view = OwnView::new(recovered.last_order);
        view.apply(&recovered.changes);
        let state = recovered.shards.remove(0);
        Self {
            shard: Shard::new(ShardId(0), Arc::new(config), Gate::default(), state),
            view,
            connections: 0,
            batch: Batch::new(),
            stored: 1,
            to_send: VecDeque::new(),
            delivered: 0,
        }
    }

    /// A client that has said CONNECT.
    pub(crate) fn connect(&mut self, name: &str, clean_start: bool) -> ConnectionId {
        let id = ConnectionId { index: self.connections, generation: 0 };
        self.connections += 1;
        let opened = Input::Opened { connection: id, listener: 0 };
        let _flow = self.shard.handle(NOW, opened, &self.view);
        let packet = Packet::Connect(Connect {
            is_bridge: false,
            version: VERSION,
            clean_start,
            keep_alive_secs: 0,
            client_id: name,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        });
        self.say(id, &packet);
        id
    }

    pub(crate) fn subscribe(&mut self, id: ConnectionId, filter: &str, qos: QoS) {
        let mut filters = SubscribeBuffer::new();
        let retain_handling = RetainHandling::SendAlways;
        let options =
            SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling };
        filters.push(filter, options);
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).expect("1 is not 0"),
            properties: Properties::EMPTY,
            filters: filters.as_filters(),
        });
        self.say(id, &packet);
    }

    fn say(&mut self, id: ConnectionId, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes);
        self.take(id, &bytes);
    }

    /// Bytes from clients, then all that comes of them, answers of the clients included.
    pub(crate) fn take(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.counted_bytes(id, bytes);
        self.counted_turn();
        self.let_clients_answer();
    }

    /// What a turn of the event loop reads from one socket.
    #[inline(never)]
    pub(crate) fn counted_bytes(&mut self, id: ConnectionId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let decoded = decode(bytes, self.shard.version(id), 1 << 20);
            let Ok(Decoded::Packet { packet, len }) = decoded else {
                panic!("clients say whole packets: {decoded:?}")
            };
            let input = Input::Packet { connection: id, packet: &packet };
            let _flow = self.shard.handle(NOW, input, &self.view);
            bytes = &bytes[len..];
        }
    }

    /// What it does with all of it.
    #[inline(never)]
    pub(crate) fn counted_turn(&mut self) {
        loop {
            let Some(output) = self.shard.poll(NOW) else {
                if self.shard.poll_timeout() != Some(Time(0)) {
                    return;
                }
                self.shard.handle_timeout(NOW, &self.view);
                continue;
            };
            match output {
                Output::Send(id) => self.to_send.push_back(id),
                Output::Store { ticket, record, durability: _ } => {
                    self.batch.push(&record);
                    let position = Position(self.stored);
                    self.stored += 1;
                    let stored = Input::Stored { first: ticket, count: 1, position };
                    let _flow = self.shard.handle(NOW, stored, &self.view);
                    if self.batch.bytes_len() > 1 << 16 {
                        self.batch.clear();
                    }
                }
                Output::Change { ticket, changes } => {
                    let order = self.view.apply(&changes);
                    let applied = Input::Applied { ticket, order };
                    let _flow = self.shard.handle(NOW, applied, &self.view);
                }
                Output::Resume(_) | Output::Event(_) => {}
                other @ (Output::Close(_)
                | Output::Move { .. }
                | Output::Mail { .. }
                | Output::Fetch { .. }
                | Output::Ask { .. }
                | Output::Authenticate { .. }) => panic!("no path leads to {other:?}"),
            }
        }
    }

    #[inline(never)]
    fn counted_sent(&mut self, id: ConnectionId, bytes: usize) {
        let sent = Input::Sent { connection: id, bytes };
        let _flow = self.shard.handle(NOW, sent, &self.view);
    }

    /// Clients read all there is and acknowledge it, until nobody has anything to say.
    pub(crate) fn let_clients_answer(&mut self) {
        while !self.to_send.is_empty() {
            let mut answers = Vec::new();
            while let Some(id) = self.to_send.pop_front() {
                let bytes = self.shard.outbox(id).to_vec();
                self.counted_sent(id, bytes.len());
                let answer = self.answer(&bytes);
                if !answer.is_empty() {
                    answers.push((id, answer));
                }
            }
            for (id, answer) in answers {
                self.counted_bytes(id, &answer);
            }
            self.counted_turn();
        }
    }

    fn answer(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        while !bytes.is_empty() {
            let decoded = decode_from_server(bytes, VERSION, u32::MAX);
            let Ok(Decoded::Packet { packet, len }) = decoded else {
                panic!("the shard says whole packets: {decoded:?}")
            };
            let success = ReasonCode::Success;
            if let Packet::Publish(publish) = &packet {
                self.delivered += 1;
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => {
                        encode_puback(&mut answer, VERSION, id, success)
                    }
                    (QoS::ExactlyOnce, Some(id)) => {
                        encode_pubrec(&mut answer, VERSION, id, success)
                    }
                    (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {}
                }
            }
            if let Packet::Pubrec(pubrec) = &packet {
                encode_pubrel(&mut answer, VERSION, pubrec.packet_id, success);
            }
            if let Packet::Pubrel(pubrel) = &packet {
                encode_pubcomp(&mut answer, VERSION, pubrel.packet_id, success);
            }
            bytes = &bytes[len..];
        }
        answer
    }
}
