// Drives mqtt.js for the tests: one JSON command per line on stdin, one JSON report per line on stdout,
// any number of clients. It ends when stdin does.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { once } = require('node:events');
const mqtt = require('mqtt');

const clients = new Map();

const tasks = {
  async connect(number, command) {
    const client = mqtt.connect({
      host: command.host,
      port: command.port,
      protocol: command.protocol,
      path: '/mqtt',
      ca: command.protocol.endsWith('s') && command.protocol !== 'ws'
        ? [fs.readFileSync(command.authority)] : undefined,
      protocolId: command.level === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: command.level,
      clientId: command.client_id,
      clean: command.clean,
      reconnectPeriod: command.coming_back_millis,
      resubscribe: false,
      autoAssignTopicAlias: false,
      properties: command.level === 5
        ? defined({
          sessionExpiryInterval: command.session_expiry_secs,
          topicAliasMaximum: command.aliases_max || undefined,
        })
        : undefined,
      will: command.will ? { ...command.will, properties: properties(command.will) } : undefined,
    });
    clients.set(number, client);
    client.on('error', (error) => console.log(`client ${number}: ${error}`));
    client.on('message', (topic, payload, packet) => {
      report({ client: number, message: received(topic, payload, packet) });
    });
    const ended = once(client, 'close').then(() => {
      throw new Error('closed before CONNACK');
    });
    const [connack] = await Promise.race([once(client, 'connect'), ended]);
    ended.catch(() => {});
    return connack.sessionPresent;
  },

  async subscribe(number, { filter, qos, identifier }) {
    const options = { qos };
    if (identifier !== null) {
      options.properties = { subscriptionIdentifier: identifier };
    }
    const [granted] = await client(number).subscribeAsync(filter, options);
    return granted.qos;
  },

  async unsubscribe(number, { filter }) {
    await client(number).unsubscribeAsync(filter);
  },

  async publish(number, { messages }) {
    await Promise.all(messages.map((message) => {
      const { topic, payload, qos, retain } = message;
      const options = { qos, retain, properties: properties(message) };
      return client(number).publishAsync(topic, payload, options);
    }));
  },

  async leave(number) {
    await client(number).endAsync();
  },

  async drop(number) {
    const dropped = client(number);
    clients.delete(number);
    dropped.options.reconnectPeriod = 0;
    if (dropped.stream.destroyed) {
      return;
    }
    const closed = once(dropped.stream, 'close');
    dropped.stream.destroy();
    await closed;
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  tasks[command.do](command.client, command).then(
    (done) => report({ id: command.id, done: done === undefined ? null : done }),
    (error) => report({ id: command.id, failed: String(error) }),
  );
});
lines.on('close', () => process.exit(0));

function client(number) {
  if (!clients.has(number)) {
    throw new Error('no such client');
  }
  return clients.get(number);
}

function properties(message) {
  const userProperties = {};
  for (const [key, value] of message.user_properties) {
    userProperties[key] = key in userProperties ? [userProperties[key], value].flat() : value;
  }
  return defined({
    contentType: message.content_type,
    responseTopic: message.response_topic,
    correlationData: message.correlation === null ? null : Buffer.from(message.correlation),
    userProperties: message.user_properties.length ? userProperties : null,
    messageExpiryInterval: message.expiry_secs,
    topicAlias: message.alias,
  });
}

function received(topic, payload, packet) {
  const seen = packet.properties || {};
  return defined({
    topic,
    payload: payload.toString(),
    qos: packet.qos,
    retain: packet.retain,
    content_type: seen.contentType,
    response_topic: seen.responseTopic,
    correlation: seen.correlationData && seen.correlationData.toString(),
    user_properties: Object.entries(seen.userProperties || {})
      .flatMap(([key, value]) => [value].flat().map((one) => [key, one])),
    expiry_secs: seen.messageExpiryInterval,
    identifiers: [seen.subscriptionIdentifier ?? []].flat(),
  });
}

function defined(object) {
  const entries = Object.entries(object).filter(([, value]) => value != null);
  return Object.fromEntries(entries);
}

function report(line) {
  console.log(JSON.stringify(line));
}
