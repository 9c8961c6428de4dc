//! `verify`: why Ingo refuses a captured request, or that it would not.
//!
//! Reads a capture on standard input and judges it offline; it never opens a socket. What it prints holds no secret, no
//! signature, neither the one that was sent nor the one that would be right, and of the body only length and digest.

mod headers;
mod remedy;
mod report;
mod text;

use std::{
    fmt, fs,
    io::{self, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::ValueEnum;
use serde::Serialize;

use self::{report::Report, text::Paint};
use super::{Exit, complain};
use crate::{
    capture::{self, BodyFound, Capture, Format, MAX_INPUT, Unreadable},
    config::SecretSource,
    credentials::{self, SecretError},
    secret::Secret,
    signing::{
        BodyDigest, parse_imf_fixdate,
        verify::{Verdict, verify, verify_without_body},
    },
};

/// Says whether Ingo would accept a captured request, and if not exactly which part is wrong.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// File with the shared secret; one trailing newline is dropped
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Username that the secret belongs to [default: any]
    #[arg(long, value_name = "U")]
    username: Option<String>,
    /// Time to judge the request at, such as "Fri, 17 Jan 2020 19:59:29 GMT" [default: now]
    #[arg(long, value_name = "IMF-fixdate", value_parser = date)]
    at: Option<SystemTime>,
    /// Print {"accepted":…,"findings":[…]} on one line
    #[arg(long)]
    json: bool,
    /// What the capture is [default: told from the content]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Which of several requests is meant, counted from 1 [default: the last POST]
    #[arg(long, value_name = "N")]
    entry: Option<usize>,
    /// File with the body as it was sent, for captures that do not hold it
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// When to use colours; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

/// The name of a format on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// The HTTP/1.1 message
    Raw,
    /// The output of curl -v, --trace-ascii or --trace
    Curl,
    /// An HTTP Archive
    Har,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Raw => Self::Raw,
            FormatName::Curl => Self::Curl,
            FormatName::Har => Self::Har,
        }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// <https://no-color.org>: any value but an empty one turns them off.
    fn paint(self) -> Paint {
        let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint::new(match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => io::stdout().is_terminal() && unset("NO_COLOR") && !dumb(),
        })
    }
}

/// Why there is no verdict.
#[derive(Debug)]
enum VerifyError {
    Secret(SecretError),
    Read(io::Error),
    Body(PathBuf, io::Error),
    Nothing,
    Unreadable { tried: Unreadable, told: bool },
    Write(io::Error),
}

impl VerifyError {
    fn exit(&self) -> Exit {
        match self {
            Self::Secret(_) => Exit::Config,
            Self::Body(..) | Self::Nothing | Self::Unreadable { .. } => Exit::Usage,
            Self::Read(_) | Self::Write(_) => Exit::System,
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => error.fmt(f),
            Self::Read(error) => write!(f, "cannot read the request from standard input: {error}"),
            Self::Body(path, error) => write!(
                f,
                "cannot read the body from {}: {error}; name another with --body-file",
                path.display()
            ),
            Self::Nothing => f.write_str(
                "there is nothing on standard input; pipe a captured request in: raw HTTP/1.1, the output of curl -v, \
                 or a HAR",
            ),
            Self::Unreadable { tried, told } => {
                write!(f, "cannot read the request {tried}")?;
                // Whoever named the format is not told that it can be named.
                if *told || !tried.may_be_of_another_format() {
                    Ok(())
                } else {
                    f.write_str("; if that is not the format, name it with --format raw, curl or har")
                }
            }
            Self::Write(error) => write!(f, "cannot write the result: {error}"),
        }
    }
}

/// Runs the command; `now` is the time judged at unless the arguments give one.
pub(super) fn run(args: &VerifyArgs, now: SystemTime) -> Exit {
    match judge(args, now, io::stdin().lock()) {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

fn judge(args: &VerifyArgs, now: SystemTime, stdin: impl Read) -> Result<Exit, VerifyError> {
    // The secret first: someone pasting by hand should not learn of a wrong path after it.
    let source = SecretSource::File(args.secret_file.clone());
    let secret = credentials::read_secret(&source).map_err(VerifyError::Secret)?;
    let body = args.body_file.as_deref().map(read_body).transpose()?;

    let input = read_bounded(stdin).map_err(VerifyError::Read)?;
    if input.trim_ascii().is_empty() {
        return Err(VerifyError::Nothing);
    }
    let format = args.format.map(Format::from);
    let mut capture =
        capture::read(&input, format, args.entry).map_err(|tried| VerifyError::Unreadable {
            tried,
            told: format.is_some(),
        })?;
    if let Some(body) = body {
        put_body(&mut capture, body);
    }
    warn_of_secret(&mut capture, &secret);

    let at = args.at.unwrap_or(now);
    let verdict = judged(&mut capture, &secret, args.username.as_deref(), at);
    let text = if args.json {
        for note in &capture.notes {
            complain(&format_args!("note: {note}"));
        }
        json(&verdict)
    } else {
        Report {
            capture: &capture,
            verdict: &verdict,
            secret: &secret,
            username: args.username.as_deref(),
            at,
            at_given: args.at.is_some(),
        }
        .render(&args.color.paint())
    };
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // Whoever reads only the first lines, as `head` does, still gets the status.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(VerifyError::Write(error)),
        _ if verdict.accepted => Ok(Exit::Well),
        _ => Ok(Exit::NotWell),
    }
}

/// The verdict on `capture`. A body that cannot be trusted is dropped unless its digest says that it is the one.
fn judged(
    capture: &mut Capture,
    secret: &Secret,
    username: Option<&str>,
    at: SystemTime,
) -> Verdict {
    if capture.body == BodyFound::Blurred {
        let digest = BodyDigest::of(&capture.request.body);
        if capture.request.header("content-sha512") == Some(digest.content_sha512().as_bytes()) {
            capture.body = BodyFound::Rest;
        } else {
            capture.body = BodyFound::Nowhere;
            capture.request.body.clear();
            capture.notes.push(
                "the capture shows some of the body's bytes as others, so the body is not judged: give it with \
                 --body-file, or capture it with curl --trace"
                    .to_owned(),
            );
        }
    }
    let request = &capture.request;
    if capture.body == BodyFound::Nowhere {
        capture.notes.push(
            "the capture does not hold the body, so Content-sha512 and Content-Length cannot be checked: give it \
             with --body-file"
                .to_owned(),
        );
        verify_without_body(request, secret, username, at)
    } else {
        verify(request, secret, username, at)
    }
}

fn put_body(capture: &mut Capture, body: Vec<u8>) {
    if capture.body != BodyFound::Nowhere && capture.request.body != body {
        capture.notes.push(format!(
            "the body of --body-file takes the place of the {} bytes that the capture holds",
            capture.request.body.len()
        ));
    }
    capture.request.body = body;
    capture.body = BodyFound::Rest;
}

/// A client that sends its secret has disclosed it, whatever else is wrong.
fn warn_of_secret(capture: &mut Capture, secret: &Secret) {
    let secret = secret.expose();
    let request = &capture.request;
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    // A short one is found by chance.
    if secret.len() >= text::SHORTEST_HIDDEN
        && (holds(&request.target)
            || holds(&request.body)
            || request.headers.iter().any(|(_, value)| holds(value)))
    {
        capture.notes.push(
            "the request holds the secret itself, which must never be sent: have it replaced"
                .to_owned(),
        );
    }
}

/// The verdict as product.md gives it.
fn json(verdict: &Verdict) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        accepted: bool,
        findings: Vec<ShownFinding<'a>>,
    }
    #[derive(Serialize)]
    struct ShownFinding<'a> {
        code: &'static str,
        detail: &'a str,
    }
    let shown = Shown {
        accepted: verdict.accepted,
        findings: verdict
            .findings
            .iter()
            .map(|finding| ShownFinding {
                code: finding.code.as_str(),
                detail: &finding.detail,
            })
            .collect(),
    };
    serde_json::to_string(&shown).expect("strings and a boolean are always JSON") + "\n"
}

/// All of `stdin`, or as much as shows that it is too long.
fn read_bounded(stdin: impl Read) -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    stdin
        .take(MAX_INPUT as u64 + 1)
        .read_to_end(&mut input)
        .map(|_| input)
}

fn read_body(path: &Path) -> Result<Vec<u8>, VerifyError> {
    let body = fs::File::open(path)
        .and_then(read_bounded)
        .map_err(|error| VerifyError::Body(path.to_owned(), error))?;
    if body.len() > MAX_INPUT {
        let error = io::Error::other("it is longer than 32 MiB");
        return Err(VerifyError::Body(path.to_owned(), error));
    }
    Ok(body)
}

fn date(text: &str) -> Result<SystemTime, &'static str> {
    parse_imf_fixdate(text)
        .ok_or("must be an IMF-fixdate such as \"Fri, 17 Jan 2020 19:59:29 GMT\"")
}
