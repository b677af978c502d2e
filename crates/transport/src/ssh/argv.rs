//! What ssh is called with.

use std::time::Duration;

use camino::Utf8Path;

use super::{Ssh, SshOptions};
use crate::Command;
use crate::carried::Carried;

/// ssh expands `%` in paths.
pub(super) fn escaped(path: &Utf8Path) -> String {
    path.as_str().replace('%', "%%")
}

impl SshOptions {
    pub(super) fn host(&self) -> &str {
        self.destination.rsplit_once('@').map_or(self.destination.as_str(), |(_, host)| host)
    }

    /// The list of the one host key that is believed, where one is declared: by the alias that [`SshOptions::target`] has
    /// ssh look for, and as ssh looks for it when a person calls it.
    pub fn known_hosts(&self) -> Option<String> {
        let (host, key) = (self.host(), self.host_key.as_ref()?.trim());
        let named = if self.port == 22 { String::new() } else { format!("[{host}]:{} {key}\n", self.port) };
        Some(format!("{host} {key}\n{named}"))
    }

    /// Where ssh goes, as whom, and whom it believes there. Every ssh that Phoenix starts gets its arguments here, so that
    /// none believes another host key than the one that is declared, or that the person's known hosts have, whatever their
    /// settings of ssh say. `list` is a file that holds
    /// [`SshOptions::known_hosts`]; it is named only where a key is declared.
    pub fn target(&self, list: &Utf8Path) -> Vec<String> {
        let mut argv = vec!["-p".to_owned(), self.port.to_string()];
        let mut option = |value: String| argv.extend(["-o".to_owned(), value]);
        if let Some(identity) = &self.identity {
            option(format!("IdentityFile=\"{}\"", escaped(identity)));
            option("IdentitiesOnly=yes".to_owned());
        }
        if self.host_key.is_some() {
            option(format!("UserKnownHostsFile=\"{}\"", escaped(list)));
            option(format!("HostKeyAlias={}", self.host()));
            for fixed in [
                "GlobalKnownHostsFile=/dev/null",
                "StrictHostKeyChecking=yes",
                "UpdateHostKeys=no",
                "CheckHostIP=no",
                "VerifyHostKeyDNS=no",
            ] {
                option(fixed.to_owned());
            }
        } else {
            // A person is asked about a host that nobody knows, a run is refused, and a key that is another one than before
            // is refused always: settings that believe whoever is there were made for something else.
            for fixed in
                ["StrictHostKeyChecking=ask", "NoHostAuthenticationForLocalhost=no", "VerifyHostKeyDNS=no"]
            {
                option(fixed.to_owned());
            }
        }
        argv
    }

    /// ssh for a person: a terminal, over a connection of its own, on which `line` is run, or a login shell.
    pub fn terminal(&self, list: &Utf8Path, line: Option<&str>) -> Vec<String> {
        // A connection that others opened by the person's own settings is not shared: whose key it saw is not known.
        let mut argv: Vec<String> = ["ssh", "-t", "-x", "-a", "-S", "none"].map(str::to_owned).into();
        argv.extend(self.target(list));
        argv.extend(["--".to_owned(), self.destination.clone()]);
        argv.extend(line.map(str::to_owned));
        argv
    }
}

impl Ssh {
    /// The options every ssh process gets, with the socket of the shared connection.
    fn base(&self) -> Vec<String> {
        self.base_with(&escaped(self.socket()), None)
    }

    /// `persist`: how long a connection stays that nobody uses.
    fn base_with(&self, socket: &str, persist: Option<Duration>) -> Vec<String> {
        let mut argv: Vec<String> =
            ["ssh", "-T", "-x", "-a", "-S"].into_iter().chain([socket]).map(str::to_owned).collect();
        if let Some(jump) = &self.jump {
            argv.splice(1..1, self.by_jump(jump.client()));
        }
        let mut option = |value: String| argv.extend(["-o".to_owned(), value]);
        // ControlPersist=no: the connection ends with the process that holds it, never by a timer of its own.
        option(match persist {
            None => "ControlPersist=no".to_owned(),
            Some(time) => format!("ControlPersist={}", time.as_secs().max(1)),
        });
        for fixed in ["BatchMode=yes", "ConnectTimeout=10", "EscapeChar=none"] {
            option(fixed.to_owned());
        }
        // A dead line is noticed within 15 seconds.
        for fixed in ["ServerAliveInterval=5", "ServerAliveCountMax=3", "PermitLocalCommand=no"] {
            option(fixed.to_owned());
        }
        argv.extend(self.options.target(&self.known_hosts()));
        argv
    }

    /// The options of a connection that is carried by a channel of another one, which `client` opens: ssh with its options,
    /// without the destination.
    pub(super) fn by_jump(&self, mut client: Vec<String>) -> Vec<String> {
        let Some(jump) = &self.jump else { return Vec::new() };
        let (host, port) = (self.options.host(), self.options.port);
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        client.extend(["-W".to_owned(), target, "--".to_owned(), jump.options.destination.clone()]);
        // A shell reads it (`exec LINE`), after ssh has expanded `%`.
        let line = shell_words::join(&client).replace('%', "%%");
        let proxy = format!("ProxyCommand={line}");
        // Whatever is set for other hosts: keys, agents, forwarding, another way there.
        ["-F", "none", "-o", "IdentityAgent=none", "-o", &proxy].map(str::to_owned).into()
    }

    /// ssh with the options of a connection of its own, which may ask a person.
    pub(super) fn alone(&self) -> Vec<String> {
        let mut argv: Vec<String> = ["ssh", "-x", "-a", "-S", "none"].map(str::to_owned).into();
        argv.extend(self.options.target(&self.known_hosts()));
        argv
    }

    pub(super) fn master_argv(&self) -> Vec<String> {
        let mut argv = self.base();
        argv.extend(["-o", "ControlMaster=yes", "-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.push(self.options.destination.clone());
        argv.push("echo ready && exec cat >/dev/null".to_owned());
        argv
    }

    /// The shared connection in the background, where it stays. The process that is started ends as soon as it stands.
    pub(super) fn kept_argv(&self, time: Duration) -> Vec<String> {
        let mut argv = self.base_with(&escaped(self.socket()), Some(time));
        argv.extend(["-N", "-f", "-o", "ControlMaster=yes", "-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.push(self.options.destination.clone());
        argv
    }

    /// A connection of its own, for one command.
    pub(super) fn own_argv(&self) -> Vec<String> {
        let mut argv = self.base_with("none", None);
        argv.extend(["-o", "ControlMaster=no", "-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.extend([self.options.destination.clone(), "true".to_owned()]);
        argv
    }

    /// The options of a client of the shared connection, which never makes a connection of its own.
    pub(super) fn client(&self) -> Vec<String> {
        let mut argv = self.base();
        // The first one counts: a client goes no way of its own.
        argv.splice(1..1, ["-o", "ProxyCommand=false"].map(str::to_owned));
        argv.extend(["-o", "ControlMaster=no"].map(str::to_owned));
        argv
    }

    pub(super) fn client_argv(&self, carried: &Carried, command: &Command) -> Vec<String> {
        let mut argv = self.client();
        argv.extend(["-o", "LogLevel=INFO", "--"].map(str::to_owned));
        argv.push(self.options.destination.clone());
        argv.push(carried.line(&command.argv));
        argv
    }
}
