//! What curl's `--trace` and `--trace-ascii` write: every block that was sent, with its length and a dump of it.
//!
//! The bytes on the wire are put together again and read as a raw message. A hex dump is exact. An ASCII dump has a dot
//! for every byte that is not printable ASCII, line feeds among them, so a body with a dot in it may be another: it is
//! called blurred, and only its digest can tell.

use super::{BodyFound, Broken, Message, chosen, curl::undated, head, raw};

/// One request: where its header block begins in the input, what was sent, and whether bytes of its body may
/// have been replaced.
struct Sent {
    offset: usize,
    wire: Vec<u8>,
    blurred: bool,
}

/// A block that was sent, its dump still to be read.
struct Block<'a> {
    offset: usize,
    header: bool,
    length: usize,
    dump: Vec<(usize, &'a [u8])>,
}

/// Whether `line` announces a request's header.
pub(super) fn begins_request(line: &[u8]) -> bool {
    undated(line).starts_with(b"=> Send header, ")
}

/// Reads the request that is meant, or the `entry`th.
pub(super) fn read(input: &[u8], entry: Option<usize>) -> Result<Message, Broken> {
    let mut requests: Vec<Sent> = Vec::new();
    for block in blocks(input) {
        let broken = || {
            Broken::at(
                block.offset,
                "this block of the trace is not as long as it says: was a part cut off, or white space at line ends?",
            )
        };
        let (bytes, ascii) = match from_hex(&block) {
            Some(bytes) => (bytes, false),
            None => (from_ascii(&block).ok_or_else(broken)?, true),
        };
        match requests.last_mut() {
            Some(request) if !block.header => {
                request.wire.extend_from_slice(&bytes);
                request.blurred |= ascii && bytes.contains(&b'.');
            }
            _ if !block.header => {}
            _ => requests.push(Sent {
                offset: block.offset,
                wire: bytes,
                blurred: false,
            }),
        }
    }
    let (request, note) = chosen(&requests, method, entry)
        .map_err(|problem| Broken::at(requests.first().map_or(0, |it| it.offset), problem))?;
    let mut message = raw::read(&request.wire).map_err(|broken| Broken {
        offset: request.offset,
        ..broken
    })?;
    if request.blurred && message.found != BodyFound::Nowhere {
        message.found = BodyFound::Blurred;
    }
    message.notes.splice(0..0, note);
    Ok(message)
}

/// The header and data blocks that were sent. What TLS made of them (`Send SSL data`) is not the request.
fn blocks(input: &[u8]) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut within = false;
    for line in head::lines(input) {
        let plain = undated(line.bytes);
        if let Some((header, length)) = announced(plain) {
            within = true;
            blocks.push(Block {
                offset: line.offset,
                header,
                length,
                dump: Vec::new(),
            });
        } else if let Some(dumped) = dump_line(line.bytes).filter(|_| within) {
            if let Some(block) = blocks.last_mut() {
                block.dump.push(dumped);
            }
        } else {
            within = false;
        }
    }
    blocks
}

/// `=> Send data, 247 bytes (0xf7)`: whether it is a header, and how long it is.
fn announced(line: &[u8]) -> Option<(bool, usize)> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("=> Send ")?;
    let (header, rest) = match line.strip_prefix("header, ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("data, ")?),
    };
    Some((header, rest.split_once(" bytes")?.0.parse().ok()?))
}

/// `0040: …`: the offset within the block, and the dump.
fn dump_line(line: &[u8]) -> Option<(usize, &[u8])> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let dump = line[digits..].strip_prefix(b": ").or_else(|| {
        // An editor takes the space of an empty line away.
        line[digits..]
            .strip_prefix(b":")
            .filter(|rest| rest.is_empty())
    })?;
    let digits = std::str::from_utf8(&line[..digits]).ok()?;
    Some((usize::from_str_radix(digits, 16).ok()?, dump))
}

/// The block, if its dump is in hex: up to sixteen times two digits and a space, then the same as text.
fn from_hex(block: &Block<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (offset, dump) in &block.dump {
        if *offset != bytes.len() {
            return None;
        }
        let count = block.length.saturating_sub(*offset).min(16);
        let digits = dump.get(..3 * count)?;
        for group in digits.chunks_exact(3) {
            let pair = std::str::from_utf8(&group[..2]).ok()?;
            if group[2] != b' ' || !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
        }
    }
    (bytes.len() == block.length).then_some(bytes)
}

/// The block, if its dump is text. CRLF ends a line of the dump and is left out of it; the next offset tells.
fn from_ascii(block: &Block<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let ends = block
        .dump
        .iter()
        .skip(1)
        .map(|(offset, _)| *offset)
        .chain([block.length]);
    for ((offset, dump), end) in block.dump.iter().zip(ends) {
        if *offset != bytes.len() {
            return None;
        }
        bytes.extend_from_slice(dump);
        match end.checked_sub(bytes.len())? {
            0 => {}
            2 => bytes.extend_from_slice(b"\r\n"),
            _ => return None,
        }
    }
    (bytes.len() == block.length).then_some(bytes)
}

fn method(sent: &Sent) -> &[u8] {
    sent.wire
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "== Info: Connected\n=> Send header, 38 bytes (0x26)\n0000: POST / HTTP/1.1\n\
                        0011: Content-Length: 5\n0024: \n";

    fn message(data: &str) -> Result<Message, Broken> {
        read(
            format!("{HEAD}{data}<= Recv header, 5 bytes (0x5)\n0000: HTTP\n").as_bytes(),
            None,
        )
    }

    #[test]
    fn an_ascii_dump_is_put_together_again() {
        let message =
            message("=> Send data, 5 bytes (0x5)\n0000: [\n0003: {}\n").expect("readable");
        assert_eq!(message.body, b"[\r\n{}");
        assert_eq!(message.found, BodyFound::ByContentLength);
    }

    #[test]
    fn a_dot_in_an_ascii_dump_may_have_been_another_byte() {
        let ascii = message("=> Send data, 5 bytes (0x5)\n0000: {...}\n").expect("readable");
        assert_eq!(ascii.found, BodyFound::Blurred);
        let hex = message("=> Send data, 5 bytes (0x5)\n0000: 7b 2e 0a 2e 7d                                  {...}\n")
            .expect("readable");
        assert_eq!(
            (hex.body.as_slice(), hex.found),
            (&b"{.\n.}"[..], BodyFound::ByContentLength)
        );
    }

    #[test]
    fn what_tls_made_of_it_is_not_the_request() {
        let message = message("=> Send SSL data, 5 bytes (0x5)\n0000: .....\n").expect("readable");
        assert_eq!(message.found, BodyFound::Nowhere);
    }

    #[test]
    fn a_dump_that_was_cut_is_refused_where_its_block_begins() {
        let broken = message("=> Send data, 5 bytes (0x5)\n0000: {}\n")
            .map(|it| it.body)
            .expect_err("cut");
        assert_eq!(broken.offset, HEAD.len());
    }
}
