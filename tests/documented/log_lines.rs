//! The table of log lines: what it lists is what the program writes, by message, level and fields.

use std::{collections::BTreeSet, fs, path::Path};

use super::page;

/// Where the page begins to list them, and where it ends.
const BEGIN: &str = "### Other lines\n";
const END: &str = "\n## ";
/// What is different each time.
const ANYTHING: char = '…';

/// A line that the program writes, or a row of the table, which may stand for several.
#[derive(Debug)]
struct Lines {
    level: &'static str,
    messages: Vec<String>,
    fields: BTreeSet<String>,
}

#[test]
fn the_page_lists_the_log_lines_of_the_program_and_no_others() {
    let page = fs::read_to_string(page::root().join("docs/observability.md")).unwrap();
    let table = page.split_once(BEGIN).unwrap().1;
    let listed = rows(table.split_once(END).unwrap().0);
    let mut written = Vec::new();
    find(&page::root().join("src"), &mut written);
    assert!(listed.len() > 40 && written.len() > 50, "they are found");

    let mut wrong = Vec::new();
    for line in &written {
        let message = &line.messages[0];
        if !listed.iter().any(|row| row.stands_for(line)) {
            wrong.push(format!(
                "is not listed, or not as {}: {message}",
                line.level
            ));
        }
    }
    for row in &listed {
        let of_row: Vec<_> = written.iter().filter(|line| row.stands_for(line)).collect();
        for message in &row.messages {
            if !of_row.iter().any(|line| fits(message, &line.messages[0])) {
                wrong.push(format!("is listed and not written: {message}"));
            }
        }
        let fields: BTreeSet<_> = of_row.iter().flat_map(|l| l.fields.clone()).collect();
        if fields != row.fields {
            let (messages, told) = (&row.messages, &row.fields);
            wrong.push(format!("has {fields:?} and not {told:?}: {messages:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_message_fits_what_is_listed_where_that_only_leaves_something_out() {
    assert!(fits("it broke; …", "it broke; mend it"));
    assert!(fits("…; it goes on; …", "…; it goes on; mend it"));
    assert!(fits("cannot write … to …", "cannot write … to the socket"));
    assert!(!fits("it broke", "it broke; mend it"));
    assert!(!fits("broke; …", "it broke; mend it"));
    assert!(!fits("it goes on; … it broke", "it broke; it goes on"));
}

#[test]
fn the_parts_of_a_line_are_told_apart() {
    let code =
        r#"warn!(target: HERE, a = f(b, ","), %error, why = %c.d, "it {is} wrong, {}", e); next("#;
    let line = line("WARN", &code["warn!(".len()..]).unwrap();
    assert_eq!(line.messages, ["it … wrong, …"]);
    assert!(line.fields.iter().eq(["a", "error", "why"]));
}

impl Lines {
    fn stands_for(&self, line: &Self) -> bool {
        let message = &line.messages[0];
        self.level == line.level && self.messages.iter().any(|listed| fits(listed, message))
    }
}

/// Whether `listed` is `message` with parts left out.
fn fits(listed: &str, message: &str) -> bool {
    let mut parts = listed.split(ANYTHING);
    let Some(mut rest) = message.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || listed.ends_with(ANYTHING)
}

/// The rows of the table that quote messages.
fn rows(table: &str) -> Vec<Lines> {
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows = rows.skip(1).map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let [message, fields, _when] = cells[..] else {
            panic!("three cells: {row}");
        };
        let level = match message.rsplit_once(" (") {
            Some((_, "a warning)" | "warnings)")) => "WARN",
            Some((_, "an error)" | "errors)")) => "ERROR",
            _ => "INFO",
        };
        Lines {
            level,
            messages: quoted(message).collect(),
            fields: quoted(&without_asides(fields)).collect(),
        }
    });
    rows.filter(|row| !row.messages.is_empty()).collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn without_asides(cell: &str) -> String {
    let parts = cell.split('(').enumerate();
    let parts = parts.map(|(index, part)| match part.split_once(')') {
        Some((_, rest)) if index > 0 => rest,
        _ => part,
    });
    parts.collect()
}

/// The lines that the sources below `folder` write, without the access line, which has a table of its own, those of the
/// emulated Ingo, and those that are a value as it stands.
fn find(folder: &Path, lines: &mut Vec<Lines>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "emulator" {
            continue;
        }
        if path.is_dir() {
            find(&path, lines);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for level in ["INFO", "WARN", "ERROR"] {
            let begin = format!("tracing::{}!(", level.to_lowercase());
            let calls = code.split(&begin).skip(1);
            lines.extend(calls.filter_map(|call| line(level, call)));
        }
    }
    lines.retain(|line| !["exchange", "…"].contains(&line.messages[0].as_str()));
}

/// What a call of a logging macro writes, from what stands behind its opening parenthesis.
fn line(level: &'static str, call: &str) -> Option<Lines> {
    let mut fields = BTreeSet::new();
    for argument in arguments(call) {
        if let Some(text) = argument.strip_prefix('"') {
            return Some(Lines {
                level,
                messages: vec![shown(text.strip_suffix('"')?)],
                fields,
            });
        }
        if argument.starts_with("target:") {
            continue;
        }
        let name = argument.split_once(" =").map_or(argument, |(name, _)| name);
        fields.insert(name.trim_start_matches(['%', '?']).to_owned());
    }
    None
}

/// What stands between the commas of a call, up to its closing parenthesis.
fn arguments(call: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0);
    let (mut in_text, mut escaped) = (false, false);
    for (at, c) in call.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            ',' | ')' if depth == 0 => {
                found.push(call[start..at].trim());
                start = at + 1;
                if c == ')' {
                    break;
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// A message with `…` for what is put in.
fn shown(message: &str) -> String {
    let mut parts = message.split('{');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push(ANYTHING);
        shown.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    shown
}
