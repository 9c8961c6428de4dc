//! Where there is no inotify nothing is told of files: they are looked at every second.

use std::{os::unix::net::UnixStream, path::Path, time::Duration};

use super::{Location, drain, wait_for};

/// Knows of nothing but the byte that comes by `woken`.
pub(super) struct Told {
    woken: UnixStream,
}

impl Told {
    pub(super) fn of<'a>(_files: impl Iterator<Item = &'a Location>, woken: UnixStream) -> Self {
        Self { woken }
    }

    pub(super) fn watch(&mut self) {}

    pub(super) fn wait(&mut self, patience: Duration) {
        wait_for(&[&self.woken], patience);
        self.hear();
    }

    pub(super) fn hear(&mut self) -> bool {
        drain(&self.woken)
    }

    pub(super) fn is_written(&self, _path: &Path) -> bool {
        false
    }
}
