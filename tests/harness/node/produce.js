// Registers a schema and writes a file's records with it, encoded by other people's code.
// Arguments: bootstrap, registry address, topic, schema file, file of JSON lines {timestamp, value}.
const { readFileSync } = require('node:fs')
const { Kafka, logLevel } = require('kafkajs')
const { SchemaRegistry, SchemaType } = require('@kafkajs/confluent-schema-registry')

async function main([bootstrap, host, topic, schemaFile, records]) {
  const registry = new SchemaRegistry({ host })
  const schema = { type: SchemaType.AVRO, schema: readFileSync(schemaFile, 'utf8') }
  const { id } = await registry.register(schema, { subject: `${topic}-value` })
  const producer = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR }).producer()
  await producer.connect()
  const lines = readFileSync(records, 'utf8').trim().split('\n').map((line) => JSON.parse(line))
  const messages = await Promise.all(
    lines.map(async ({ timestamp, value }) => ({
      partition: 0,
      timestamp: String(timestamp),
      value: await registry.encode(id, value),
    })),
  )
  for (let at = 0; at < messages.length; at += 1000) {
    await producer.send({ topic, acks: -1, messages: messages.slice(at, at + 1000) })
  }
  await producer.disconnect()
  console.log(id)
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
