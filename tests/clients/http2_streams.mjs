// Opens one cleartext HTTP/2 connection and posts sessions on it, all at once or one by one; each answer must name its
// own participant. Arguments: origin, path, how many, "at-once" or "one-by-one".
import http2 from "node:http2";

const [origin, path, count, order] = process.argv.slice(2);
const connection = http2.connect(origin);
connection.on("error", fail);
setTimeout(() => fail(new Error("it takes too long")), 20_000).unref();

function fail(error) {
  console.error(String(error));
  process.exit(1);
}

function post(id) {
  return new Promise((resolve) => {
    const stream = connection.request({ ":method": "POST", ":path": path });
    let status;
    let text = "";
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("data", (part) => (text += part));
    stream.on("error", fail);
    stream.on("end", () => {
      if (status !== 200 || JSON.parse(text).data.participant_unique_id1 !== id) {
        fail(new Error(`${id} got ${status} ${text}`));
      }
      resolve();
    });
    // Some KiB, so that a connection's bytes soon outgrow those of a head.
    stream.end(JSON.stringify({ participant_unique_id1: id, filling: "x".repeat(5_000) }));
  });
}

const ids = Array.from({ length: Number(count) }, (_, number) => `stream-${number}`);
if (order === "at-once") {
  await Promise.all(ids.map(post));
} else {
  for (const id of ids) await post(id);
}
connection.close();
