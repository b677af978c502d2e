//! `ssh` on a simulated node, as far as it leads to another node of its cluster. It gets there only the way a real one
//! lets it: without asking anybody, and with the host key looked for under the node's name, in the file that the cluster
//! keeps for that node (PVE::SSHInfo, `ssh_info_to_ssh_opts`).

/// One call of `ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// `-o` options, with their names in lower case.
    options: Vec<(String, String)>,
    /// `root@10.10.10.2`.
    destination: String,
    /// What is left of the command line.
    rest: Vec<String>,
}

/// The options that take a value, in the same word or the next (ssh(1)).
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// Reads a command line; none where it is not ssh's, or names no destination.
pub(super) fn parse(argv: &[String]) -> Option<Call> {
    let (program, words) = argv.split_first()?;
    if program.rsplit('/').next() != Some("ssh") {
        return None;
    }
    let (mut options, mut destination) = (Vec::new(), None);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let flag = word.strip_prefix('-').filter(|flag| !flag.is_empty());
        match (flag, &destination) {
            (Some("-"), None) => {
                destination = words.get(at + 1).cloned();
                at += 2;
                break;
            }
            (Some("-"), Some(_)) => {
                at += 1;
                break;
            }
            (Some(flag), _) => {
                // Letters without a value may stand before one that has one: `-qo BatchMode=yes`.
                let value = flag.char_indices().find(|(_, letter)| WITH_VALUE.contains(*letter));
                if let Some((place, letter)) = value {
                    let inside = &flag[place + letter.len_utf8()..];
                    let value = if inside.is_empty() {
                        at += 1;
                        words.get(at).map_or("", String::as_str)
                    } else {
                        inside
                    };
                    if letter == 'o' {
                        let (key, value) = value.split_once(['=', ' ']).unwrap_or((value, ""));
                        options.push((key.trim().to_lowercase(), value.trim().to_owned()));
                    }
                }
                at += 1;
            }
            (None, None) => {
                destination = Some(word.clone());
                at += 1;
            }
            (None, Some(_)) => break,
        }
    }
    let rest = words.get(at..).unwrap_or_default().to_vec();
    Some(Call { options, destination: destination?, rest })
}

impl Call {
    /// The address.
    pub(super) fn host(&self) -> &str {
        self.destination.rsplit_once('@').map_or(self.destination.as_str(), |(_, host)| host)
    }

    /// What is said of an address that nobody has.
    pub(super) fn unreachable(&self) -> String {
        format!("ssh: connect to host {} port 22: No route to host\n", self.host())
    }

    /// The first value counts, as in ssh_config(5).
    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What runs on `node`. An error is what ssh says instead.
    pub(super) fn command(&self, node: &str) -> Result<Vec<String>, String> {
        let known = format!("/etc/pve/nodes/{node}/ssh_known_hosts");
        if self.option("hostkeyalias") != Some(node) || self.option("userknownhostsfile") != Some(&known) {
            return Err("Host key verification failed.\n".to_owned());
        }
        if !self.destination.starts_with("root@") || self.option("batchmode") != Some("yes") {
            return Err(format!("{}: Permission denied (publickey,password).\n", self.destination));
        }
        // ssh puts a blank between the words, and the shell on the other side takes them apart again.
        match shell_words::split(&self.rest.join(" ")) {
            Ok(words) if !words.is_empty() => Ok(words),
            Ok(_) => {
                Err("Pseudo-terminal will not be allocated because stdin is not a terminal.\n".to_owned())
            }
            Err(error) => Err(format!("bash: -c: line 1: {error}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        shell_words::split(line).expect("a command line")
    }

    /// As Proxmox VE's own tools call it.
    const LINE: &str = "/usr/bin/ssh -e none -o BatchMode=yes -o HostKeyAlias=pve2 -o \
                        UserKnownHostsFile=/etc/pve/nodes/pve2/ssh_known_hosts -o GlobalKnownHostsFile=none root@10.10.10.2";

    #[test]
    fn a_command_arrives_as_it_was_meant() {
        let call = parse(&words(&format!("{LINE} -- pct set 120 --hostname 'a\\ b'"))).unwrap();
        assert_eq!(call.host(), "10.10.10.2");
        assert_eq!(call.command("pve2").unwrap(), ["pct", "set", "120", "--hostname", "a b"]);
        // A key that is looked for under another name is not known there.
        assert_eq!(call.command("pve3").unwrap_err(), "Host key verification failed.\n");
        let plain = parse(&words("ssh root@10.10.10.2 true")).unwrap();
        assert_eq!(plain.command("pve2").unwrap_err(), "Host key verification failed.\n");
        assert!(parse(&words("pct exec 120 -- ssh root@10.10.10.2")).is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_arrives(argv in proptest::collection::vec("\\PC{0,12}", 1..5)) {
            let mut line = words(LINE);
            line.push(shell_words::join(&argv));
            // A word that begins with a dash right after the destination is one of ssh's own options.
            prop_assume!(!line.last().is_some_and(|word| word.starts_with('-')));
            let call = parse(&line).unwrap();
            prop_assert_eq!(call.command("pve2").unwrap(), argv);
        }

        #[test]
        fn no_command_line_panics(argv in proptest::collection::vec("\\PC{0,8}", 0..6)) {
            let argv: Vec<String> = std::iter::once("ssh".to_owned()).chain(argv).collect();
            if let Some(call) = parse(&argv) {
                let _ = call.command(call.host());
            }
        }
    }
}
