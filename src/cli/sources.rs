//! The flags that `serve`, `check` and `doctor` share, as a source of configuration.

use std::path::PathBuf;

use crate::config::{Flag, Sources, process_environment};

/// Where the configuration comes from
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (YAML). A flag beats an environment variable (INGO_PROXY__…) beats the file beats a default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Proxy listener: IP:PORT or unix:/path [default: 127.0.0.1:8646]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Health listener: IP:PORT or unix:/path [default: 127.0.0.1:9646]
    #[arg(long, value_name = "ADDR")]
    health_listen: Option<String>,
    /// Admin listener, off by default: loopback IP:PORT or unix:/path
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// Which of Ingo's worlds to call: sandbox or production. There is no default
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Send all routes to this URL instead of Ingo's documented hosts
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Ingo's name for the integration
    #[arg(long, value_name = "U")]
    username: Option<String>,
    /// File with the shared secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// The routes to enable, all others off, such as create_session,verify
    #[arg(long, value_name = "NAME,…")]
    routes: Option<String>,
    /// json or pretty [default: pretty on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<String>,
}

impl ConfigArgs {
    /// These flags, the file they name, and the process environment.
    pub(crate) fn sources(&self) -> Sources {
        let flags = [
            ("listeners.proxy.address", "--listen", &self.listen),
            (
                "listeners.health.address",
                "--health-listen",
                &self.health_listen,
            ),
            (
                "listeners.admin.address",
                "--admin-listen",
                &self.admin_listen,
            ),
            ("environment", "--environment", &self.environment),
            ("upstream.url", "--upstream", &self.upstream),
            ("credentials.username", "--username", &self.username),
            (
                "credentials.secret_file",
                "--secret-file",
                &self.secret_file,
            ),
            ("routes", "--routes", &self.routes),
            ("log_format", "--log-format", &self.log_format),
            ("threads", "--threads", &self.threads),
        ];
        let flags = flags.into_iter().filter_map(|(key, name, value)| {
            Some(Flag {
                key,
                name,
                value: value.clone()?,
            })
        });
        Sources {
            file: self.config.clone(),
            flags: flags.collect(),
            environment: process_environment(),
        }
    }
}
