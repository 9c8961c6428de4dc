//! `console` blocks: what is typed, and what a terminal then shows.

use super::{
    place::Place,
    shell::{bash, keep, recall},
};

/// Between what two commands of a console print.
const BETWEEN: char = '\u{1e}';

/// Runs a block and compares what its commands print.
pub fn console(place: &Place, content: &str) -> Result<(), String> {
    let commands = commands(content)?;
    let mut script = recall(place, false);
    for command in &commands {
        script.push_str(&place.localised(&command.typed));
        // `$?` stays what it was for the command after.
        script.push_str("\ns=$?; printf '\\x1e%s\\x1e' $s; (exit $s)\n");
    }
    script.push_str(&keep(place));
    let (status, output) = bash(place, &script)?;
    let output = place.generalised(&output);
    if status != Some(0) {
        return Err(format!("exit status {status:?}:\n{output}"));
    }
    let mut printed = output.split(BETWEEN);
    for (index, command) in commands.iter().enumerate() {
        let got = printed.next().unwrap_or_default();
        let status = printed.next().unwrap_or_default();
        if !matches(&command.printed, got) {
            return Err(format!(
                "`{}` prints, with status {status},\n{got}\nand not\n{}",
                command.typed.trim(),
                command.printed
            ));
        }
        let shown = commands
            .get(index + 1)
            .is_some_and(|next| next.typed.trim() == "echo $?");
        if status != "0" && !shown {
            let typed = command.typed.trim();
            return Err(format!(
                "`{typed}` ends with status {status}, which no `echo $?` shows"
            ));
        }
    }
    Ok(())
}

/// A command of a console, and what stands below it.
pub struct Typed {
    /// What is typed, all lines of it.
    pub typed: String,
    printed: String,
}

/// The commands of a console block: `$ ` begins one, `> ` goes on with it.
pub fn commands(content: &str) -> Result<Vec<Typed>, String> {
    let mut commands: Vec<Typed> = Vec::new();
    for line in content.lines() {
        if let Some(typed) = line.strip_prefix("$ ") {
            commands.push(Typed {
                typed: format!("{typed}\n"),
                printed: String::new(),
            });
            continue;
        }
        let command = commands.last_mut().ok_or("a console begins with `$ `")?;
        match line.strip_prefix("> ") {
            Some(more) if command.printed.is_empty() => {
                command.typed.push_str(&format!("{more}\n"))
            }
            _ => command.printed.push_str(&format!("{line}\n")),
        }
    }
    Ok(commands)
}

/// Whether `got` is what `expected` says: `…` stands for anything within a line, and alone on one for any lines.
fn matches(expected: &str, got: &str) -> bool {
    let expected = expected.trim_end();
    let mut parts = Vec::new();
    for (number, line) in expected.lines().enumerate() {
        if number > 0 {
            parts.push("\n".to_owned());
        }
        parts.push(line.trim_end().to_owned());
    }
    let lines = |text: &str| {
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let got = lines(got.trim_end());
    within(&parts.concat(), &got)
}

/// Whether the pieces of `pattern` between `…` stand in `text` one after the other, from its beginning to its end.
fn within(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<_> = pieces.collect();
    let Some((last, between)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in between {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn what_is_printed_is_compared_but_for_what_is_left_out() {
    assert!(matches("a…c\n", "abc\n"));
    assert!(matches("a\n…\nd\n", "a\nb\nc\nd\n"));
    assert!(!matches("a\n…\nd\n", "a\nb\nc\n"));
    assert!(!matches("a\n", "a\nb\n"));
    assert!(
        !matches("", "said\n"),
        "what the page does not show is not printed"
    );
    assert!(matches("{\"id\":\"…\"}", "{\"id\":\"x\"}"));
    assert!(!matches("{\"id\":\"…\"}", "{\"id\":1}"));
}
