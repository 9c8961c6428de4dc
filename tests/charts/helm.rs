//! A real Helm, on a copy of the charts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    path,
    support::{Ended, Process, process::is_installed},
    yaml,
};

/// Helm has a whole chart to load, and the machine may be busy.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Helm and the charts, with the example's dependency built.
pub(crate) struct Helm {
    program: PathBuf,
    charts: TempDir,
}

/// One way in which the example is installed.
pub(crate) struct Case {
    /// What it is called in messages.
    pub(crate) name: String,
    /// Further arguments for `helm template`.
    pub(crate) arguments: Vec<String>,
}

impl Helm {
    /// Helm from the environment of deploy/checks; says aloud where it cannot be had.
    pub(crate) fn there() -> Option<Self> {
        let tools = Command::new(path("deploy/checks/tools")).output();
        let tools = tools.expect("a script of ours");
        if !tools.status.success() {
            // Without python's venv nothing can be installed; all else is a fault.
            let possible = is_installed("python3", &["-c", "import ensurepip"]);
            let said = String::from_utf8_lossy(&tools.stderr).into_owned();
            assert!(!possible, "deploy/checks/tools should install Helm: {said}");
            eprintln!("SKIPPED: Helm cannot be installed without python3-venv");
            return None;
        }
        let tools = String::from_utf8(tools.stdout).unwrap();
        let helm = Self {
            program: Path::new(tools.trim()).join("bin/helm"),
            charts: tempfile::tempdir().unwrap(),
        };
        copy(&path("deploy/helm"), helm.charts.path());
        let built = helm.run(&["dependency", "build", "example-app"]);
        assert_eq!(built.status, Some(0), "{}", built.output());
        Some(helm)
    }

    /// Every values file of the example, and none.
    pub(crate) fn cases() -> Vec<Case> {
        let example = path("deploy/helm/example-app");
        let mut files: Vec<_> = [example.clone(), example.join("ci")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
            .filter(|file| !file.ends_with("Chart.yaml") && !file.ends_with("values.yaml"))
            .collect();
        files.sort();
        let mut cases = vec![Case {
            name: "values.yaml".to_owned(),
            arguments: Vec::new(),
        }];
        cases.extend(files.iter().map(|file| Self::case(file)));
        assert!(cases.len() >= 6, "the values files should have been found");
        cases
    }

    /// The case of one values file, with the arguments that its comment `# helm:` names.
    pub(crate) fn case(file: &Path) -> Case {
        let text = fs::read_to_string(file).unwrap();
        let own = text.lines().find_map(|line| line.strip_prefix("# helm: "));
        let mut arguments = vec!["--values".to_owned(), file.display().to_string()];
        arguments.extend(
            own.unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned),
        );
        Case {
            name: file.file_name().unwrap().to_string_lossy().into_owned(),
            arguments,
        }
    }

    /// What the example renders with further `arguments`.
    pub(crate) fn render(&self, arguments: &[String]) -> Vec<Value> {
        let ended = self.template(arguments);
        assert_eq!(ended.status, Some(0), "{}", ended.output());
        yaml::documents(&String::from_utf8(ended.stdout).unwrap())
    }

    /// What a chart of these files renders, of which the library is a neighbour; or why it does not.
    pub(crate) fn chart(&self, name: &str, files: &[(&str, &str)]) -> Result<Vec<Value>, String> {
        let folder = self.charts.path().join(name);
        fs::create_dir_all(folder.join("templates")).unwrap();
        for (file, content) in files {
            fs::write(folder.join(file), content).unwrap();
        }
        let built = self.run(&["dependency", "update", "--skip-refresh", name]);
        assert_eq!(built.status, Some(0), "{}", built.output());
        let ended = self.run(&["template", "example", name]);
        match ended.status {
            Some(0) => Ok(yaml::documents(&String::from_utf8(ended.stdout).unwrap())),
            _ => Err(ended.output()),
        }
    }

    /// How `helm template` of the example ends.
    pub(crate) fn template(&self, arguments: &[String]) -> Ended {
        let named = arguments.iter().any(|a| a.starts_with("--name-template"));
        let mut all = vec!["template"];
        all.extend((!named).then_some("example"));
        all.push("example-app");
        all.extend(arguments.iter().map(String::as_str));
        self.run(&all)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.charts.path());
        for place in ["CACHE", "CONFIG", "DATA"] {
            command.env(
                format!("HELM_{place}_HOME"),
                self.charts.path().join(".helm"),
            );
        }
        Process::start(command, b"").end(PATIENCE)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
