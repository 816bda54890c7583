// Reads {"secret", "requests": [{"headers", "body"}]} and checks each request
// with the official libraries of Standard Webhooks and CloudEvents. Prints one
// line for each: the event's type, or what is wrong.
const { Webhook } = require("standardwebhooks");
const { HTTP } = require("cloudevents");
const { readFileSync } = require("node:fs");

const input = JSON.parse(readFileSync(0, "utf8"));
const webhook = new Webhook(input.secret);
for (const { headers, body } of input.requests) {
  try {
    const payload = webhook.verify(body, headers);
    const event = HTTP.toEvent({ headers, body });
    event.validate();
    if (event.id !== headers["webhook-id"]) throw new Error("webhook-id is not the event's id");
    if (payload.type !== event.type) throw new Error("the libraries read different types");
    if (Number.isNaN(Date.parse(payload.timestamp))) throw new Error("timestamp is no date");
    if (typeof event.data !== "object") throw new Error("data is no object");
    console.log(event.type);
  } catch (e) {
    console.log(`refused: ${e.message}`);
  }
}
