//! Reads a file whole, once, in a buffer that never grows: what is in it may be a secret, and growing leaves a copy of it in
//! freed memory.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use zeroize::Zeroizing;

use crate::secret::Secret;

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    /// The system says so.
    Unreadable(io::Error),
    /// It is larger than the limit.
    TooLarge,
    /// It was written to meanwhile.
    Growing,
}

/// Reads what `path` names, if that is at most `largest` bytes: also a pipe.
///
/// # Errors
/// [`Unread`].
pub fn read(path: &Path, largest: usize) -> Result<Secret, Unread> {
    let mut file = File::open(path).map_err(Unread::Unreadable)?;
    let metadata = file.metadata().map_err(Unread::Unreadable)?;
    let told = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    // A pipe, and a file that a program answers for, say nothing of their length.
    let expected = if metadata.is_file() && told > 0 {
        told.min(largest)
    } else {
        largest
    };
    // With room for one byte too many, which is how a file is noticed that is longer than it said.
    let mut bytes = Zeroizing::new(vec![0; expected + 1]);
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unread::Unreadable(error)),
        }
    }
    if filled > largest {
        return Err(Unread::TooLarge);
    }
    if filled > expected {
        return Err(Unread::Growing);
    }
    bytes.truncate(filled);
    // Moved, not copied; shrinking it would copy.
    Ok(Secret::new(std::mem::take(&mut *bytes)))
}
