// Runs a command for each retrain trigger, once per id: examples/on_retrain.py in JavaScript.
//
//   npm install kafkajs @kafkajs/confluent-schema-registry
//   node examples/on_retrain.js ./train.sh
//
// The command gets the trigger as JSON on standard input, and in its environment what a script needs: TRIGGER_ID,
// MONITOR, VERSION, POLICY, SEVERITY, and the suggested training data as TRAIN_FROM_MS and TRAIN_TO_MS.
// KAFKA and REGISTRY say where they are.
const { spawnSync } = require('child_process')
const { existsSync, mkdirSync, writeFileSync } = require('fs')
const path = require('path')
const { Kafka } = require('kafkajs')
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry')

const { KAFKA = 'localhost:29092', REGISTRY = 'http://localhost:8081', TOPIC = 'driftbus.retrain', DONE = 'done' } = process.env
const [command, ...args] = process.argv.slice(2)

const told = (trigger) => ({
  TRIGGER_ID: trigger.id,
  MONITOR: trigger.monitor,
  VERSION: trigger.version,
  POLICY: trigger.policy,
  SEVERITY: trigger.severity,
  TRAIN_FROM_MS: String(Number(trigger.train_from_ms)),
  TRAIN_TO_MS: String(Number(trigger.train_to_ms)),
})

async function main() {
  mkdirSync(DONE, { recursive: true })
  const registry = new SchemaRegistry({ host: REGISTRY })
  const consumer = new Kafka({ brokers: KAFKA.split(',') }).consumer({ groupId: 'on-retrain-js' })
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => consumer.disconnect().then(() => process.exit(0)))
  await consumer.connect()
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
  await consumer.run({
    // the offset is committed after this has returned; when it throws, the record comes again
    eachMessage: async ({ message }) => {
      const trigger = await registry.decode(message.value)
      const done = path.join(DONE, trigger.id)
      if (trigger.dry_run || existsSync(done)) return console.log(`${trigger.id} passed over`)
      console.log(`${trigger.id} ${trigger.monitor}: ${trigger.reason}`)
      const run = spawnSync(command, args, {
        input: JSON.stringify(trigger),
        stdio: ['pipe', 'inherit', 'inherit'],
        env: { ...process.env, ...told(trigger) },
      })
      if (run.status !== 0) throw run.error ?? new Error(`${command} ended with ${run.status}`)
      writeFileSync(done, '')
    },
  })
}

if (command === undefined) {
  console.error('usage: node examples/on_retrain.js COMMAND [ARGUMENT ...]')
  process.exit(2)
}
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
