//! Pages and their fenced blocks.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why a block is not run: what it needs that a test does not have.
pub const NEEDS: [(&str, &str); 8] = [
    ("root", "to be root; where the test is, it is run"),
    ("cluster", "a Kubernetes cluster"),
    ("ingo", "credentials that Ingo issued, and Ingo"),
    ("systemd", "a host whose services systemd runs"),
    ("host", "programs of a whole host, such as its clock's"),
    ("build", "a build that takes minutes"),
    ("containers", "Docker or Podman"),
    ("values", "values of the reader's in place of its own"),
];

/// Whose YAML a block can be, if it is no configuration of ours.
pub const KINDS: [&str; 5] = [
    "kubernetes",
    "alertmanager",
    "prometheus",
    "helm",
    "compose",
];

/// Languages of blocks that are neither run nor read by a machine.
const PROSE: [&str; 6] = ["text", "toml", "rust", "ini", "diff", "gotemplate"];

/// A page of the documentation.
pub struct Page {
    /// Its path from the project's root.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Its fenced blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Clone)]
pub struct Block {
    /// The line of its first line of content, counted from 1.
    pub line: usize,
    /// The first word after the fence.
    pub language: String,
    /// What follows that word.
    pub note: String,
    /// What stands in it.
    pub content: String,
}

/// What is to be done with a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Use {
    /// Its commands are run.
    Run,
    /// Its commands are run, and what they print is compared.
    RunAndCompare,
    /// It is not run, and says why.
    Excused,
    /// A configuration of ours.
    Configuration,
    /// YAML of another program.
    ForeignYaml,
    /// JSON.
    Json,
    /// It is looked at by a test of its own.
    OtherTest,
    /// Nothing.
    Prose,
}

impl Block {
    /// What is to be done with it; `Err` says why that cannot be told.
    pub fn purpose(&self) -> Result<Use, String> {
        let needs = self.note.strip_prefix("needs: ");
        let of = self.note.strip_prefix("of: ");
        match (self.language.as_str(), needs, of) {
            ("sh", Some("root"), None) if is_root() => Ok(Use::Run),
            ("sh" | "console", Some(what), None) => {
                if NEEDS.iter().any(|(word, _)| *word == what) {
                    Ok(Use::Excused)
                } else {
                    Err(format!(
                        "what it needs is none of those that excuse: {what}"
                    ))
                }
            }
            ("yaml", None, Some(kind)) if KINDS.contains(&kind) => Ok(Use::ForeignYaml),
            (_, None, None) if !self.note.is_empty() => {
                Err(format!("nothing is known of this note: {}", self.note))
            }
            ("sh", None, None) => Ok(Use::Run),
            ("console", None, None) => Ok(Use::RunAndCompare),
            ("yaml", None, None) => Ok(Use::Configuration),
            ("json", None, None) => Ok(Use::Json),
            ("java" | "php" | "csharp" | "haproxy" | "nginx" | "promql", None, None) => {
                Ok(Use::OtherTest)
            }
            (language, None, None) if PROSE.contains(&language) => Ok(Use::Prose),
            ("", ..) => Err("it has no language: sh, console, yaml, text, …".to_owned()),
            (language, ..) => Err(format!(
                "nothing is done with the language {language} and this note: {:?}",
                self.note
            )),
        }
    }
}

/// Whether this test runs as root: whose its own directory below /proc is.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All pages: those at the root, of docs/, and of deploy/ at any depth.
pub fn all() -> Vec<Page> {
    let mut files = Vec::new();
    for name in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        files.push(root().join(name));
    }
    for folder in ["docs", "deploy"] {
        find(&root().join(folder), &mut files);
    }
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

/// One page by its path from the root.
pub fn one(name: &str) -> Page {
    read(&root().join(name))
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "md") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Page {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.strip_prefix(root()).unwrap().display().to_string();
    let blocks =
        fenced(&text).unwrap_or_else(|line| panic!("{name}:{line}: a fence is not closed"));
    Page { name, text, blocks }
}

/// The fenced blocks of a text; `Err` is the line of a fence that is not closed.
fn fenced(text: &str) -> Result<Vec<Block>, usize> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let fence = line.trim_start_matches(' ').strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                let (language, note) = info.split_once(' ').unwrap_or((info, ""));
                let block = Block {
                    line: number + 2,
                    language: language.trim().to_owned(),
                    note: note.trim().to_owned(),
                    content: String::new(),
                };
                open = Some((indent, block));
            }
            (Some(_), Some("")) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), _) => {
                // A block in a list is indented as the list is.
                let cut = line.len() - line.trim_start_matches(' ').len();
                block.content.push_str(&line[cut.min(*indent)..]);
                block.content.push('\n');
            }
            (None, None) => {}
        }
    }
    open.map_or(Ok(blocks), |(_, block)| Err(block.line - 1))
}

#[test]
fn every_block_of_every_page_is_run_or_says_why_not() {
    let mut wrong = Vec::new();
    for page in all() {
        for block in &page.blocks {
            if let Err(why) = block.purpose() {
                wrong.push(format!("{}:{}: {why}", page.name, block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_block_is_told_from_the_text_around_it() {
    let blocks =
        fenced("a\n```sh needs: cluster\nkubectl\n```\n- b\n  ```console\n  $ x\n     y\n  ```\n")
            .expect("closed fences");
    assert_eq!(blocks.len(), 2);
    assert_eq!(
        (blocks[0].line, &*blocks[0].content, blocks[0].purpose()),
        (3, "kubectl\n", Ok(Use::Excused))
    );
    assert_eq!(
        (blocks[1].line, &*blocks[1].content, blocks[1].purpose()),
        (7, "$ x\n   y\n", Ok(Use::RunAndCompare))
    );
    assert!(fenced("```sh\nx\n").is_err());
    for (fence, said) in [
        ("```", "no language"),
        ("```sh needs: time", "excuse"),
        ("```perl", "perl"),
    ] {
        let blocks = fenced(&format!("{fence}\nx\n```\n")).expect("closed");
        assert!(
            blocks[0].purpose().is_err_and(|why| why.contains(said)),
            "{fence}"
        );
    }
}
