// Posts session requests with Node's fetch: one of text, one of a stream, which goes out in chunks.
const body = JSON.stringify({ participant_unique_id1: "from-the-client", city: "Zürich" });
const stream = new ReadableStream({
  start(controller) {
    const bytes = new TextEncoder().encode(body);
    controller.enqueue(bytes.slice(0, 10));
    controller.enqueue(bytes.slice(10));
    controller.close();
  },
});
for (const init of [{ body }, { body: stream, duplex: "half" }]) {
  const answer = await fetch(process.argv[2], { method: "POST", ...init, signal: AbortSignal.timeout(10_000) });
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  console.log(await answer.text());
}
