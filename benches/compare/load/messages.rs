//! Requests and answers as bytes.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
};

/// A connection over which one message after the other comes, each with its length told in its head.
pub(crate) struct Messages {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    read: usize,
}

impl Messages {
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: vec![0; 8192],
            read: 0,
        }
    }

    /// One that is looked at rather than waited for.
    pub(crate) fn looked_at(stream: TcpStream) -> Result<Self, String> {
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true));
        set.map_err(|error| format!("a connection: {error}"))?;
        Ok(Self::over(stream))
    }

    /// Reads once. The first line of a message that has now come whole.
    pub(crate) fn received(&mut self) -> Result<Option<String>, String> {
        if self.read == self.buffer.len() {
            self.buffer.resize(2 * self.read, 0);
        }
        match self.stream.read(&mut self.buffer[self.read..]) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(more) => self.read += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let read = &self.buffer[..self.read];
        let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        // What is framed otherwise comes from nobody that is measured here.
        let length = lines
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse::<usize>().ok())
            .ok_or_else(|| format!("a message without Content-Length: {first}"))?;
        if read.len() < head + 4 + length {
            return Ok(None);
        }
        self.read = 0;
        Ok(Some(first.into()))
    }

    /// Waits for an answer; whether it is a 200.
    pub(crate) fn is_answered(&mut self) -> bool {
        loop {
            match self.received() {
                Ok(None) => {}
                Ok(Some(first)) => return is_success(&first),
                Err(_) => return false,
            }
        }
    }
}

pub(crate) fn is_success(first_line: &str) -> bool {
    first_line.starts_with("http/1.1 200")
}
