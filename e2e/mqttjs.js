// Drives mqtt.js for the tests: one JSON line per event on stdout.
//
//   node mqttjs.js HOST PORT subscribe LEVEL FILTER QOS
//   node mqttjs.js HOST PORT publish LEVEL TOPIC QOS PAYLOAD...
//
// A subscriber runs until it is killed; a publisher ends after its last acknowledgement.
'use strict';

const mqtt = require('mqtt');

const [host, port, role, level, topic, qosText, ...payloads] = process.argv.slice(2);
const qos = Number(qosText);

main().catch((error) => {
  console.error(`failed: ${error}`);
  process.exit(1);
});

async function main() {
  const client = await mqtt.connectAsync({
    host,
    port: Number(port),
    protocol: 'mqtt',
    protocolVersion: Number(level),
    reconnectPeriod: 0,
  });
  if (role === 'subscribe') {
    client.on('message', (from, payload, packet) => {
      report('message', {
        topic: from,
        payload: payload.toString(),
        qos: packet.qos,
        retain: packet.retain,
      });
    });
    const granted = await client.subscribeAsync(topic, { qos });
    report('subscribed', granted.map((grant) => grant.qos));
    return;
  }
  for (const payload of payloads) {
    await client.publishAsync(topic, payload, { qos });
  }
  await client.endAsync();
}

function report(event, value) {
  console.log(`${event} ${JSON.stringify(value)}`);
}
