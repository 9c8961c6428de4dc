//! A document in the making. Markup is constants of this program; every value is escaped, and there is no other way in.

use std::fmt::{self, Display, Write as _};

/// HTML text.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds `markup`, in which each `{}` stands for the next of `values`, in text or within a quoted attribute.
    pub(super) fn put(&mut self, markup: &'static str, values: &[&dyn Display]) -> &mut Self {
        let mut parts = markup.split("{}");
        self.0.push_str(parts.next().unwrap_or_default());
        let mut values = values.iter();
        for part in parts {
            let value = values.next();
            debug_assert!(value.is_some(), "a value is missing in {markup}");
            if let Some(value) = value {
                // Memory takes every byte, and no Display here fails.
                let _written = write!(Escaping(&mut self.0), "{value}");
            }
            self.0.push_str(part);
        }
        debug_assert!(values.next().is_none(), "a value is too many in {markup}");
        self
    }

    /// Begins a table that scrolls by itself where it is wider than the window, by keyboard as well. `heading` is the id of its
    /// heading, `heads` are classes and texts.
    pub(super) fn table(
        &mut self,
        heading: &'static str,
        caption: &str,
        heads: &[(&'static str, &'static str)],
    ) {
        self.put(
            "<div class=\"scroll\" role=\"group\" aria-labelledby=\"{}\" tabindex=\"0\">\n<table>\n<caption><span>{}</span></caption>\n<thead><tr>",
            &[&heading, &caption],
        );
        for (class, head) in heads {
            self.put("<th scope=\"col\" class=\"{}\">{}</th>", &[class, head]);
        }
        self.put("</tr></thead>\n<tbody>\n", &[]);
    }

    pub(super) fn end_table(&mut self) {
        self.put("</tbody>\n</table>\n</div>\n", &[]);
    }

    /// The finished text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // What a browser makes of others differs.
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_leave_its_text_or_its_attribute() {
        let hostile = "\"' onload='x'><script>&amp;\n\u{0}";
        let mut html = Html::default();
        html.put("<p title=\"{}\">{}</p>", &[&hostile, &1.5]);
        assert_eq!(
            html.into_text(),
            "<p title=\"&quot;&#39; onload=&#39;x&#39;&gt;&lt;script&gt;&amp;amp;\u{fffd}\u{fffd}\">1.5</p>"
        );
    }
}
