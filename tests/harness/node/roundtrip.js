// Reads one registry-framed Avro record and writes it back, decoded and encoded again by other people's code.
// Arguments: bootstrap, registry address, topic to read, topic to write, subject of what is written.
const { Kafka, logLevel } = require('kafkajs')
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry')

async function main([bootstrap, host, from, to, subject]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
  const registry = new SchemaRegistry({ host })
  const consumer = kafka.consumer({ groupId: `javascript-${from}`, maxWaitTimeInMs: 50 })
  const producer = kafka.producer()
  await Promise.all([consumer.connect(), producer.connect()])
  await consumer.subscribe({ topic: from, fromBeginning: true })
  const decoded = await new Promise((resolve, reject) => {
    consumer
      .run({ eachMessage: async ({ message }) => resolve(await registry.decode(message.value)) })
      .catch(reject)
  })
  const value = await registry.encode(await registry.getLatestSchemaId(subject), decoded)
  await producer.send({ topic: to, messages: [{ key: 'javascript', value }] })
  await Promise.all([consumer.disconnect(), producer.disconnect()])
  console.log(JSON.stringify(decoded))
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
