//! Says what Ingo would refuse in the body of a Create Session, from standard input, by both of its documents: the library face.
//!
//! ```sh
//! echo '{"participant_unique_id1":"p-1"}' | cargo run --example check_body --no-default-features
//! ```

use std::{
    io::{self, Read as _},
    process::ExitCode,
};

use ingo_signing_proxy::ingo::{
    check_json,
    contract::{Profile, check},
};

fn main() -> io::Result<ExitCode> {
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body)?;
    if let Err(not) = check_json(&body) {
        println!("{not}");
        return Ok(ExitCode::FAILURE);
    }
    let mut well = true;
    for (profile, name) in [
        (Profile::Newer, "the newer document"),
        (Profile::Older, "the older document"),
    ] {
        for finding in check(&body, profile) {
            println!("by {name}: {} {finding}", finding.field);
            well = false;
        }
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
