//! Who runs this: the account that somebody logged in with, and the machine it is on.

/// What the kernel says where nobody logged in: a service, or a container.
const NOBODY: u32 = u32::MAX;

/// `ada@laptop`; `ada as root@laptop` where the program runs as another user than the one who logged in. The kernel remembers
/// who that was, through `su` and `sudo` (`/proc/self/loginuid`); what variables say, anybody can set.
pub(crate) fn operator() -> String {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let login = read("/proc/self/loginuid").trim().parse().ok().filter(|uid| *uid != NOBODY);
    let effective = rustix::process::geteuid().as_raw();
    named(login, effective, &read("/etc/passwd"), read("/proc/sys/kernel/hostname").trim())
}

/// The words for a login, the user the program runs as, the accounts (passwd(5)) and the machine.
fn named(login: Option<u32>, effective: u32, accounts: &str, machine: &str) -> String {
    let name = |uid: u32| {
        let accounts = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let mut own = accounts.filter(|fields| fields.get(2).and_then(|text| text.parse().ok()) == Some(uid));
        own.next().map_or_else(|| format!("uid {uid}"), |fields| fields[0].to_owned())
    };
    let who = match login {
        Some(login) if login != effective => format!("{} as {}", name(login), name(effective)),
        _ => name(effective),
    };
    format!("{who}@{machine}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNTS: &str =
        "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:,,,:/home/ada:/bin/bash\nbroken\n";

    #[test]
    fn who_it_is_does_not_change_with_sudo() {
        assert_eq!(named(Some(1000), 1000, ACCOUNTS, "laptop"), "ada@laptop");
        assert_eq!(named(Some(1000), 0, ACCOUNTS, "laptop"), "ada as root@laptop");
        assert_eq!(named(None, 0, ACCOUNTS, "laptop"), "root@laptop");
        assert_eq!(named(Some(1001), 1001, ACCOUNTS, "laptop"), "uid 1001@laptop");
    }

    proptest! {
        #[test]
        fn any_accounts_can_be_read(login in proptest::option::of(any::<u32>()), uid in any::<u32>(), accounts in ".{0,60}") {
            prop_assert!(named(login, uid, &accounts, "m").ends_with("@m"));
        }
    }
}
