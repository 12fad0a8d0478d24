const socket = new WebSocket("ws://localhost:8080/ws");
let position = null;                                     // where to resume: {seq, epoch}

socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", topic: "orders", client_id: "page-1" }));
socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === "ack" && frame.epoch) position = { seq: frame.seq, epoch: frame.epoch };
  if (frame.gap) console.warn("missed", frame.gap);
  if (frame.gap?.to_seq) position.seq = frame.gap.to_seq;
  if (frame.type === "event") {
    position.seq = frame.seq;
    console.log(frame.message.payload);
  }
};
