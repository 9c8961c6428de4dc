//! `check`: shows what a configuration means and where each part of it comes from.
//!
//! The listing is itself a configuration that means the same. It must not open a secret or touch the network.

use crate::config::Loaded;

/// What `check` prints for a configuration without mistakes.
pub(crate) fn render_check(loaded: &Loaded) -> String {
    let mut text = loaded.effective.to_string();
    for warning in &loaded.warnings {
        text.push_str("\n# warning: ");
        text.push_str(warning);
    }
    if !loaded.warnings.is_empty() {
        text.push('\n');
    }
    text
}
