//! Signs a Create Session without the proxy and posts it: the library face, with `default-features = false`.
//!
//! Against the emulator:
//!
//! ```sh
//! printf a-secret > secret
//! ingo-signing-proxy emulator --username acme --secret-file secret &
//! cargo run --example sign_and_post --no-default-features -- http://127.0.0.1:8647 acme secret
//! ```

use std::{error::Error, fs, time::SystemTime};

use ingo_signing_proxy::{
    ingo::{
        Diagnosis,
        contract::{Profile, check},
        diagnosis::Sent,
        session::{Answer, CreateSession, RecipientInformation},
    },
    secret::Secret,
    signing::{Algorithm, BodyDigest, HeaderOrder, Signer, Unsigned},
};

/// What is signed and sent: the two must not part.
const TARGET: &str = "/api/v1/sessions/point-in-time/plugin";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name| arguments.next().ok_or(format!("give {name}"));
    let (url, username) = (next("Ingo's URL")?, next("a username")?);
    let secret = Secret::new(fs::read(next("the file of the secret")?)?).without_newline();
    let answer = create_session(&url, &username, &secret)?;
    println!("{} {}", answer.status, answer.client_message);
    for (field, messages) in &answer.errors {
        println!("  {field}: {}", messages.join(" "));
    }
    Ok(())
}

/// Asks for a session.
pub(crate) fn create_session(
    url: &str,
    username: &str,
    secret: &Secret,
) -> Result<Answer, Box<dyn Error>> {
    let text = |text: &str| Some(text.to_owned());
    let body = serde_json::to_vec(&CreateSession {
        participant_unique_id1: text("p-1"),
        recipient_information: Some(RecipientInformation {
            first_name: text("Ada"),
            last_name: text("Lovelace"),
            address_line1: text("1 Main St"),
            city: text("Atlanta"),
            state: text("GA"),
            zip_code: text("30313"),
            ..RecipientInformation::default()
        }),
        ..CreateSession::default()
    })?;
    if let Some(finding) = check(&body, Profile::Newer).first() {
        return Err(format!("{} {finding}", finding.field).into());
    }

    // A signer is made once and used for every request; a signature is good for 300 seconds.
    let signer = Signer::new(
        username,
        secret,
        Algorithm::HmacSha512,
        HeaderOrder::default(),
    );
    let digest = BodyDigest::of(&body);
    let signed = signer.sign(
        Unsigned {
            method: "POST",
            target: TARGET.as_bytes(),
            digest: &digest,
        },
        SystemTime::now(),
    );

    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = agent
        .post(format!("{url}{TARGET}"))
        // Of the same value for every repeat of this request, so that Ingo makes one session of them.
        .header("Idempotency-Key", "3f1c7a52-6f0e-4c53-9d52-6f6d0f2b7a10");
    for (name, value) in signed.fields() {
        request = request.header(name, value);
    }
    let mut response = request.send(&body[..])?;
    let status = response.status().as_u16();
    let told = response.body_mut().read_to_vec()?;
    match Answer::read(&told) {
        Some(answer) => Ok(answer),
        None => Err(match Diagnosis::of(status, &told, Sent::default()) {
            Some(finding) => format!("refused with {status}: {}", finding.remedy()),
            None => format!("no answer of Ingo's, but {status}"),
        }
        .into()),
    }
}
