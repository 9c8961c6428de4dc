//! The verdict for a person: the answer first, then the five headers, the findings, and the two signing strings.
//!
//! It only lays out what [`Verdict`] and [`Capture`] say, and judges nothing itself: a header is marked wrong where there
//! is a finding about it. Bytes of the request are shown through [`Hidden`] only.

use std::{fmt::Write as _, time::SystemTime};

use super::{
    headers::Mark,
    remedy::remedy,
    text::{Hidden, Paint, width},
};
use crate::{
    capture::{BodyFound, Capture},
    secret::Secret,
    signing::{
        imf_fixdate,
        verify::{Difference, FindingCode, Verdict},
    },
};

/// Everything that the report is made of.
pub(super) struct Report<'a> {
    pub(super) capture: &'a Capture,
    pub(super) verdict: &'a Verdict,
    pub(super) secret: &'a Secret,
    pub(super) username: Option<&'a str>,
    pub(super) at: SystemTime,
    /// Whether the time was given, or is now.
    pub(super) at_given: bool,
}

/// A value longer than this is no value of these headers, and not worth the screen.
pub(super) const LONGEST_SHOWN: usize = 200;

/// The longest line of a signing string that is shown whole.
const LONGEST_LINE: usize = 2_000;

impl Report<'_> {
    /// The report. Nothing in it but the marks, the dots for spaces and the colours is other than ASCII.
    pub(super) fn render(&self, paint: &Paint) -> String {
        let hidden = Hidden::of(&self.capture.request, self.secret);
        let mut out = self.answer(paint);
        self.write_capture(&mut out, &hidden, paint);
        self.write_headers(&mut out, &hidden, paint);
        self.write_findings(&mut out, paint);
        self.write_signing_strings(&mut out, &hidden, paint);
        out
    }

    fn answer(&self, paint: &Paint) -> String {
        let answer = if self.verdict.accepted {
            paint.good("accepted: Ingo's rules for signing are kept")
        } else if let Some(first) = self.verdict.findings.first() {
            paint.bad(&format!("not accepted: {}", first.code))
        } else {
            paint.bad("undecided: nothing captured is wrong, but the body was not captured")
        };
        answer + "\n"
    }

    fn write_capture(&self, out: &mut String, hidden: &Hidden<'_>, paint: &Paint) {
        let Capture {
            request,
            format,
            body,
            notes,
        } = self.capture;
        let bytes = request.body.len();
        let body = match body {
            BodyFound::ByContentLength => format!("{bytes} bytes, as Content-Length says"),
            BodyFound::ByChunks => format!("{bytes} bytes, put together from chunks"),
            BodyFound::Rest | BodyFound::Blurred => format!("{bytes} bytes, all that is given"),
            BodyFound::Nowhere => "not captured".to_owned(),
        };
        let at = imf_fixdate(self.at);
        let whose = match self.username {
            Some(_) => "the username given",
            None => "any username",
        };
        let _ = writeln!(
            out,
            "\n  request  {} {} {} ({format})\n  body     {body}\n  judged   as of {at}{}, {whose}",
            hidden.shown(request.method.as_bytes()),
            abbreviated(hidden.shown(&request.target), LONGEST_SHOWN),
            hidden.shown(request.version.as_bytes()),
            if self.at_given { "" } else { " (now)" },
        );
        for note in notes {
            let _ = writeln!(out, "  {}     {note}", paint.strong("note"));
        }
    }

    fn write_headers(&self, out: &mut String, hidden: &Hidden<'_>, paint: &Paint) {
        let _ = writeln!(out, "\n{}", paint.strong("headers"));
        for row in self.rows(hidden) {
            let mark = match row.mark {
                Mark::Right => paint.good("✓"),
                Mark::Wrong => paint.bad("✗"),
                Mark::Open => "?".to_owned(),
            };
            let _ = writeln!(out, "  {mark} {:<14}  {}", row.name, row.is);
            if row.mark != Mark::Right {
                let _ = writeln!(out, "    {:<14}  {}", "  should be", row.should);
            }
        }
    }

    pub(super) fn found(&self, codes: &[FindingCode]) -> bool {
        self.verdict
            .findings
            .iter()
            .any(|finding| codes.contains(&finding.code))
    }

    fn write_findings(&self, out: &mut String, paint: &Paint) {
        if self.verdict.findings.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "\n{}",
            paint.strong("findings, the most specific first")
        );
        for (index, finding) in self.verdict.findings.iter().enumerate() {
            let _ = writeln!(
                out,
                "  {}. {}\n     {}\n     {} {}",
                index + 1,
                paint.bad(finding.code.as_str()),
                finding.detail,
                paint.good("fix:"),
                remedy(finding.code)
            );
        }
        if let ([only], false) = (self.verdict.findings.as_slice(), self.at_given)
            && only.code == FindingCode::DateStale
        {
            out.push_str(
                "     only the time is wrong: to judge the request as of when it was sent, give --at with that time\n",
            );
        }
    }

    fn write_signing_strings(&self, out: &mut String, hidden: &Hidden<'_>, paint: &Paint) {
        let explanation = &self.verdict.explanation;
        let ours = explanation.expected.as_slice();
        // What was signed tells most. Where it is what it should be, the headers that went with it are not.
        let theirs = [
            (explanation.signed.as_deref(), "signed", "what was signed"),
            (
                explanation.implied.as_deref(),
                "sent",
                "what the headers as sent make of it",
            ),
        ];
        let other = theirs
            .iter()
            .find_map(|(text, label, what)| Some(((*text)?, *label, *what)))
            .filter(|(text, ..)| *text != ours)
            .or_else(|| {
                let (text, label, what) = theirs[1];
                Some((text.filter(|text| *text != ours)?, label, what))
            });

        let Some((theirs, label, what)) = other else {
            let remark = match (&explanation.signed, &explanation.implied) {
                (Some(_), _)
                    if self.found(&[
                        FindingCode::SecretTrailingNewline,
                        FindingCode::SignatureMismatch,
                    ]) =>
                {
                    "the same text was signed, under another key"
                }
                (Some(_), _) => "the same as was signed",
                (None, Some(_)) => {
                    "the headers as sent make the same; what was signed is not known"
                }
                (None, None) => "what was signed is not known",
            };
            let _ = writeln!(out, "\n{} ({remark})", paint.strong("signing string"));
            for (number, line) in split(ours).enumerate() {
                let _ = writeln!(out, "  {}        {}", number + 1, one_line(hidden, line));
            }
            return;
        };
        let _ = writeln!(
            out,
            "\n{} (ours: what should be signed; {label}: {what})",
            paint.strong("signing string")
        );
        let difference = Difference::between(ours, theirs);
        let (mut ours, mut theirs) = (split(ours), split(theirs));
        for number in 1.. {
            let (left, right) = (ours.next(), theirs.next());
            if left.is_none() && right.is_none() {
                break;
            }
            if left == right {
                let line = one_line(hidden, left.unwrap_or_default());
                let _ = writeln!(out, "  {number}        {}", paint.faint(&line));
                continue;
            }
            for (line, label, color) in [
                (left, "ours", Paint::good as fn(&Paint, &str) -> String),
                (right, label, Paint::bad),
            ] {
                let line = line.map_or("(no such line)".to_owned(), |line| one_line(hidden, line));
                let _ = writeln!(out, "  {number} {label:<6} {}", color(paint, &line));
            }
            if let Some(difference) = difference.filter(|it| it.line == number)
                && let Some(line) = left.or(right)
            {
                let before = line.get(..difference.column - 1).unwrap_or(line);
                let indent = " ".repeat(width(&hidden.shown(before)));
                let digits = number.to_string().len();
                let _ = writeln!(
                    out,
                    "  {}        {indent}{} first difference",
                    " ".repeat(digits),
                    paint.bad("^")
                );
            }
        }
    }
}

/// Lines with their ends, so that one too many can be seen.
fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn one_line(hidden: &Hidden<'_>, line: &[u8]) -> String {
    abbreviated(hidden.shown_line(line), LONGEST_LINE)
}

pub(super) fn abbreviated(text: String, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}
