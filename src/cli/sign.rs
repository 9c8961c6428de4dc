//! `sign`: the signature of one request, offline, for scripts and for comparing with another implementation.
//!
//! Reads a body on standard input and prints; it never opens a socket, and never prints the secret. The signature itself is
//! what it is asked for. Everything but the reading is a pure function, [`sign`].

use std::{
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    time::SystemTime,
};

use clap::ValueEnum;

use super::Exit;
use crate::{
    config::SecretSource,
    credentials::{self, SecretError},
    secret::Secret,
    signing::{
        Algorithm, BodyDigest, HeaderOrder, Signer, Unsigned, imf_fixdate, is_username,
        parse_imf_fixdate, signing_string,
    },
};

/// Signs a body from standard input and prints the headers to send with it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// Ingo's name for the integration
    #[arg(long, value_name = "U", value_parser = username)]
    username: String,
    /// File with the shared secret; one trailing newline is dropped
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Request method
    #[arg(long, default_value = "POST", value_parser = method)]
    method: String,
    /// Request target exactly as it will be sent, query included; it is not decoded or normalised
    #[arg(long, value_name = "PATH", value_parser = target)]
    target: String,
    /// Time of signing as IMF-fixdate, such as "Fri, 17 Jan 2020 19:59:29 GMT" [default: now]
    #[arg(long, value_name = "IMF-fixdate", value_parser = date)]
    date: Option<SystemTime>,
    /// The five parts in the order in which to sign them
    #[arg(long, value_name = "NAMES", default_value_t)]
    signed_headers: HeaderOrder,
    /// hmac-sha512, or hmac-sha256 for a legacy integration
    #[arg(long, default_value_t)]
    algorithm: Algorithm,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What `sign` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The five headers, as `Name: value` lines.
    #[default]
    Headers,
    /// The text under the MAC, byte for byte: no newline after it.
    SigningString,
    /// A curl command on one line that reads the same body on standard input; put the host in place of HOST.
    Curl,
}

/// Everything that [`sign`] needs but the body.
#[derive(Debug)]
pub(crate) struct SignInput {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) at: SystemTime,
    pub(crate) signed_headers: HeaderOrder,
    pub(crate) algorithm: Algorithm,
    pub(crate) output: Output,
}

/// Why nothing was printed. Wrong usage does not get this far: the value parsers of [`SignArgs`] refuse it.
#[derive(Debug)]
pub(crate) enum SignError {
    /// There is no secret to sign with.
    Secret(SecretError),
    /// The body could not be read.
    Read(io::Error),
    /// The result could not be written.
    Write(io::Error),
}

impl SignError {
    /// The exit status that product.md gives this kind of failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Secret(_) => Exit::Config,
            Self::Read(_) | Self::Write(_) => Exit::System,
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => error.fmt(f),
            Self::Read(error) => write!(f, "cannot read the body from standard input: {error}"),
            Self::Write(error) => write!(f, "cannot write the result: {error}"),
        }
    }
}

impl std::error::Error for SignError {}

/// Runs the command: reads the secret, then the whole body from `stdin`, and prints to `stdout`.
///
/// `now` is the time of signing unless the arguments give one.
pub(crate) fn run(
    args: SignArgs,
    now: SystemTime,
    mut stdin: impl Read,
    mut stdout: impl Write,
) -> Result<(), SignError> {
    // The secret first: someone typing a body by hand should not learn of a wrong path after it.
    let secret = credentials::read_secret(&SecretSource::File(args.secret_file))
        .map_err(SignError::Secret)?;
    let mut body = Vec::new();
    stdin.read_to_end(&mut body).map_err(SignError::Read)?;

    let input = SignInput {
        username: args.username,
        secret,
        method: args.method,
        target: args.target,
        at: args.date.unwrap_or(now),
        signed_headers: args.signed_headers,
        algorithm: args.algorithm,
        output: args.output,
    };
    stdout
        .write_all(&sign(input, &body))
        .and_then(|()| stdout.flush())
        .map_err(SignError::Write)
}

/// What the command prints for `body`.
pub(crate) fn sign(input: SignInput, body: &[u8]) -> Vec<u8> {
    let digest = BodyDigest::of(body);
    let request = Unsigned {
        method: &input.method,
        target: input.target.as_bytes(),
        digest: &digest,
    };
    if input.output == Output::SigningString {
        return signing_string(&input.signed_headers, request, &imf_fixdate(input.at));
    }

    let signer = Signer::new(
        &input.username,
        &input.secret,
        input.algorithm,
        input.signed_headers,
    );
    let headers = signer.sign(request, input.at);
    let lines = headers
        .fields()
        .map(|(name, value)| format!("{name}: {value}"));
    match input.output {
        Output::Curl => curl(&input.method, &input.target, &lines),
        Output::Headers | Output::SigningString => lines.join("\n") + "\n",
    }
    .into_bytes()
}

/// A command that sends what was signed, once HOST is replaced.
///
/// curl counts the body itself; the Content-Length given as well is the same number and takes that one's place. Left
/// alone, curl would remove dot segments from the path and could choose HTTP/2: either breaks what was signed.
fn curl(method: &str, target: &str, headers: &[String]) -> String {
    let mut words = vec!["curl --http1.1 --path-as-is -X".to_owned(), quoted(method)];
    // A target that curl's URL parser would touch, or that is no path at all (absolute form), goes around it.
    let url = if passes_for_a_path(target) {
        format!("https://HOST{target}")
    } else {
        words.extend(["--request-target".to_owned(), quoted(target)]);
        "https://HOST".to_owned()
    };
    for header in headers {
        words.extend(["-H".to_owned(), quoted(header)]);
    }
    words.push("--data-binary @-".to_owned());
    words.push(quoted(&url));
    words.join(" ") + "\n"
}

/// Whether `target` is in origin form and made only of what RFC 3986 §3.3 and §3.4 allow in a path and a query.
fn passes_for_a_path(target: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    target.starts_with('/') && target.bytes().all(plain)
}

/// `text` as one word of a POSIX shell: between single quotes nothing is special but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

// Parsers of arguments. Their messages do not repeat the value; clap adds which argument it is.

fn username(text: &str) -> Result<String, &'static str> {
    if is_username(text) {
        Ok(text.to_owned())
    } else {
        Err("must be visible ASCII characters other than \" and \\")
    }
}

fn method(text: &str) -> Result<String, &'static str> {
    // RFC 9110 §9.1: a method is a token.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(token) {
        Ok(text.to_owned())
    } else {
        Err("must be a method such as POST")
    }
}

fn target(text: &str) -> Result<String, &'static str> {
    // A space would end the target in the request line, a line end the line.
    if text.is_empty()
        || text
            .bytes()
            .any(|byte| byte == b' ' || byte.is_ascii_control())
    {
        Err("must not be empty, nor hold spaces or control characters")
    } else {
        Ok(text.to_owned())
    }
}

fn date(text: &str) -> Result<SystemTime, &'static str> {
    parse_imf_fixdate(text)
        .ok_or("must be an IMF-fixdate such as \"Fri, 17 Jan 2020 19:59:29 GMT\"")
}

#[cfg(test)]
mod tests {
    use std::{fs, time::UNIX_EPOCH};

    use clap::Parser as _;

    use super::*;
    use crate::signing::verify::{Captured, verify};

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: SignArgs,
    }

    const REQUIRED: [&str; 7] = [
        "sign",
        "--username",
        "acme",
        "--secret-file",
        "FILE",
        "--target",
        "/gateway/verify",
    ];

    fn parsed(more: &[&str]) -> Result<SignArgs, clap::Error> {
        Command::try_parse_from(REQUIRED.iter().chain(more)).map(|command| command.args)
    }

    fn input(target: &str, output: Output) -> SignInput {
        SignInput {
            username: "acme".to_owned(),
            secret: Secret::new(b"hunter2".to_vec()),
            method: "POST".to_owned(),
            target: target.to_owned(),
            at: UNIX_EPOCH,
            signed_headers: HeaderOrder::ORDER_A,
            algorithm: Algorithm::HmacSha512,
            output,
        }
    }

    fn printed(target: &str, output: Output, body: &[u8]) -> String {
        String::from_utf8(sign(input(target, output), body)).expect("ASCII")
    }

    #[test]
    fn headers_are_printed_in_the_documented_order_and_verify() {
        let body = b"\x00 not JSON \xff";
        let lines = printed("/gateway/verify?a=b", Output::Headers, body);
        let headers: Vec<(String, Vec<u8>)> = lines
            .lines()
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "X-Date",
                "Content-Type",
                "Content-sha512",
                "Content-Length",
                "Authorization"
            ]
        );
        assert!(lines.ends_with("\"\n"));
        let captured = Captured {
            method: "POST".to_owned(),
            target: b"/gateway/verify?a=b".to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers,
            body: body.to_vec(),
        };
        assert!(
            verify(
                &captured,
                &Secret::new(b"hunter2".to_vec()),
                Some("acme"),
                UNIX_EPOCH
            )
            .accepted
        );
    }

    #[test]
    fn the_signing_string_has_no_newline_at_its_end() {
        let text = printed("/gateway/verify", Output::SigningString, b"{}");
        assert!(
            text.starts_with(
                "POST /gateway/verify HTTP/1.1\nx-date: Thu, 01 Jan 1970 00:00:00 GMT\n"
            )
        );
        assert!(text.ends_with("\ncontent-length: 2"));
    }

    #[test]
    fn the_curl_command_is_one_quoted_line() {
        let line = printed("/it's?a=$HOME&b=(id)", Output::Curl, b"{}");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.trim_end()
                .ends_with(r"--data-binary @- 'https://HOST/it'\''s?a=$HOME&b=(id)'")
        );
        assert_eq!(line.matches("-H '").count(), 5);
        assert!(!line.contains("hunter2"));
    }

    #[test]
    fn a_target_that_curl_would_touch_goes_around_its_url_parser() {
        for target in ["/a#b", "/a[1]{2}", "/ä", "*", "/a\"b"] {
            let line = printed(target, Output::Curl, b"{}");
            assert!(
                line.contains(&format!("--request-target '{target}'")),
                "{line}"
            );
            assert!(line.ends_with("'https://HOST'\n"));
        }
    }

    #[test]
    fn a_target_in_absolute_form_is_signed_and_sent_as_given() {
        let target = "https://payapi.ingo.money/gateway/verify";
        let text = printed(target, Output::SigningString, b"{}");
        assert!(text.starts_with("POST https://payapi.ingo.money/gateway/verify HTTP/1.1\n"));
        let line = printed(target, Output::Curl, b"{}");
        assert!(line.contains("--request-target 'https://payapi.ingo.money/gateway/verify'"));
    }

    #[test]
    fn defaults_are_post_order_a_and_sha512() {
        let args = parsed(&[]).expect("valid");
        assert_eq!(args.method, "POST");
        assert_eq!(args.signed_headers, HeaderOrder::ORDER_A);
        assert_eq!(args.algorithm, Algorithm::HmacSha512);
        assert_eq!((args.output, args.date), (Output::Headers, None));
    }

    #[test]
    fn a_wrong_argument_is_refused() {
        for wrong in [
            ["--method", "PO ST"],
            ["--date", "2020-01-17"],
            ["--signed-headers", "request-line x-date"],
            ["--algorithm", "md5"],
            ["--output", "json"],
        ] {
            parsed(&wrong).expect_err(wrong[0]);
        }
        for target in ["", "/a b", "/a\nb"] {
            Command::try_parse_from([
                "sign",
                "--username",
                "a",
                "--secret-file",
                "f",
                "--target",
                target,
            ])
            .expect_err("a target");
        }
        Command::try_parse_from([
            "sign",
            "--username",
            "a\"b",
            "--secret-file",
            "f",
            "--target",
            "/",
        ])
        .expect_err("a username");
    }

    #[test]
    fn the_file_is_read_and_the_date_given_beats_now() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        fs::write(&path, "hunter2\n").expect("a file");
        let mut args = parsed(&["--date", "Fri, 17 Jan 2020 19:59:29 GMT"]).expect("valid");
        args.secret_file = path;
        let mut out = Vec::new();
        run(args, UNIX_EPOCH, &b"{}"[..], &mut out).expect("signed");
        let expected = SignInput {
            at: parse_imf_fixdate("Fri, 17 Jan 2020 19:59:29 GMT").expect("a date"),
            ..input("/gateway/verify", Output::Headers)
        };
        assert_eq!(out, sign(expected, b"{}"));
    }

    #[test]
    fn a_missing_secret_file_is_a_wrong_configuration() {
        let mut args = parsed(&[]).expect("valid");
        args.secret_file = "/nonexistent/secret".into();
        let error = run(args, UNIX_EPOCH, io::empty(), io::sink()).expect_err("no secret");
        assert_eq!(error.exit(), Exit::Config);
        assert!(error.to_string().contains("/nonexistent/secret"));
    }
}
