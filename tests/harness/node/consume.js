// Reads a topic from its beginning and prints a JSON line a record: key, headers, and the value decoded by other
// people's code.
// Arguments: bootstrap, registry address or "" when values are JSON, topic, number of records to wait for.
const { Kafka, logLevel } = require('kafkajs')
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry')

async function main([bootstrap, host, topic, count]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
  const registry = host ? new SchemaRegistry({ host }) : null
  const consumer = kafka.consumer({ groupId: `javascript-${topic}`, maxWaitTimeInMs: 50 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const lines = []
  await new Promise((resolve, reject) => {
    const eachMessage = async ({ message }) => {
      const value = registry ? await registry.decode(message.value) : JSON.parse(message.value.toString())
      const headers = Object.fromEntries(Object.entries(message.headers).map(([name, h]) => [name, h.toString()]))
      lines.push(JSON.stringify({ key: message.key.toString(), headers, value }))
      if (lines.length === Number(count)) resolve()
    }
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    consumer.run({ eachMessage }).catch(reject)
  })
  await consumer.disconnect()
  console.log(lines.join('\n'))
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
