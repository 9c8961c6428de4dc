//! YAML text as a tree in which every scalar is the text that stands in the file, with its line.
//!
//! A plain `0123`, `1e5` or `yes` is no number or boolean here: what it means is decided by the key it belongs to.
//! Anchors, aliases, tags, repeated keys and further documents are mistakes, because each lets a file say
//! something other than what it shows. No message holds text of the file.

use yaml_rust2::{
    Event,
    parser::Parser,
    scanner::{Marker, TScalarStyle},
};

use super::mistake::Mistakes;

/// Deeper than any key, and shallow enough to be walked by recursion.
const MAX_DEPTH: usize = 8;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`, unquoted.
    Nothing,
    /// Something whose meaning is not what it shows; the mistake has been noted.
    Refused,
    /// A scalar's text.
    Text(String),
    /// A sequence: each item with its line.
    List(Vec<(usize, Node)>),
    /// A mapping, in the file's order.
    Section(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// Reads `text`, the content of `file`. `None`: what else stands there cannot be known, so nothing should be
/// concluded from it.
pub(super) fn parse(file: &str, text: &str, mistakes: &mut Mistakes) -> Option<Vec<Entry>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser takes it for the end of the file, and what follows would be left out in silence.
    if let Some((before, _)) = text.split_once('\0') {
        let line = 1 + before.matches('\n').count();
        mistakes.note(
            "",
            at(file, line),
            "holds a NUL byte; save the file as plain UTF-8 text",
        );
        return None;
    }
    let mut tree = Tree {
        file,
        mistakes,
        open: Vec::new(),
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    loop {
        // Pulled, not pushed: `Parser::load` recurses once a level, so that a file of brackets would end the process.
        let (event, mark) = match parser.next_token() {
            Ok(next) => next,
            Err(error) => {
                tree.note(
                    *error.marker(),
                    "is not valid YAML from here on; check quotes, colons and indentation (spaces, never tabs)",
                );
                return None;
            }
        };
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart => {
                documents += 1;
                if documents == 2 {
                    tree.note(mark, "holds a second document; remove the `---`");
                    return None;
                }
            }
            event => tree.take(event, mark)?,
        }
    }
    match tree.root {
        // An empty file says nothing, which is allowed: all can come from flags and variables.
        None | Some(Node::Nothing) => Some(Vec::new()),
        // Already noted.
        Some(Node::Refused) => None,
        Some(Node::Section(entries)) => Some(entries),
        Some(Node::Text(_) | Node::List(_)) => {
            mistakes.note(
                "",
                file,
                "must hold sections and keys at the top, such as `environment: sandbox`",
            );
            None
        }
    }
}

struct Tree<'a> {
    file: &'a str,
    mistakes: &'a mut Mistakes,
    /// The collections around the next event, the innermost last.
    open: Vec<Open>,
    root: Option<Node>,
}

/// A collection that is not complete, with the line it begins on.
enum Open {
    List(usize, Vec<(usize, Node)>),
    /// With the key that waits for its value.
    Section(usize, Vec<Entry>, Option<(String, usize)>),
}

impl Tree<'_> {
    /// Takes the parser's next event; `None` where the rest of the file could not be understood.
    fn take(&mut self, event: Event, mark: Marker) -> Option<()> {
        match event {
            Event::Alias(_) => {
                self.note(
                    mark,
                    "uses an alias (`*`); write the value out, or quote it",
                );
                self.place(mark.line(), Node::Refused)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let refused = self.refuse_decorations(mark, anchor, tag.is_some());
                let nothing = style == TScalarStyle::Plain
                    && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
                let node = if refused {
                    Node::Refused
                } else if nothing {
                    Node::Nothing
                } else {
                    Node::Text(text)
                };
                self.place(mark.line(), node)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decorations(mark, anchor, tag.is_some());
                self.open(mark, Open::List(mark.line(), Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decorations(mark, anchor, tag.is_some());
                self.open(mark, Open::Section(mark.line(), Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(line, items)) => self.place(line, Node::List(items)),
                Some(Open::Section(line, entries, _)) => self.place(line, Node::Section(entries)),
                None => Some(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd => Some(()),
        }
    }

    fn open(&mut self, mark: Marker, open: Open) -> Option<()> {
        if self.open.len() == MAX_DEPTH {
            self.note(mark, "is nested deeper than any key");
            return None;
        }
        self.open.push(open);
        Some(())
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, line: usize, node: Node) -> Option<()> {
        let section = self.section();
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push((line, node)),
            Some(Open::Section(_, entries, waiting)) => match (waiting.take(), node) {
                (None, Node::Text(name)) => {
                    if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                        let remedy =
                            format!("stands a second time, after line {}; keep one", first.line);
                        let key = format!("{section}{}", shown(&name));
                        self.mistakes.note(key, at(self.file, line), remedy);
                    }
                    *waiting = Some((name, line));
                }
                (None, _) => {
                    self.mistakes.note(
                        "",
                        at(self.file, line),
                        "has something other than a name for a key; quote braces and question marks",
                    );
                    return None;
                }
                (Some((name, line)), node) => entries.push(Entry { name, line, node }),
            },
        }
        Some(())
    }

    /// The path of the innermost open section, each name followed by a dot.
    fn section(&self) -> String {
        let names = self.open.iter().filter_map(|open| match open {
            Open::Section(_, _, Some((name, _))) => Some(shown(name)),
            Open::Section(..) | Open::List(..) => None,
        });
        names.flat_map(|name| [name, "."]).collect()
    }

    fn refuse_decorations(&mut self, mark: Marker, anchor: usize, tagged: bool) -> bool {
        if anchor != 0 {
            self.note(mark, "uses an anchor (`&`); remove it, or quote the value");
        }
        if tagged {
            self.note(mark, "uses a tag (`!`); remove it, or quote the value");
        }
        anchor != 0 || tagged
    }

    fn note(&mut self, mark: Marker, remedy: &str) {
        let section = self.section();
        let key = section.strip_suffix('.').unwrap_or_default();
        self.mistakes.note(key, at(self.file, mark.line()), remedy);
    }
}

/// Where a line is, for an origin.
pub(super) fn at(file: &str, line: usize) -> String {
    format!("{file}:{line}")
}

/// `name` if it looks like the name of a key; `?` if it could be something that slipped there, such as a secret.
pub(super) fn shown(name: &str) -> &str {
    const LONGEST: usize = 40;
    let plain = |b: u8| b.is_ascii_alphabetic() || b.is_ascii_digit() || b"_-.".contains(&b);
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(plain) {
        name
    } else {
        "?"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Entry>, String> {
        let mut mistakes = Mistakes::default();
        let tree = parse("f", text, &mut mistakes);
        if mistakes.is_empty() {
            Ok(tree.expect("without a mistake there is a tree"))
        } else {
            Err(mistakes.into_error().to_string())
        }
    }

    fn text_of(yaml: &str) -> String {
        match &read(yaml).expect("valid")[0].node {
            Node::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_scalars_stay_what_is_written() {
        for plain in [
            "0123",
            "1e5",
            "yes",
            "off",
            "0x1F",
            "1_000",
            "+1",
            ".5",
            "12:30:00",
            "2020-01-01",
            "true",
        ] {
            assert_eq!(text_of(&format!("a: {plain}")), plain);
        }
    }

    #[test]
    fn quoted_nulls_are_texts_and_plain_ones_are_nothing() {
        assert_eq!(text_of("a: '~'"), "~");
        assert_eq!(text_of("a: \"null\""), "null");
        assert_eq!(text_of("a: ''"), "");
        for plain in ["a:", "a: ~", "a: null"] {
            assert_eq!(read(plain).expect("valid")[0].node, Node::Nothing);
        }
    }

    #[test]
    fn lines_are_those_of_the_keys_and_items() {
        let tree = read("a:\n  b: 1\nc:\n  - x\n  - y\n").expect("valid");
        assert_eq!((tree[0].line, tree[1].line), (1, 3));
        let Node::List(items) = &tree[1].node else {
            panic!("{tree:?}")
        };
        assert_eq!((items[0].0, items[1].0), (4, 5));
    }

    #[test]
    fn an_empty_file_or_one_of_comments_says_nothing() {
        for text in ["", "\n\n", "# a comment\n", "---\n", "\u{feff}"] {
            assert_eq!(read(text), Ok(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn what_lets_a_file_say_other_than_it_shows_is_refused() {
        for (text, part) in [
            ("a: 1\na: 2", "a (f:2): stands a second time, after line 1"),
            (
                "a:\n  b: 1\n  b: 2",
                "a.b (f:3): stands a second time, after line 2",
            ),
            ("a: &x 1\nb: *x", "a (f:1): uses an anchor"),
            ("a: !!str 1", "a (f:1): uses a tag"),
            ("a: 1\n---\nb: 2", "f:2: holds a second document"),
            ("- a", "f: must hold sections"),
            ("a", "f: must hold sections"),
            ("a: [", "is not valid YAML"),
            ("a:\n\tb: 1", "is not valid YAML"),
            ("{[a]: 1}", "something other than a name"),
            ("? {a: b}\n: 1", "something other than a name"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_of_brackets_is_refused_before_it_is_a_stack_overflow() {
        // The scanner has a limit of its own for brackets, and none for dashes.
        for deep in [
            "[".repeat(200_000),
            "a: {".repeat(100_000),
            "- ".repeat(200_000),
            "? ".repeat(200_000),
        ] {
            let error = read(&deep).expect_err("too deep");
            assert!(error.contains("f:1"), "{error}");
        }
    }

    #[test]
    fn a_key_that_may_be_a_slipped_secret_is_not_shown() {
        assert_eq!(shown("body_bytes"), "body_bytes");
        assert_eq!(shown("aGVsbG8+d29ybGQ="), "?");
        assert_eq!(shown(&"a".repeat(128)), "?");
    }
}
