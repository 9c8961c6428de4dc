//! What the upstream answers to one request: well-formed by default, and in all the ways in which an answer goes wrong.

use super::Gate;

/// One answer.
#[derive(Clone)]
pub struct Reply {
    pub(super) interim: Vec<u8>,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    pub(super) gate: Option<Gate>,
    pub(super) body_gate: Option<Gate>,
    pub(super) ending: Ending,
}

/// How an answer's end is known (RFC 9112 §6).
#[derive(Clone)]
enum Framing {
    /// By its Content-Length.
    Length,
    /// By chunks of this size.
    Chunks(usize),
    /// By the closing of the connection.
    Close,
    /// These bytes as they are, status and headers included.
    Raw,
}

/// What happens to the connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    /// Closed without having been announced, as an idle connection is.
    Closed,
    Reset,
}

impl Reply {
    /// An answer of this status, with no body and no headers but its Content-Length.
    pub fn status(status: u16) -> Self {
        Self {
            interim: Vec::new(),
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            gate: None,
            body_gate: None,
            ending: Ending::Open,
        }
    }

    /// Status 200 with a JSON body.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200)
            .header("Content-Type", "application/json")
            .body(body)
    }

    /// A created session that names the participant `id`.
    pub fn session(id: &str) -> Self {
        Self::json(
            serde_json::json!({
                "status": 100,
                "client_message": "Success",
                "data": {
                    "session_identifier": "5b1c5d1e",
                    "authorized_url": "https://plugin.example/?token=t",
                    "participant_unique_id1": id,
                },
                "time": 0.8,
            })
            .to_string(),
        )
    }

    /// Exactly these bytes, then the connection is closed.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(0).body(bytes);
        reply.framing = Framing::Raw;
        reply.ending = Ending::Closed;
        reply
    }

    /// The whole request is read, and then the connection is reset.
    pub fn reset() -> Self {
        Self::raw("").then_reset()
    }

    /// The request is read and nothing comes back.
    pub fn silence() -> Self {
        Self::status(200).held_by(&Gate::closed())
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks of `size` bytes.
    pub fn in_chunks_of(mut self, size: usize) -> Self {
        self.framing = Framing::Chunks(size);
        self
    }

    /// Lets the end of the connection be the end of the body.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self.ending = Ending::Closed;
        self
    }

    /// Sends an interim answer (1xx) first.
    pub fn after_interim(mut self, head: &str) -> Self {
        self.interim.extend_from_slice(head.as_bytes());
        self.interim.extend_from_slice(b"\r\n\r\n");
        self
    }

    /// Answers only when `gate` is open.
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Sends the head, and the body only when `gate` is open.
    pub fn body_held_by(mut self, gate: &Gate) -> Self {
        self.body_gate = Some(gate.clone());
        self
    }

    /// Closes the connection after the answer without having said so.
    pub fn then_close(mut self) -> Self {
        self.ending = Ending::Closed;
        self
    }

    /// Leaves the connection open after bytes that were given as they are.
    pub fn then_stay_open(mut self) -> Self {
        self.ending = Ending::Open;
        self
    }

    /// Resets the connection after the answer.
    pub fn then_reset(mut self) -> Self {
        self.ending = Ending::Reset;
        self
    }

    /// The bytes of head and body.
    pub(super) fn parts(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("HTTP/1.1 {} Made-Up\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.framing {
            Framing::Raw => (self.body.clone(), Vec::new()),
            Framing::Length => {
                // RFC 9110 §8.6: no Content-Length in a 204.
                if self.status != 204 {
                    head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
                }
                head.push_str("\r\n");
                (head.into_bytes(), self.body.clone())
            }
            Framing::Close => {
                head.push_str("Connection: close\r\n\r\n");
                (head.into_bytes(), self.body.clone())
            }
            Framing::Chunks(size) => {
                head.push_str("Transfer-Encoding: chunked\r\n\r\n");
                (head.into_bytes(), chunked(&self.body, *size))
            }
        }
    }
}

/// `body` in chunks of `size` bytes, with the one that ends it.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
