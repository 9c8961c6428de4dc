//! The report for a person, whole: an accepted request, two refused ones, and colours only where they are wanted.

use crate::run::{Place, signed_by};

const SNAPSHOTS: [(&str, &str, i32); 4] = [
    ("correct", include_str!("snapshots/correct.txt"), 0),
    (
        "newline_after_signing_string",
        include_str!("snapshots/newline_after_signing_string.txt"),
        1,
    ),
    (
        "body_written_again",
        include_str!("snapshots/body_written_again.txt"),
        1,
    ),
    ("bearer", include_str!("snapshots/bearer.txt"), 1),
];

#[test]
fn the_report_is_as_it_was_and_plain_where_it_is_no_terminal() {
    let place = Place::new();
    for (script, expected, status) in SNAPSHOTS {
        let Some(request) = signed_by(script) else {
            return;
        };
        let ran = place.verify(&[], &request);
        assert_eq!(ran.stdout, expected, "{script}:\n{}", ran.stdout);
        assert_eq!((ran.status, ran.stderr.as_str()), (status, ""), "{script}");
        assert!(!ran.stdout.contains('\x1b'));
    }
}

#[test]
fn colours_are_there_when_asked_for_and_change_no_word() {
    let Some(request) = signed_by("bearer") else {
        return;
    };
    let place = Place::new();
    let painted = place.verify(&["--color", "always"], &request).stdout;
    assert!(painted.contains("\x1b[31m"));
    let plain = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m"]
        .iter()
        .fold(painted, |text, code| text.replace(code, ""));
    assert_eq!(plain, place.verify(&["--color", "never"], &request).stdout);
}

#[test]
fn the_page_about_the_command_shows_a_real_session_and_names_every_code() {
    let page = include_str!("../../docs/verify.md");
    assert!(page.contains(SNAPSHOTS[1].1.trim_end()));
    for code in ingo_signing_proxy::signing::verify::FindingCode::ALL {
        assert!(page.contains(&format!("\n| `{code}` | ")), "{code}");
    }
}
