//! The chunked coding, strictly (RFC 9112 §7.1): sizes with digits, CRLF where CRLF belongs, trailers that are fields.

use super::head;

/// More of extensions or trailers than this is an attack, in bytes each.
const MAX_LINE: usize = 4096;
/// More digits than a length can have.
const MAX_DIGITS: usize = 15;

/// Follows one chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    size: u64,
    digits: usize,
    line: Vec<u8>,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            line: Vec::new(),
            trailers: 0,
        }
    }

    /// Reads along; answers how many bytes belong to the body, and whether it is complete. An error tells how many bytes
    /// come before what is wrong.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, &'static str)> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data(left) = self.state {
                let n = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                at += n;
                let left = left - n as u64;
                self.state = if left == 0 {
                    State::DataCr
                } else {
                    State::Data(left)
                };
                continue;
            }
            if self.step(bytes[at]).map_err(|why| (at, why))? {
                return Ok((at + 1, true));
            }
            at += 1;
        }
        Ok((at, false))
    }

    /// One byte outside of chunk data: whether it completes the body.
    fn step(&mut self, byte: u8) -> Result<bool, &'static str> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digits += 1;
                if self.digits > MAX_DIGITS {
                    return Err("a chunk's size has too many digits");
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.size = self.size * 16 + u64::from(digit);
                State::Size
            }
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') if self.digits > 0 => State::Extension,
            (State::Size, _) => return Err("a chunk's size is not a hexadecimal number"),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if byte != b'\t' && byte.is_ascii_control() => {
                return Err("a chunk's extension holds a control character");
            }
            (State::Extension, _) => {
                self.line.push(byte);
                if self.line.len() > MAX_LINE {
                    return Err("a chunk's extension is too large");
                }
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                let size = std::mem::take(&mut self.size);
                self.digits = 0;
                self.line.clear();
                if size == 0 {
                    State::Trailer
                } else {
                    State::Data(size)
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => {
                return Err("a chunk is not as long as its size says");
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\n') => return Err("a trailer ends without CR"),
            (State::Trailer, _) => {
                self.line.push(byte);
                self.trailers += 1;
                if self.trailers > MAX_LINE {
                    return Err("the trailers are too large");
                }
                State::Trailer
            }
            (State::TrailerLf, b'\n') if self.line.is_empty() => return Ok(true),
            (State::TrailerLf, b'\n') => {
                trailer(&self.line)?;
                self.line.clear();
                State::Trailer
            }
            (State::SizeLf | State::TrailerLf, _) => {
                return Err("a line of the chunked body holds a bare CR");
            }
            (State::Data(_), _) => State::Size, // `feed` takes data before it comes here.
        };
        Ok(false)
    }
}

/// A trailer is a field, and none that frames or routes (RFC 9110 §6.5.1).
fn trailer(line: &[u8]) -> Result<(), &'static str> {
    let (name, _) = head::field(line)?;
    let forbidden = [
        b"content-length".as_slice(),
        b"transfer-encoding",
        b"host",
        b"connection",
    ];
    if forbidden.iter().any(|f| name.eq_ignore_ascii_case(f)) {
        return Err("a trailer holds a field that frames or routes");
    }
    Ok(())
}
