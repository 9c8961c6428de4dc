//! An HTTP/1.1 message as it stood on the wire, or as a person pasted it.
//!
//! Empty lines before it are skipped, as RFC 9112 §2.2 asks of servers. It must not mend anything else: a request that
//! only this reader would understand is no evidence of what a server saw.

use super::{Broken, Message, framing, head};

/// Reads the message that `input` begins with; all after its headers may be its body.
pub(super) fn read(input: &[u8]) -> Result<Message, Broken> {
    let mut lines = Vec::new();
    let (mut bare, mut rest) = (false, input.len());
    for line in head::lines(input) {
        if line.bytes.is_empty() {
            if lines.is_empty() {
                continue;
            }
            bare |= line.bare;
            rest = line.next;
            break;
        }
        bare |= line.bare;
        lines.push(line);
    }
    let head = head::read(lines.into_iter())?;
    let (body, found, note) = framing::body(&head, &input[rest..]);
    let mut notes = Vec::new();
    if bare {
        notes.push("lines end in bare LF, as pasted text does: each is read as CRLF".to_owned());
    }
    notes.extend(note);
    Ok(Message {
        head,
        body,
        found,
        notes,
    })
}
