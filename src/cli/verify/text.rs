//! How bytes of a request are shown: invisible ones made visible, hidden ones hidden, and colours where there are any.
//!
//! Everything of a request that is printed passes through [`Hidden::shown`] or [`Hidden::shown_line`].

use crate::{secret::Secret, signing::verify::Captured};

/// Shorter secrets stand in innocent text by chance, and hiding them there would show more than it hides.
pub(super) const SHORTEST_HIDDEN: usize = 6;

/// A run of this many characters of base64 or hex in `Authorization` is a signature or a token, whichever parameter it is
/// in: a SHA-1 in hex has 40, a SHA-256 in base64 44. A UUID, which a username may be, has 36.
const SHORTEST_TOKEN: usize = 40;

/// Colours, or none.
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(super) fn good(&self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(&self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn strong(&self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn faint(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// What must not be shown wherever it stands: the secret, and what looks like a signature in `Authorization`.
pub(super) struct Hidden<'a> {
    secret: &'a [u8],
    tokens: Vec<&'a [u8]>,
}

impl<'a> Hidden<'a> {
    pub(super) fn of(request: &'a Captured, secret: &'a Secret) -> Self {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
        let mut tokens: Vec<&[u8]> = request
            .headers
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().ends_with("authorization"))
            .flat_map(|(_, value)| value.split(move |byte| !token(byte)))
            .map(|run| run.trim_ascii())
            .filter(|run| run.len() >= SHORTEST_TOKEN)
            .collect();
        // `signature=…` without quotes is one run; its value alone must be hidden too.
        let values: Vec<&[u8]> = tokens
            .iter()
            .filter_map(|run| Some(&run[run.iter().position(|byte| *byte == b'=')? + 1..]))
            .filter(|run| run.len() >= SHORTEST_TOKEN)
            .collect();
        tokens.extend(values);
        Self {
            secret: secret.expose(),
            tokens,
        }
    }

    /// `bytes` as printable ASCII: `\r`, `\n`, `\t`, `\\` and `\xNN` for what is not, `·` for spaces at the end.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        let (text, spaces) = {
            let kept = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == b' ').count();
            (&bytes[..kept], bytes.len() - kept)
        };
        let mut shown = String::with_capacity(bytes.len());
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            if let Some((length, what)) = self.hidden_at(rest) {
                shown.push_str(&what);
                rest = &rest[length..];
                continue;
            }
            match byte {
                b'\\' => shown.push_str(r"\\"),
                b'\n' => shown.push_str(r"\n"),
                b'\r' => shown.push_str(r"\r"),
                b'\t' => shown.push_str(r"\t"),
                b' '..=b'~' => shown.push(char::from(*byte)),
                other => shown.push_str(&format!(r"\x{other:02x}")),
            }
            rest = after;
        }
        shown.extend(std::iter::repeat_n('·', spaces));
        shown
    }

    /// A line of a signing string, its end included. Values of headers that need not be signed are not shown: they may
    /// be keys and cookies.
    pub(super) fn shown_line(&self, line: &[u8]) -> String {
        let (text, end) = match line.strip_suffix(b"\n") {
            Some(text) => (text, r"\n"),
            None => (line, ""),
        };
        let name = text
            .iter()
            .position(|byte| *byte == b':')
            .map(|colon| &text[..colon]);
        match name {
            // A request line has a space before any colon.
            Some(name) if !name.contains(&b' ') && !is_shown(name) => {
                let value = text.len() - name.len() - 1;
                format!("{}: ({value} bytes, not shown){end}", self.shown(name))
            }
            _ => self.shown(text) + end,
        }
    }

    /// Whether something to be hidden begins at `rest`: how long it is, and what to say in its place.
    fn hidden_at(&self, rest: &[u8]) -> Option<(usize, String)> {
        if self.secret.len() >= SHORTEST_HIDDEN && rest.starts_with(self.secret) {
            return Some((self.secret.len(), "(the secret)".to_owned()));
        }
        let token = self.tokens.iter().find(|token| rest.starts_with(token))?;
        Some((token.len(), format!("({} characters)", token.len())))
    }
}

fn is_shown(name: &[u8]) -> bool {
    [
        &b"x-date"[..],
        b"date",
        b"content-type",
        b"content-sha512",
        b"content-length",
        b"host",
    ]
    .iter()
    .any(|shown| name.eq_ignore_ascii_case(shown))
}

/// How many columns `text` takes. Everything shown is ASCII but for `·`.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(authorization: &str, bytes: &[u8]) -> String {
        let request = Captured {
            method: "POST".to_owned(),
            target: b"/".to_vec(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("Authorization".to_owned(), authorization.into())],
            body: Vec::new(),
        };
        let secret = Secret::new(b"hunter2".to_vec());
        let hidden = Hidden::of(&request, &secret);
        hidden.shown_line(bytes)
    }

    #[test]
    fn what_cannot_be_seen_is_made_visible() {
        assert_eq!(
            shown("", b"x-date: a\tb\x00\xc3\xa9\\  \n"),
            r"x-date: a\tb\x00\xc3\xa9\\··\n"
        );
        assert_eq!(
            shown("", b"content-length: 2\r\n"),
            r"content-length: 2\r\n"
        );
    }

    #[test]
    fn secrets_signatures_and_other_headers_are_not_shown() {
        let signature = "A".repeat(86) + "==";
        for authorization in [
            format!("hmac username=\"{signature}\""),
            format!("hmac signature={signature}"),
        ] {
            let line = shown(
                &authorization,
                format!("POST /?hunter2&{signature} HTTP/1.1\n").as_bytes(),
            );
            assert!(
                !line.contains("hunter2") && !line.contains("AAAA"),
                "{line}"
            );
            assert!(
                line.contains("(the secret)") && line.contains("88 characters"),
                "{line}"
            );
        }
        assert_eq!(shown("", b"api_key: abc"), "api_key: (4 bytes, not shown)");
    }
}
